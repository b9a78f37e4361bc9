/**
 * What a client says of itself, and says again on each connection: whom it watches, what it shows, that it is away.
 */

import { FanlightError } from './commands.js';

export class Presence {
  #parts;
  #watched = new Set();
  #viewed = null;
  #status = 'online';
  /** What is known of those who are watched. */
  #known = new Map();
  #commands = null;
  #attempt = 0;
  #timers = new Map();

  /** @param {object} parts `changed({userId, status, lastSeen})`, `delayMs(attempt)`, and `problem(error)` */
  constructor(parts) {
    this.#parts = parts;
  }

  watch(userIds) {
    this.#watched = new Set(userIds);
    for (const userId of [...this.#known.keys()]) if (!this.#watched.has(userId)) this.#known.delete(userId);
    this.#say('WATCH');
  }

  view(channelId) {
    this.#viewed = channelId;
    this.#say('VIEW');
  }

  set(status) {
    this.#status = status;
    this.#say('PRESENCE');
  }

  open(commands) {
    this.#commands = commands;
    this.#attempt = 0;
    // A new connection watches nobody, shows nothing, and is online.
    if (this.#watched.size > 0) this.#say('WATCH');
    if (this.#viewed !== null) this.#say('VIEW');
    if (this.#status !== 'online') this.#say('PRESENCE');
  }

  closed() {
    this.#commands = null;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Somebody is there, away, or not there any more. */
  learn({ userId, status, lastSeen = null }) {
    const known = this.#known.get(userId);
    if (!this.#watched.has(userId) || (known?.status === status && known?.lastSeen === lastSeen)) return;
    this.#known.set(userId, { status, lastSeen });
    this.#parts.changed({ userId, status, lastSeen });
  }

  #say(type) {
    clearTimeout(this.#timers.get(type));
    // Their answers stand among what they change.
    this.#commands?.ask(this.#command(type), (answer) => this.#answered(type, answer), { isInOrder: true });
  }

  #command(type) {
    switch (type) {
      case 'WATCH':
        return { type, userIds: [...this.#watched] };
      case 'VIEW':
        return { type, channelId: this.#viewed };
      default:
        return { type, status: this.#status };
    }
  }

  #answered(type, answer) {
    if (answer.type === 'OK') {
      this.#attempt = 0;
      for (const entry of answer.presence ?? []) this.learn(entry);
      return;
    }
    const { delayMs, problem } = this.#parts;
    const error = FanlightError.from(answer);
    problem(error);
    if (!error.isPassing) return;
    const waitMs = (error.retryAfterMs ?? 0) + delayMs(this.#attempt);
    this.#attempt += 1;
    this.#timers.set(type, setTimeout(() => this.#say(type), waitMs));
  }
}
