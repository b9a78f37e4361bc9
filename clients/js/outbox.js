/**
 * Messages that wait for their answer: one after the other, so that they stand in the room as they were sent.
 *
 * Each has a `clientId`, by which the server knows it again: so it is said once more on the next connection, and is
 * written once.
 */

import { FanlightError } from './commands.js';

export class Outbox {
  #parts;
  #waiting = [];
  #commands = null;
  /** The one that the server has on this connection. */
  #said = null;
  #attempt = 0;
  #timer;
  #endReason = null;

  /** @param {object} parts `waitingMax`, `timeoutMs`, and `delayMs(attempt)` */
  constructor(parts) {
    this.#parts = parts;
  }

  /** Resolves when the message is committed, with its `messageId`, `seq` and `createdAt`. */
  send(command) {
    const { waitingMax, timeoutMs } = this.#parts;
    return new Promise((resolve, reject) => {
      if (this.#endReason !== null) {
        reject(new FanlightError(this.#endReason, 'nothing is sent to this room any more'));
        return;
      }
      if (this.#waiting.length >= waitingMax) {
        reject(new FanlightError('queue_full', `${waitingMax} messages wait already`));
        return;
      }
      const message = { command, resolve, reject };
      const late = () => this.#settle(message, new FanlightError('timeout', 'no answer; it may have been written'));
      message.timer = setTimeout(late, timeoutMs);
      this.#waiting.push(message);
      this.#sayNext();
    });
  }

  open(commands) {
    this.#commands = commands;
    this.#said = null;
    this.#attempt = 0;
    this.#sayNext();
  }

  closed() {
    clearTimeout(this.#timer);
    this.#commands = this.#said = null;
  }

  /** Nothing is said any more. */
  end(reason) {
    this.#endReason = reason;
    this.closed();
    for (const message of [...this.#waiting]) this.#settle(message, new FanlightError(reason, 'no answer; it may have been written'));
  }

  #sayNext() {
    if (this.#commands === null || this.#said !== null || this.#waiting.length === 0) return;
    const [message] = this.#waiting;
    this.#said = message;
    this.#commands.ask(message.command, (answer) => this.#answered(message, answer));
  }

  #answered(message, answer) {
    if (answer.type === 'OK') {
      const { messageId, seq, createdAt } = answer;
      this.#settle(message, null, { messageId, seq, createdAt });
      return;
    }
    // Given up meanwhile: the next one may be under way.
    if (this.#said !== message) return;
    const error = FanlightError.from(answer);
    if (!error.isPassing) {
      this.#settle(message, error);
      return;
    }
    const waitMs = (error.retryAfterMs ?? 0) + this.#parts.delayMs(this.#attempt);
    this.#attempt += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#said = null;
      this.#sayNext();
    }, waitMs);
  }

  #settle(message, error, value) {
    const at = this.#waiting.indexOf(message);
    if (at === -1) return;
    this.#waiting.splice(at, 1);
    clearTimeout(message.timer);
    if (error === null) message.resolve(value);
    else message.reject(error);
    if (this.#said !== message) return;
    clearTimeout(this.#timer);
    this.#said = null;
    this.#attempt = 0;
    this.#sayNext();
  }
}
