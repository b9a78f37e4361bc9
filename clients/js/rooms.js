/** The rooms of a client, over all its connections. */

import { Room } from './room.js';

export class Rooms {
  #parts;
  #held = new Map();
  #connection = null;
  #isStopped = false;

  /** @param {object} parts what each `Room` is made of; `storageOf(channelId)` for its own */
  constructor(parts) {
    this.#parts = parts;
  }

  /** The same room, if it was joined already. */
  join(channelId, { since, revision } = {}) {
    const known = this.#held.get(channelId);
    if (known !== undefined && known.room.state !== 'ended') return known.room;
    const { storageOf, ...parts } = this.#parts;
    const held = Room.create(channelId, { ...parts, storage: storageOf(channelId), since, revision });
    this.#held.set(channelId, held);
    if (this.#isStopped) held.end('stopped');
    else if (this.#connection !== null) held.open(this.#connection);
    return held.room;
  }

  /** A connection begins, in this past of the database. */
  open(commands, epoch) {
    this.#connection = { commands, epoch: epoch ?? null, channels: new Set() };
    // Nothing more comes of what ended on another connection.
    this.#held = new Map([...this.#held].filter(([, { room }]) => room.state !== 'ended'));
    for (const held of this.#living()) held.open(this.#connection);
  }

  closed() {
    this.#connection = null;
    for (const held of this.#living()) held.closed();
  }

  /** The client is stopped for good. */
  stop() {
    this.#isStopped = true;
    for (const held of this.#living()) held.end('stopped');
  }

  /** Whether a frame is of one of these rooms, and nobody else's. */
  has({ channelId }) {
    return this.#held.has(channelId);
  }

  handle(frame) {
    return this.#held.get(frame.channelId).handle(frame);
  }

  #living() {
    return [...this.#held.values()].filter(({ room }) => room.state !== 'ended');
  }
}
