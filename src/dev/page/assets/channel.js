/** The channel of all, on one phone: its last messages, who types, what is unread, and a line to write in. */

import { capital, h, redraw, setClass, setText } from './dom.js';

const SHOWN_MAX = 60;
const MARK_AFTER_MS = 150;
/** Messages of one person that came so close together show their name once. */
const TOGETHER_MS = 120_000;

export class Channel {
  #account;
  #channel;
  #names;
  #room = null;
  #state = 'waiting';
  /** By id, as the room told them. */
  #messages = new Map();
  /** What was written here and was not told by the room yet. */
  #pending = [];
  /** How far the others have read. */
  #read = new Map();
  #unread = 0;
  #typists = [];
  #looking = null;
  /** Who has scrolled back is not torn away from there. */
  #isAtEnd = true;
  #owner;
  #parts;

  constructor({ account, channel, names, owner }) {
    this.#account = account;
    this.#channel = channel;
    this.#names = names;
    this.#owner = capital(owner);
    this.element = this.#build(this.#owner);
    new ResizeObserver(() => this.#keepAtEnd()).observe(this.#parts.messages);
  }

  /** Follows the room on this client, from now on. */
  follow(client) {
    this.#room = client.join(this.#channel.id);
    this.#room.on('resync', (_, { signal }) => this.#readAll(signal));
    this.#room.on('*', (frame) => this.#take(frame));
    this.#room.on('typing', (userIds) => {
      this.#typists = userIds;
      this.#drawTyping();
    });
    this.#room.on('state', ({ state }) => {
      this.#state = state;
      this.#draw();
    });
  }

  /** On one of this person's devices, something was read. */
  marked({ channelId, unreadCount }) {
    if (channelId !== this.#channel.id) return;
    this.#unread = unreadCount;
    this.#drawUnread();
  }

  /** The newest messages, instead of what is here. */
  async #readAll(signal) {
    const { value: newest } = await this.#room.pages({ limit: SHOWN_MAX, signal }).next();
    this.#messages = new Map(newest.map((message) => [message.id, message]));
    this.#draw();
    this.#look();
  }

  #take(frame) {
    const changed = this.#messages.get(frame.messageId ?? frame.id);
    switch (frame.type) {
      case 'MESSAGE_CREATED':
        this.#messages.set(frame.id, frame);
        if (frame.userId !== this.#account.id) this.#look();
        break;
      case 'MESSAGE_EDITED':
        if (changed) this.#messages.set(frame.id, frame);
        break;
      case 'MESSAGE_DELETED':
        if (changed) Object.assign(changed, { isDeleted: true, content: '', reactions: [] });
        this.#look();
        break;
      case 'REACTION_ADDED':
      case 'REACTION_REMOVED':
        if (changed) changed.reactions = reacted(changed.reactions, frame);
        break;
      case 'READ_MARKER':
        this.#read.set(frame.userId, Math.max(frame.lastReadSeq, this.#read.get(frame.userId) ?? 0));
    }
    this.#pending = this.#pending.filter(({ clientId, id }) => clientId !== frame.clientId && !this.#messages.has(id));
    const oldest = [...this.#messages.keys()].slice(0, Math.max(0, this.#messages.size - SHOWN_MAX));
    for (const id of oldest) this.#messages.delete(id);
    this.#draw();
  }

  /** Marks as read what is looked at, or else asks how much is unread: soon, and once for all that comes meanwhile. */
  #look() {
    this.#looking ??= setTimeout(async () => {
      this.#looking = null;
      const path = `/channels/${this.#channel.id}/read`;
      const last = [...this.#messages.keys()].at(-1);
      const isLookedAt = this.element.contains(document.activeElement) && last !== undefined;
      try {
        const asked = isLookedAt ? this.#account.call('POST', path, { messageId: last }) : this.#account.call('GET', path);
        this.marked((await asked).value);
      } catch {
        // The count is as old as the cluster's last answer; the next message asks again.
      }
    }, MARK_AFTER_MS);
  }

  #write(form) {
    const input = form.elements.content;
    const content = input.value.trim();
    if (content === '' || this.#room === null) return;
    input.value = '';
    const message = { clientId: crypto.randomUUID(), content, id: null, problem: null };
    this.#pending.push(message);
    const sent = ({ messageId }) => {
      message.id = messageId;
    };
    const failed = (error) => {
      message.problem = error.message;
    };
    this.#room.send(content, { clientId: message.clientId }).then(sent, failed).finally(() => this.#draw());
    this.#draw();
  }

  #build(owner) {
    const submit = (event) => {
      event.preventDefault();
      this.#write(event.target);
    };
    const input = h('input', {
      name: 'content', maxlength: '2000', autocomplete: 'off', placeholder: 'Write to everybody', 'aria-label': `${owner}: write a message`,
      oninput: ({ target }) => this.#room?.typing(target.value.trim() !== ''),
    });
    this.#parts = {
      unread: h('button', { type: 'button', class: 'unread', hidden: true, onclick: () => input.focus() }),
      messages: h('ol', { class: 'messages', role: 'log', 'aria-label': `${owner}: messages`, tabindex: '0', onscroll: () => this.#noteScroll() }),
      typing: h('p', { class: 'typing', 'aria-live': 'polite' }),
    };
    const { unread, messages, typing } = this.#parts;
    const send = h('button', { type: 'submit', class: 'send', 'aria-label': `${owner}: send`, title: 'Send' }, '↑');
    return h(
      'section',
      { class: 'channel', 'aria-label': `${owner}: the channel`, onfocusin: () => this.#unread > 0 && this.#look() },
      h('header', {}, h('h3', {}, `# ${this.#channel.name}`), unread),
      messages,
      typing,
      h('form', { onsubmit: submit }, input, send),
    );
  }

  #draw() {
    const { messages } = this.#parts;
    const rows = this.#rows();
    redraw(messages, rows, () => (rows.length === 0 ? h('li', { class: 'empty' }, 'Nothing was written yet.') : rows.map(bubble)));
    this.#keepAtEnd();
    setClass(this.element, 'away', this.#state !== 'live');
    this.#drawTyping();
  }

  #noteScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.#parts.messages;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < 40;
  }

  #keepAtEnd() {
    const { messages } = this.#parts;
    if (this.#isAtEnd) messages.scrollTop = messages.scrollHeight;
  }

  /** What the list shows, and nothing else, so that it is drawn anew only when that differs. */
  #rows() {
    const me = this.#account.id;
    const told = [...this.#messages.values()].sort((one, other) => one.seq - other.seq);
    const mine = told.filter(({ userId }) => userId === me);
    const readUpTo = Math.max(0, ...[...this.#read].filter(([userId]) => userId !== me).map(([, seq]) => seq));
    const lastRead = mine.findLast(({ seq }) => seq <= readUpTo)?.seq;
    const rows = told.map((message, index) => {
      const before = told[index - 1];
      const isSame = before?.userId === message.userId && Date.parse(message.createdAt) - Date.parse(before.createdAt) < TOGETHER_MS;
      return {
        seq: message.seq,
        isMine: message.userId === me,
        author: isSame ? null : (this.#names.get(message.userId) ?? 'Somebody'),
        content: message.isDeleted ? 'deleted' : message.content,
        isDeleted: message.isDeleted,
        note: [message.isEdited && 'edited', message.seq === lastRead && 'read'].filter(Boolean).join(' · '),
        reactions: message.reactions.map(({ emoji, userIds }) => `${emoji} ${userIds.length}`),
      };
    });
    const waiting = this.#pending.filter(({ id }) => !this.#messages.has(id)).map(({ content, problem }) => ({
      isMine: true, content, isWaiting: problem === null, note: problem === null ? 'sending …' : `not sent: ${problem}`,
    }));
    return [...rows, ...waiting];
  }

  #drawUnread() {
    const { unread } = this.#parts;
    unread.hidden = this.#unread === 0;
    setText(unread, `${this.#unread} unread`);
    unread.setAttribute('aria-label', `${this.#owner}: ${this.#unread} unread`);
  }

  #drawTyping() {
    const who = this.#typists.map((userId) => this.#names.get(userId) ?? 'Somebody');
    redraw(this.#parts.typing, who, () =>
      who.length === 0 ? [] : [h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i')), `${who.join(' and ')} ${who.length === 1 ? 'is' : 'are'} typing`],
    );
  }
}

function bubble({ seq, isMine, author, content, isDeleted, isWaiting, note, reactions = [] }) {
  const classes = ['bubble', isMine ? 'mine' : 'theirs', isDeleted && 'deleted', isWaiting && 'sending', author && 'first'];
  return h(
    'li',
    { class: classes.filter(Boolean).join(' '), 'data-seq': seq },
    author && !isMine && h('strong', {}, author),
    h('span', { class: 'content' }, content),
    reactions.length > 0 && h('span', { class: 'reactions' }, reactions.join('  ')),
    note && h('small', {}, note),
  );
}

function reacted(reactions, { type, emoji, userId }) {
  const others = (userIds) => userIds.filter((it) => it !== userId);
  const known = reactions.some((it) => it.emoji === emoji) ? reactions : [...reactions, { emoji, userIds: [] }];
  return known
    .map((it) => {
      if (it.emoji !== emoji) return it;
      return { emoji, userIds: type === 'REACTION_ADDED' ? [...others(it.userIds), userId] : others(it.userIds) };
    })
    .filter(({ userIds }) => userIds.length > 0);
}
