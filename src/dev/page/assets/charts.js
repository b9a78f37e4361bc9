/** Three small charts: how long events took, how they ended, and what the nodes write. */

import { duration, h, redraw, svg } from './dom.js';

const WIDTH = 420;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 20;
const DECADES = [1, 10, 100, 1_000, 10_000];
const SPARK_MAX = 120;
const COLOURS = { delivered: 'confirmed', pushed: 'pushed', expired: 'expired', null: 'pending' };
const NAMES = { delivered: 'confirmed', pushed: 'pushed', expired: 'expired', null: 'pending' };

export class Charts {
  #latency;
  #outcomes;
  #rates;
  #counts = new Map();
  #series = new Map();
  #times = [];

  constructor(root) {
    const panel = (title, text) => {
      const body = h('div', { class: 'body' });
      root.append(h('section', { class: 'panel', 'aria-label': title }, h('header', {}, h('h2', {}, title), h('p', {}, text)), body));
      return body;
    };
    this.#latency = panel('From commit to end', 'Each dot is one of the last events.');
    this.#outcomes = panel('How events ended', 'One outcome and one reason each.');
    this.#rates = panel('Events written', 'Per second, by node.');
  }

  show(state) {
    const settled = (state.events ?? []).filter(({ settledAt }) => settledAt !== null);
    const dots = settled.map(({ committedAt, settledAt, outcome }) => [Math.max(0.1, settledAt - committedAt), COLOURS[outcome]]).reverse();
    redraw(this.#latency, dots, () => latencyChart(dots));
    redraw(this.#outcomes, state.outcomes, () => outcomeChart(state.outcomes));
    this.#note(state);
    redraw(this.#rates, this.#times.at(-1) ?? 0, () => rateChart(this.#series));
  }

  #note({ now, nodes }) {
    const before = this.#times.at(-1);
    const seconds = before === undefined ? 0 : (now - before) / 1_000;
    this.#times = [...this.#times, now].slice(-SPARK_MAX);
    for (const { name, counts, status } of nodes) {
      const last = this.#counts.get(name);
      // A node that was started anew counts from nothing.
      const grown = last === undefined || counts.written < last ? 0 : counts.written - last;
      const rate = seconds > 0 ? grown / seconds : 0;
      // Smoothed: two looks a second would show single events as spikes.
      const smooth = (this.#series.get(name)?.at(-1) ?? 0) * 0.6 + rate * 0.4;
      this.#series.set(name, [...(this.#series.get(name) ?? []), smooth].slice(-SPARK_MAX));
      if (status !== 'down') this.#counts.set(name, counts.written);
    }
  }
}

function frame(label, ...children) {
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label }, children);
}

function latencyChart(dots) {
  const top = Math.log10(20_000);
  const low = Math.log10(0.5);
  const y = (ms) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - 8) * (Math.log10(Math.min(20_000, Math.max(0.5, ms))) - low)) / (top - low);
  const x = (index) => LEFT + 8 + ((WIDTH - LEFT - 20) * index) / Math.max(1, dots.length - 1);
  const sorted = dots.map(([ms]) => ms).sort((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)];
  return [
    frame(
      `Time from commit to end of ${dots.length} events`,
      DECADES.map((ms) => [
        svg('line', { x1: LEFT, x2: WIDTH, y1: y(ms), y2: y(ms), class: 'grid' }),
        svg('text', { x: LEFT - 6, y: y(ms) + 4, class: 'tick end' }, ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`),
      ]),
      dots.map(([ms, kind], index) => svg('circle', { cx: x(index), cy: y(ms), r: 4, class: `dot ${kind}` })),
    ),
    h('p', { class: 'sum' }, median === undefined ? 'Nothing yet.' : `Median ${duration(median)}, longest ${duration(sorted.at(-1))}.`),
  ];
}

function outcomeChart(outcomes) {
  const all = outcomes.reduce((sum, { count }) => sum + count, 0);
  let from = 0;
  const bar = outcomes.map(({ outcome, count }) => {
    const width = (WIDTH * count) / Math.max(1, all);
    const part = svg('rect', { x: from, y: 0, width: Math.max(0, width - 2), height: 22, rx: 4, class: `bar ${COLOURS[outcome]}` });
    from += width;
    return part;
  });
  return [
    svg('svg', { viewBox: `0 0 ${WIDTH} 22`, class: 'stack', role: 'img', 'aria-label': `${all} events by how they ended` }, bar),
    h(
      'ul',
      { class: 'legend' },
      outcomes.slice(0, 6).map(({ outcome, reason, count }) =>
        h('li', { class: COLOURS[outcome] }, h('span', {}, `${NAMES[outcome]}${reason ? ` · ${reason}` : ''}`), h('strong', {}, String(count))),
      ),
    ),
  ];
}

function rateChart(series) {
  const highest = Math.max(2, ...[...series.values()].flat());
  const y = (rate) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - 10) * rate) / highest;
  const line = (rates) =>
    rates.map((rate, index) => `${index === 0 ? 'M' : 'L'}${(LEFT + ((WIDTH - LEFT) * (index + SPARK_MAX - rates.length)) / (SPARK_MAX - 1)).toFixed(1)} ${y(rate).toFixed(1)}`).join('');
  return [
    frame(
      'Events written per second by each node',
      [0, highest / 2, highest].map((rate) => [
        svg('line', { x1: LEFT, x2: WIDTH, y1: y(rate), y2: y(rate), class: 'grid' }),
        svg('text', { x: LEFT - 6, y: y(rate) + 4, class: 'tick end' }, rate.toFixed(rate < 10 ? 1 : 0)),
      ]),
      [...series.values()].map((rates, index) => svg('path', { d: line(rates), class: `series s${index}` })),
    ),
    h('ul', { class: 'keys' }, [...series.keys()].map((name, index) => h('li', { class: `s${index}` }, name))),
  ];
}
