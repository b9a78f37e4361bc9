/** The nodes, what is between them, and the events that pass: drawn as they are seen, not as they are meant. */

import { order } from './api.js';
import { capital, duration, h, plural, redraw, setClass, setText, svg } from './dom.js';

const STATUS_WORDS = {
  ok: 'ready',
  degraded: 'ready, without Redis',
  draining: 'draining',
  unavailable: 'without Postgres',
  down: 'down',
};
const PULSE_MS = 700;
const PULSES_MAX = 60;
/** Events that are older than this when first seen were there before the page, and are not shown as moving. */
const MOVING_MS = 4_000;
const SEEN_MAX = 2_000;

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class Cluster {
  #parts;
  #cards = new Map();
  #seen = new Set();
  #pulses = [];
  #animating = false;
  #started = false;

  constructor(root) {
    const store = (id, name, what) =>
      h('div', { class: 'store', id: `store-${id}` }, h('strong', {}, name), h('span', {}, what), h('output', {}));
    this.#parts = {
      wires: svg('svg', { class: 'wires', 'aria-hidden': 'true' }),
      stores: h('div', { class: 'stores' }, [
        store('postgres', 'Postgres', 'remembers'),
        store('redis', 'Redis', 'tells'),
        store('fcm', 'FCM', 'wakes (a fake)'),
      ]),
      nodes: h('div', { class: 'nodes' }),
      problem: h('p', { class: 'problem', role: 'alert' }),
    };
    const { wires, stores, nodes, problem } = this.#parts;
    root.append(
      h('header', {}, h('h2', {}, 'The cluster'), h('p', {}, 'Each node is a process. Kill one: its phones come back elsewhere.')),
      h('div', { class: 'map' }, wires, stores, nodes),
      problem,
    );
    new ResizeObserver(() => this.#wire()).observe(root);
  }

  show(state) {
    const isNew = state.nodes.some(({ name }) => !this.#cards.has(name));
    for (const node of state.nodes) this.#card(node.name).draw(node, state);
    if (isNew) this.#wire();
    const settled = state.outcomes.filter(({ outcome }) => outcome !== null);
    const pushed = settled.filter(({ outcome }) => outcome === 'pushed').reduce((sum, { count }) => sum + count, 0);
    const all = state.outcomes.reduce((sum, { count }) => sum + count, 0);
    setText(this.#output('postgres'), state.events === null ? 'away' : plural(all, 'event'));
    setText(this.#output('redis'), `to ${plural(state.nodes.filter(({ status }) => status === 'ok').length, 'node')}`);
    setText(this.#output('fcm'), `${plural(pushed, 'event')} pushed`);
    this.#follow(state);
  }

  /** A node has answered a change: it is in Postgres, and on its way. */
  committed(node) {
    this.#pulse(`node:${node}`, 'postgres', 'commit');
    this.#pulse(`node:${node}`, 'redis', 'publish');
  }

  #output(id) {
    return this.#parts.stores.querySelector(`#store-${id} output`);
  }

  #follow(state) {
    for (const event of state.events ?? []) {
      for (const [index, { node }] of event.published.entries()) {
        if (node) this.#once(`${event.id} p${index}`, event, state, () => this.#pulse('redis', `node:${node}`, 'publish'));
      }
      for (const [index, { node }] of event.written.entries()) {
        this.#once(`${event.id} w${index}`, event, state, () => this.#cards.get(node)?.flash());
      }
    }
    for (const message of state.messages) {
      const from = message.published[0]?.node;
      if (from) this.#once(`${message.id} p`, message, state, () => this.#pulse(`node:${from}`, 'redis', 'publish'));
      for (const { node, line } of message.written) {
        this.#once(`${message.id} ${line}`, message, state, () => {
          if (from && from !== node) this.#pulse('redis', `node:${node}`, 'publish');
          this.#cards.get(node)?.flash();
        });
      }
    }
    for (const { eventId, attempt, at } of state.pushes) {
      this.#once(`${eventId} f${attempt}`, { committedAt: at }, state, () => this.#pulse('postgres', 'fcm', 'push'));
    }
    this.#started = true;
  }

  #once(key, { committedAt }, { now }, act) {
    if (this.#seen.has(key)) return;
    if (this.#seen.size > SEEN_MAX) this.#seen.clear();
    this.#seen.add(key);
    if (this.#started && now - committedAt < MOVING_MS + PULSE_MS * 10) act();
  }

  #card(name) {
    if (!this.#cards.has(name)) {
      const card = new Card(name, (action) => this.#order(name, action));
      this.#cards.set(name, card);
      this.#parts.nodes.append(card.element);
    }
    return this.#cards.get(name);
  }

  async #order(name, action) {
    setText(this.#parts.problem, '');
    try {
      await order('nodes', name, action);
    } catch (error) {
      setText(this.#parts.problem, `${name}: ${error.message}`);
    }
  }

  /** Where something is in the map. */
  #place(what) {
    const map = this.#parts.wires.getBoundingClientRect();
    const isNode = what.startsWith('node:');
    const element = isNode ? this.#cards.get(what.slice(5))?.element : document.querySelector(`#store-${what}`);
    if (!element) return null;
    const box = element.getBoundingClientRect();
    return { x: box.left + box.width / 2 - map.left, y: (isNode ? box.top : box.bottom) - map.top };
  }

  #curve(from, to) {
    const middle = (from.y + to.y) / 2;
    return `M${from.x} ${from.y}C${from.x} ${middle} ${to.x} ${middle} ${to.x} ${to.y}`;
  }

  #wire() {
    const { wires } = this.#parts;
    const lines = [];
    for (const name of this.#cards.keys()) {
      for (const store of ['redis', 'postgres']) {
        const [from, to] = [this.#place(store), this.#place(`node:${name}`)];
        if (from && to) lines.push(svg('path', { d: this.#curve(from, to), class: `wire ${store}`, id: `wire-${store}-${name}` }));
      }
    }
    const [postgres, fcm] = [this.#place('postgres'), this.#place('fcm')];
    if (postgres && fcm) {
      const down = Math.max(postgres.y, fcm.y) + 26;
      const d = `M${postgres.x} ${postgres.y}C${postgres.x} ${down} ${fcm.x} ${down} ${fcm.x} ${fcm.y}`;
      lines.push(svg('path', { d, class: 'wire fcm', id: 'wire-push' }));
    }
    wires.replaceChildren(...lines);
    this.#pulses = [];
  }

  #pulse(from, to, kind) {
    if (calm.matches || document.hidden || this.#pulses.length >= PULSES_MAX) return;
    const node = [from, to].find((it) => it.startsWith('node:'))?.slice(5);
    const store = [from, to].find((it) => !it.startsWith('node:'));
    const path = document.getElementById(node ? `wire-${store}-${node}` : 'wire-push');
    if (!path) return;
    const dot = svg('circle', { r: 4.5, class: `pulse ${kind}` });
    this.#parts.wires.append(dot);
    // Wires run from a store to a node.
    const isBackwards = from.startsWith('node:');
    this.#pulses.push({ path, dot, isBackwards, began: performance.now(), length: path.getTotalLength() });
    if (!this.#animating) requestAnimationFrame((now) => this.#animate(now));
    this.#animating = true;
  }

  #animate(now) {
    this.#pulses = this.#pulses.filter(({ path, dot, isBackwards, began, length }) => {
      const share = Math.max(0, (now - began) / PULSE_MS);
      if (share >= 1) {
        dot.remove();
        return false;
      }
      const eased = share * share * (3 - 2 * share);
      const { x, y } = path.getPointAtLength(length * (isBackwards ? 1 - eased : eased));
      dot.setAttribute('cx', x);
      dot.setAttribute('cy', y);
      return true;
    });
    this.#animating = this.#pulses.length > 0;
    if (this.#animating) requestAnimationFrame((next) => this.#animate(next));
  }
}

class Card {
  #parts;

  constructor(name, act) {
    const button = (action, text) =>
      h('button', { type: 'button', 'aria-label': `${text} ${name}`, onclick: () => act(action) }, text);
    const fact = (label) => h('div', {}, h('dt', {}, label), h('dd', {}));
    this.#parts = {
      status: h('span', { class: 'status', role: 'status' }),
      phones: h('div', { class: 'chips' }),
      facts: h('dl', {}, fact('connections'), fact('events written'), fact('requests'), fact('up for')),
      drain: button('drain', 'Drain'),
      kill: button('kill', 'Kill'),
      restart: button('restart', 'Restart'),
    };
    const { status, phones, facts, drain, kill, restart } = this.#parts;
    this.element = h(
      'article',
      { class: 'node', id: `node-${name}`, 'aria-label': name },
      h('header', {}, h('h3', {}, name), status),
      phones,
      facts,
      h('footer', {}, drain, kill, restart),
    );
  }

  draw(node, { now, lines }) {
    const { status, phones, facts, drain, kill } = this.#parts;
    const isDown = node.status === 'down';
    setText(status, isDown && node.isRunning ? 'starting' : (STATUS_WORDS[node.status] ?? node.status));
    this.element.dataset.status = isDown && node.isRunning ? 'starting' : node.status;
    const here = lines.filter(({ node: at }) => at === node.name).map(({ name, isFrozen }) => [name, isFrozen]);
    redraw(phones, here, () =>
      here.length === 0
        ? h('span', { class: 'none' }, 'no phone')
        : here.map(([name, isFrozen]) => h('span', { class: `chip ${name}${isFrozen ? ' frozen' : ''}` }, capital(name))),
    );
    const values = isDown
      ? ['–', '–', '–', '–']
      : [node.connections, node.counts.written, node.counts.requests, duration(Math.max(0, now - node.startedAt)).replace(/\.\d+ s/, ' s')];
    [...facts.querySelectorAll('dd')].forEach((cell, index) => setText(cell, String(values[index])));
    kill.disabled = !node.isRunning;
    drain.disabled = isDown || node.status === 'draining';
    setClass(this.element, 'busy', node.connections > 0);
  }

  /** It has just written an event to a phone. */
  flash() {
    if (calm.matches) return;
    this.element.animate([{ outlineColor: 'var(--accent)' }, { outlineColor: 'transparent' }], { duration: 900, easing: 'ease-out' });
  }
}
