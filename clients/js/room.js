/** One room, as the app has it. */

import { Handlers } from './handlers.js';
import { Outbox } from './outbox.js';
import { Subscription } from './subscription.js';
import { Typing } from './typing.js';

export class Room {
  #handlers = new Handlers();
  #subscription;
  #outbox;
  #typing;
  #commands = null;
  #pages;

  /** The part that the client holds; an app has the room itself. */
  static create(channelId, parts) {
    const room = new Room(channelId, parts);
    return {
      room,
      open: (connection) => room.#open(connection),
      closed: () => room.#closed(),
      end: (reason) => room.#subscription.end(reason),
      handle: (frame) => room.#handle(frame),
    };
  }

  constructor(channelId, { pages, sendQueueMax, sendTimeoutMs, delayMs, ...parts }) {
    this.id = channelId;
    this.#pages = pages;
    this.#outbox = new Outbox({ waitingMax: sendQueueMax, timeoutMs: sendTimeoutMs, delayMs });
    const say = (isTyping) => this.#commands?.mention({ type: 'TYPING', channelId, isTyping });
    this.#typing = new Typing(say, (userIds) => this.#handlers.emit('typing', userIds));
    const changed = (state) => this.#changed(state);
    this.#subscription = new Subscription(channelId, { ...parts, delayMs, handlers: this.#handlers, changed });
  }

  /** `waiting`, `joining`, `live` or `ended`. */
  get state() {
    return this.#subscription.state.state;
  }

  /** The `seq` of the last message that was handled and stored, or `null`. */
  get seq() {
    return this.#subscription.seq;
  }

  /** The last change that was handled and stored, or `null`. */
  get revision() {
    return this.#subscription.revision;
  }

  on(type, listener) {
    return this.#handlers.on(type, listener);
  }

  /** Writes a message: once, however often it has to be said. */
  send(content, { clientId = randomId(), ...fields } = {}) {
    const said = this.#outbox.send({ type: 'SEND', channelId: this.id, content, ...fields, clientId });
    this.#typing.set(false);
    return said;
  }

  /** To be called with each key, and with `false` when nothing is being written any more. */
  typing(isTyping) {
    this.#typing.set(isTyping);
  }

  /** The room's messages by REST, page by page: the newest first, or those after a message. */
  pages(options = {}) {
    return this.#pages(this.id, options);
  }

  /** Hears nothing more of it, and gives up what was not sent yet. */
  leave() {
    this.#subscription.end('left');
  }

  #open(connection) {
    this.#commands = connection.commands;
    this.#subscription.open(connection);
    this.#outbox.open(connection.commands);
  }

  #closed() {
    this.#commands = null;
    this.#subscription.closed();
    this.#outbox.closed();
  }

  #handle(frame) {
    if (frame.type === 'TYPING') this.#typing.hear(frame);
    return this.#subscription.handle(frame);
  }

  #changed(state) {
    if (state.state !== 'live') this.#typing.forget();
    if (state.state === 'ended') this.#outbox.end(state.reason);
    this.#handlers.emit('state', state);
  }
}

/** `crypto.randomUUID` is not there in pages that came without TLS. */
function randomId() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
