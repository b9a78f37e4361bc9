/** One person's phone: a traffic light, a partner's, a channel, and a line to the cluster that can be frozen or cut. */

import { connect } from '/clients/js/index.js';
import { order } from './api.js';
import { Channel } from './channel.js';
import { capital, clock, h, redraw, setClass, setText } from './dom.js';

/** From the top, as on a street. */
const LIGHTS = [
  ['BUSY', 'Busy'],
  ['OFFLINE', 'Offline'],
  ['AVAILABLE', 'Available'],
];
const WORDS = Object.fromEntries(LIGHTS);
const DURATIONS = [
  ['', 'until changed'],
  ['10', 'for 10 seconds'],
  ['60', 'for a minute'],
  ['1800', 'for half an hour'],
];
const LOG_MAX = 40;
const BANNER_MS = 12_000;
/** What can be told from which events came: nothing that is older than this page. */
const OPENED_AT = Date.now();

export class Phone {
  #account;
  #line;
  #names;
  #onCommit;
  #channel;
  #me = null;
  #partner = null;
  #offer = null;
  #parts = {};
  #log = [];
  #pushes = new Set();
  #connection = { state: 'connecting' };

  constructor({ account, line, names, channel, onCommit }) {
    this.#account = account;
    this.#line = line;
    this.#names = names;
    this.#onCommit = onCommit;
    this.name = line.name;
    this.#channel = new Channel({ account, channel, names, owner: this.name });
    this.element = this.#build();
    this.#connect();
    setInterval(() => this.#drawTimes(), 500);
  }

  /** What of the cluster's state concerns this phone. */
  show(state, line) {
    this.#line = line;
    this.#drawConnection();
    for (const push of [...state.pushes].reverse()) {
      const key = `${push.eventId} ${push.attempt}`;
      if (push.userId !== this.#account.id || push.at < OPENED_AT || this.#pushes.has(key)) continue;
      this.#pushes.add(key);
      if (push.outcome === 'accepted') this.#banner(push);
    }
  }

  #connect() {
    const client = connect({
      url: this.#line.url,
      // The line is for the socket; requests go as this page came.
      api: location.origin,
      deviceId: `${this.name}-phone`,
      getToken: ({ reason }) => this.#account.token({ fresh: reason !== 'connect' }),
    });
    client.on('*', async (event) => {
      this.#note(event);
      await this.#follow(event);
    });
    client.on('resync', () => this.#read());
    client.on('state', (state) => {
      this.#connection = { ...state, until: performance.now() + (state.waitMs ?? 0) };
      // What happened before the first connection is in no event.
      if (state.state === 'open' && !state.isResumed) this.#read().catch((error) => this.#complain(error));
      this.#drawConnection();
    });
    this.#channel.follow(client);
  }

  async #read() {
    const { value: me } = await this.#account.call('GET', '/me');
    const partner = me.partnerId === null ? null : (await this.#account.call('GET', '/partner')).value;
    this.#me = me;
    this.#partner = partner;
    this.#draw();
  }

  async #follow(event) {
    const light = { status: event.status, statusExpiration: event.statusExpiration };
    if (event.type === 'PARTNER_STATUS_CHANGED' && this.#partner) Object.assign(this.#partner, light);
    else if (event.type === 'SELF_STATUS_CHANGED' && this.#me) Object.assign(this.#me, light);
    else if (event.type === 'SELF_READ_MARKER') this.#channel.marked(event);
    else if (event.type.startsWith('PARTNER_')) await this.#read();
    if (event.type === 'PARTNER_LINKED') this.#offer = null;
    this.#draw();
  }

  #note(event) {
    const texts = {
      PARTNER_STATUS_CHANGED: `${this.#nameOf(event.partnerId)} is ${WORDS[event.status]?.toLowerCase()}`,
      SELF_STATUS_CHANGED: `I am ${WORDS[event.status]?.toLowerCase()}`,
      PARTNER_LINKED: `linked with ${this.#nameOf(event.partnerId)}`,
      PARTNER_UNLINKED: `unlinked from ${this.#nameOf(event.partnerId)}`,
      SELF_READ_MARKER: `I have read up to ${event.lastReadSeq}`,
      CHANNEL_CREATED: `I made # ${event.name}`,
      MENTIONED: `${this.#nameOf(event.userId)} names me in # ${event.channelName}`,
      DIRECT_MESSAGE: `${this.#nameOf(event.userId)} writes to me`,
      CHANNEL_ACTIVITY: `${event.unreadCount} unread in # ${event.channelName}`,
    };
    this.#log.unshift({ seq: event.seq, text: texts[event.type] ?? event.type, at: event.timestamp });
    this.#log.length = Math.min(this.#log.length, LOG_MAX);
  }

  #nameOf(id) {
    return this.#names.get(id) ?? 'somebody';
  }

  /** Does what a button says; what goes wrong is said on the phone. */
  async #do(work) {
    setText(this.#parts.problem, '');
    try {
      await work();
    } catch (error) {
      this.#complain(error);
    }
    this.#draw();
  }

  #complain(error) {
    setText(this.#parts.problem, error.message);
  }

  #set(status) {
    return this.#do(async () => {
      const seconds = Number(this.#parts.duration.value);
      const body = { status, ...(seconds > 0 && { durationSeconds: seconds }) };
      const { node } = await this.#account.call('PATCH', '/status', body);
      this.#onCommit(node);
    });
  }

  #offerCode() {
    return this.#do(async () => {
      this.#offer = (await this.#account.call('POST', '/linking/sessions')).value;
    });
  }

  #confirm(form) {
    return this.#do(async () => {
      const linkCode = form.elements.code.value;
      const { node } = await this.#account.call('POST', '/linking/sessions/confirm', { linkCode });
      this.#onCommit(node);
      form.reset();
      await this.#read();
    });
  }

  #unlink() {
    return this.#do(async () => {
      const { node } = await this.#account.call('DELETE', '/partner');
      this.#onCommit(node);
      await this.#read();
    });
  }

  #build() {
    const name = capital(this.name);
    const lamp = ([status, word]) =>
      h(
        'button',
        {
          type: 'button', class: `lamp ${status.toLowerCase()}`, title: word,
          'aria-label': `${name}: ${word}`, onclick: () => this.#set(status),
        },
        h('span', {}, word),
      );
    this.#parts = {
      node: h('span', { class: 'badge at' }),
      state: h('span', { class: 'connection', role: 'status' }),
      banner: h('div', { class: 'banner', role: 'alert' }),
      partner: h('div', { class: 'partner' }),
      lamps: LIGHTS.map(lamp),
      timer: h('span', { class: 'timer' }),
      duration: h(
        'select',
        { 'aria-label': `${name}: how long` },
        DURATIONS.map(([seconds, text]) => h('option', { value: seconds }, text)),
      ),
      link: h('div', { class: 'link' }),
      unlink: h('button', { type: 'button', class: 'quiet', onclick: () => this.#unlink() }, 'Unlink'),
      problem: h('p', { class: 'problem', role: 'alert' }),
      log: h('ol', { class: 'log', 'aria-label': `${name}: events`, tabindex: '0' }),
      freeze: h('button', { type: 'button', onclick: () => this.#freeze() }, 'Freeze'),
      cut: h('button', { type: 'button', onclick: () => this.#do(() => order('lines', this.name, 'cut')) }, 'Cut'),
    };
    const { node, state, banner, partner, lamps, timer, duration, link, unlink, problem, log, freeze, cut } = this.#parts;
    return h(
      'article',
      { class: 'phone', id: `phone-${this.name}`, 'aria-label': `${name}’s phone` },
      h('header', {}, h('h2', {}, name), node),
      h(
        'div',
        { class: 'screen' },
        banner,
        state,
        h('div', { class: 'couple' }, partner, h('div', { class: 'light', role: 'group', 'aria-label': `${name}’s traffic light` }, lamps)),
        h('div', { class: 'own' }, h('span', {}, 'My light ', timer), duration, unlink),
        link,
        problem,
        this.#channel.element,
        log,
      ),
      h('footer', {}, h('span', {}, 'Its line'), freeze, cut),
    );
  }

  #freeze() {
    return this.#do(() => order('lines', this.name, this.#line.isFrozen ? 'thaw' : 'freeze'));
  }

  #draw() {
    const { lamps, partner, link, unlink, log } = this.#parts;
    LIGHTS.forEach(([status], index) => {
      lamps[index].setAttribute('aria-pressed', String(this.#me?.status === status));
    });
    const other = this.#partner;
    redraw(partner, [other?.displayName, other?.status], () =>
      other
        ? [
            h('div', { class: `orb ${other.status.toLowerCase()}` }),
            h('strong', {}, other.displayName),
            h('span', { class: 'word' }, WORDS[other.status]),
            h('span', { class: 'left' }),
          ]
        : [h('div', { class: 'orb nobody' }), h('strong', {}, 'Nobody'), h('span', { class: 'word' }, 'not linked')],
    );
    unlink.hidden = !other;
    redraw(link, [other?.id, this.#me === null, this.#offer?.linkCode], () => this.#linkParts());
    redraw(log, this.#log, () =>
      this.#log.map(({ seq, text, at }) =>
        h('li', {}, h('span', { class: 'seq' }, `#${seq}`), h('span', {}, text), h('time', {}, clock(at))),
      ),
    );
    this.#drawTimes();
  }

  #linkParts() {
    if (this.#me === null || this.#partner) return [];
    const name = capital(this.name);
    const code = this.#offer
      ? h('output', { class: 'code', 'aria-label': `${name}: link code` }, this.#offer.linkCode)
      : h('button', { type: 'button', onclick: () => this.#offerCode() }, 'Show a code');
    const submit = (event) => {
      event.preventDefault();
      this.#confirm(event.target);
    };
    const input = h('input', {
      name: 'code', required: true, maxlength: '16', autocomplete: 'off', spellcheck: 'false',
      placeholder: 'or type one', 'aria-label': `${name}: the other one’s code`,
    });
    return [code, h('form', { onsubmit: submit }, input, h('button', { type: 'submit' }, 'Link'))];
  }

  #drawTimes() {
    const left = (person) => {
      const ms = (person?.statusExpiration ?? 0) - Date.now();
      if (ms <= 0) return '';
      return ms < 90_000 ? `${Math.ceil(ms / 1_000)} s left` : `${Math.round(ms / 60_000)} min left`;
    };
    setText(this.#parts.timer, left(this.#me));
    const partnerLeft = this.#parts.partner.querySelector('.left');
    if (partnerLeft) setText(partnerLeft, left(this.#partner));
    this.#drawConnection();
  }

  #drawConnection() {
    const { node, state, freeze } = this.#parts;
    const { isFrozen } = this.#line;
    const { state: now, until, code, reason } = this.#connection;
    const isOpen = now === 'open';
    // Which node it is, the page learns a moment later than the phone.
    setText(node, isOpen ? (this.#line.node ?? '…') : 'no node');
    setClass(node, 'off', !isOpen || !this.#line.node);
    const seconds = Math.max(0, (until - performance.now()) / 1_000).toFixed(1);
    const words = {
      open: 'Connected',
      connecting: 'Connecting …',
      waiting: `Lost (${code}), again in ${seconds} s`,
      stopped: `Stopped: ${reason || code}`,
    };
    setText(state, isFrozen && isOpen ? 'Out of reach, and nobody knows yet' : words[now]);
    state.dataset.state = isFrozen ? 'frozen' : now;
    setClass(this.element, 'frozen', isFrozen);
    setText(freeze, isFrozen ? 'Thaw' : 'Freeze');
    freeze.setAttribute('aria-pressed', String(isFrozen));
    if (now === 'stopped' && !this.#parts.again) {
      this.#parts.again = h('button', { type: 'button', onclick: () => this.#again() }, 'Connect again');
      state.after(this.#parts.again);
    }
  }

  #again() {
    this.#parts.again.remove();
    this.#parts.again = null;
    this.#connect();
  }

  #banner({ title, body }) {
    const { banner } = this.#parts;
    const dismiss = () => note.remove();
    const note = h(
      'button',
      { type: 'button', class: 'note', 'aria-label': `Push: ${title ?? ''} ${body ?? ''}. Dismiss`, onclick: dismiss },
      h('span', { class: 'via' }, 'Push'),
      h('strong', {}, title ?? ''),
      h('span', {}, body ?? ''),
    );
    banner.replaceChildren(note);
    setTimeout(dismiss, BANNER_MS);
  }
}
