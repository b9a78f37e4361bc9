/** The way of one event or message: committed, published, written, confirmed or pushed, each with its time. */

import { capital, clock, duration, h, plural, redraw, setClass, setText, svg } from './dom.js';

const ROWS_MAX = 14;
const WORDS = { BUSY: 'busy', AVAILABLE: 'available', OFFLINE: 'offline' };
/** The scale is logarithmic: a millisecond and a push deadline are both worth seeing. */
const DECADES = [1, 10, 100, 1_000, 10_000];
const WIDTH = 440;
const LEFT = 16;

export class Timeline {
  #names;
  #list;
  #detail;
  #follow;
  #chosen = null;
  #state = null;

  constructor(root, names) {
    this.#names = names;
    this.#list = h('ol', { class: 'events', 'aria-label': 'The last events' });
    this.#detail = h('div', { class: 'way', 'aria-live': 'off' });
    this.#follow = h('button', { type: 'button', class: 'quiet', onclick: () => this.#choose(null) }, 'Follow the newest');
    root.append(
      h('header', {}, h('h2', {}, 'The way of one event'), h('p', {}, 'From the commit on, as it was seen on the way.'), this.#follow),
      h('div', { class: 'split' }, this.#list, this.#detail),
    );
  }

  show(state) {
    this.#state = state;
    this.#draw();
  }

  #choose(id) {
    this.#chosen = id;
    this.#draw();
  }

  #draw() {
    const events = this.#newest();
    const isNews = ({ kind }) => kind === 'MESSAGE' || kind.startsWith('PARTNER');
    const current = events.find(({ id }) => id === this.#chosen) ?? events.find(isNews) ?? events[0];
    this.#follow.setAttribute('aria-pressed', String(this.#chosen === null));
    const rows = events.map((event) => [event.id, event.seq, this.#says(event), this.#outcome(event), event.id === current?.id, event.committedAt]);
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    redraw(this.#list, rows, () =>
      rows.map(([id, seq, says, outcome, isCurrent, at]) =>
        h(
          'li',
          {},
          h(
            'button',
            { type: 'button', 'data-id': id, 'aria-current': isCurrent ? 'true' : null, onclick: () => this.#choose(id) },
            h('time', {}, clock(at)),
            h('span', { class: 'says' }, says),
            h('span', { class: 'seq' }, `#${seq}`),
            h('span', { class: `badge ${outcome.split(' ')[0]}` }, outcome),
          ),
        ),
      ),
    );
    if (focused) this.#list.querySelector(`[data-id="${focused}"]`)?.focus();
    if (!current) {
      redraw(this.#detail, null, () => h('p', { class: 'empty' }, 'Nothing has happened yet. Change a light.'));
      return;
    }
    const pushes = this.#state.pushes.filter(({ eventId }) => eventId === current.id);
    const steps = this.#steps(current, pushes);
    redraw(this.#detail, [current.id, steps], () => [this.#track(steps), this.#stepList(current, steps)]);
    const waiting = this.#detail.querySelector('.waiting .what');
    if (waiting && current.outcome === null) setText(waiting, this.#waitsFor(current));
    setClass(this.#detail, 'pending', current.outcome === null);
  }

  /** Events and messages together. */
  #newest() {
    const { events, messages } = this.#state ?? {};
    const told = (messages ?? []).map((message) => ({ ...message, kind: 'MESSAGE', outcome: 'told', settledAt: null }));
    return [...(events ?? []), ...told].sort((one, other) => other.committedAt - one.committedAt).slice(0, ROWS_MAX);
  }

  #says({ kind, userId, status }) {
    const to = this.#names.get(userId) ?? 'somebody';
    const texts = {
      PARTNER_STATUS_CHANGED: `${to} hears: ${WORDS[status]}`,
      SELF_STATUS_CHANGED: `${to} (own): ${WORDS[status]}`,
      PARTNER_LINKED: `${to} hears: linked`,
      PARTNER_UNLINKED: `${to} hears: unlinked`,
      SELF_READ_MARKER: `${to} (own): has read`,
      CHANNEL_CREATED: `${to} (own): new channel`,
      MENTIONED: `${to} hears: named in a message`,
      DIRECT_MESSAGE: `${to} hears: a message`,
      CHANNEL_ACTIVITY: `${to} hears: new messages`,
      MESSAGE: `${to} writes a message`,
    };
    return texts[kind] ?? `${to}: ${kind}`;
  }

  #outcome({ outcome, written }) {
    if (outcome === 'told') return `on ${plural(new Set(written.map(({ line }) => line)).size, 'phone')}`;
    return outcome === null ? 'pending' : outcome === 'delivered' ? 'confirmed' : outcome;
  }

  /** What happened to it, in the order of time; `kind` is the lane and the colour. */
  #steps(event, pushes) {
    const step = (kind, what, at) => ({ kind, what, at, after: Math.max(0, at - event.committedAt) });
    const to = this.#names.get(event.userId) ?? 'somebody';
    // The node that commits tells a phone of its own without Redis; a sweeper asks around when no receipt comes.
    const publication = (node, at) =>
      event.written.some((written) => written.at < at) ? `Told again, through Redis to ${node}` : `Published in Redis for ${node}`;
    const isMessage = event.kind === 'MESSAGE';
    const published = (node, at) => (isMessage ? `Published once in Redis, by ${node}` : publication(node, at));
    const steps = [
      step('committed', `Committed in Postgres, as number ${event.seq} of ${isMessage ? 'the channel' : to}`, event.committedAt),
      ...event.published.map(({ at, node }) => step('published', published(node ?? 'a node', at), at)),
      ...event.written.map(({ at, node, line }) => step('written', `Written to ${capital(line)}’s phone by ${node}`, at)),
      ...pushes.map(({ at, outcome }) => step('pushed', outcome === 'accepted' ? `Handed to FCM for ${to}’s phone` : `FCM refuses: ${outcome}`, at)),
    ];
    if (event.settledAt !== null) {
      const how = { ack: 'the phone said ACK', pong: 'the phone answered the ping', resumed: 'the phone came back and had it', accepted: 'FCM took it', coalesced: 'a newer push replaces it' };
      const kind = event.outcome === 'delivered' ? 'confirmed' : event.outcome;
      steps.push(step(kind, `Settled as ${kind}: ${how[event.reason] ?? event.reason}`, event.settledAt));
    }
    return steps.sort((one, other) => one.at - other.at);
  }

  #waitsFor({ reason, dueAt }) {
    if (reason !== null) return 'Waits for the next connect';
    const left = (dueAt - this.#state.now) / 1_000;
    return left > 0 ? `No receipt yet; somebody looks again in ${left.toFixed(1)} s` : 'No receipt yet; somebody looks now';
  }

  #track(steps) {
    const last = Math.max(10_000, ...steps.map(({ after }) => after));
    const scale = (ms) => LEFT + ((WIDTH - 2 * LEFT) * Math.log10(1 + ms)) / Math.log10(1 + last);
    const grid = DECADES.map((ms) => [
      svg('line', { x1: scale(ms), x2: scale(ms), y1: 12, y2: 58, class: 'grid' }),
      svg('text', { x: scale(ms), y: 74, class: 'tick' }, ms < 1_000 ? `${ms} ms` : `${ms / 1_000} s`),
    ]);
    const end = Math.max(...steps.map(({ after }) => after));
    return svg(
      'svg',
      { viewBox: `0 0 ${WIDTH} 80`, class: 'track', role: 'img', 'aria-label': 'Its steps on a logarithmic scale of time' },
      grid,
      svg('line', { x1: scale(0), x2: scale(end), y1: 35, y2: 35, class: 'path' }),
      steps.map(({ kind, after }) => svg('circle', { cx: scale(after), cy: 35, r: 7, class: `dot ${kind}` })),
    );
  }

  #stepList(event, steps) {
    const rows = steps.map(({ kind, what, after, at }) =>
      h('li', { class: kind }, h('span', { class: 'what' }, what), h('span', { class: 'after' }, kind === 'committed' ? clock(at) : `+${duration(after)}`)),
    );
    if (event.outcome === null) rows.push(h('li', { class: 'waiting' }, h('span', { class: 'what' }, this.#waitsFor(event))));
    return h('ol', { class: 'steps' }, rows);
  }
}
