/**
 * What this side asks for on one connection, and what it is answered.
 *
 * The server hangs up on who says too much, and refuses what more than it takes would have to wait there. So commands
 * wait here: for their turn within its limits, and for answers to those before them.
 */

/** Unanswered commands on their way. The server lets 32 wait. */
const UNANSWERED_MAX = 16;
/** What of the server's limits is used: pings go beside, and its clock is another. */
const SHARE = 0.5;
const LIMITS = { messagesPerSecond: 20, messagesBurst: 60 };

/** A command that the server refuses, with its `code`; or one that came to nothing: `timeout`, `left`, `stopped`, … */
export class FanlightError extends Error {
  constructor(code, message, retryAfterMs) {
    super(`${code}: ${message}`);
    this.name = 'FanlightError';
    this.code = code;
    if (Number.isFinite(retryAfterMs)) this.retryAfterMs = Math.max(0, retryAfterMs);
  }

  static from({ code, message, retryAfterMs }) {
    return new FanlightError(code, message, retryAfterMs);
  }

  /** Whether it is worth saying again, after `retryAfterMs` if there is one. */
  get isPassing() {
    return this.retryAfterMs !== undefined || ['too_many_commands', 'unavailable', 'internal'].includes(this.code);
  }
}

export class Commands {
  #say;
  #late;
  #timeoutMs;
  #perMs;
  #burst;
  #allowance;
  #countedAt = performance.now();
  #waiting = [];
  #asked = new Map();
  #unanswered = 0;
  #lastRef = 0;
  #timer;
  #isEnded = false;

  /**
   * @param {object} limits those of the server's `WELCOME`
   * @param {object} parts `say(command)` writes to the socket; `late()` is called when an answer takes longer than `timeoutMs`
   */
  constructor(limits, { say, late, timeoutMs }) {
    const { messagesPerSecond, messagesBurst } = { ...LIMITS, ...limits };
    this.#say = say;
    this.#late = late;
    this.#timeoutMs = timeoutMs;
    this.#perMs = (messagesPerSecond * SHARE) / 1_000;
    this.#burst = this.#allowance = Math.max(1, messagesBurst * SHARE);
  }

  /**
   * `answer` is called with the `OK` or the `ERROR`: at once when it has come, since a handler may wait for it; or, if it
   * `isInOrder`, at its place among the frames. It is not called any more when the connection has ended.
   */
  ask(command, answer, { isInOrder = false } = {}) {
    if (this.#isEnded) return;
    const ref = `c${(this.#lastRef += 1)}`;
    this.#waiting.push({ command: { ...command, ref }, asked: { answer, isInOrder } });
    this.#sayNext();
  }

  /** For what is worth nothing later: now or never, and unanswered. */
  mention(command) {
    this.#count();
    if (this.#waiting.length > 0 || this.#allowance < 1) return;
    this.#allowance -= 1;
    this.#say(command);
  }

  /** An answer has come. `later`: it has to wait for its turn among the frames, and for `answer` then. */
  arrived(frame) {
    const asked = this.#asked.get(frame.ref);
    if (asked === undefined) return 'unasked';
    clearTimeout(asked.timer);
    this.#unanswered -= 1;
    this.#sayNext();
    if (asked.isInOrder) return 'later';
    this.answer(frame);
    return 'now';
  }

  /** Hands an answer to who asked, and returns what comes of it. */
  answer(frame) {
    const asked = this.#asked.get(frame.ref);
    this.#asked.delete(frame.ref);
    return asked?.answer(frame);
  }

  end() {
    this.#isEnded = true;
    clearTimeout(this.#timer);
    for (const { timer } of this.#asked.values()) clearTimeout(timer);
  }

  #sayNext() {
    clearTimeout(this.#timer);
    this.#count();
    while (this.#waiting.length > 0 && this.#unanswered < UNANSWERED_MAX) {
      if (this.#allowance < 1) {
        this.#timer = setTimeout(() => this.#sayNext(), Math.ceil((1 - this.#allowance) / this.#perMs));
        return;
      }
      this.#allowance -= 1;
      const { command, asked } = this.#waiting.shift();
      asked.timer = setTimeout(this.#late, this.#timeoutMs);
      this.#asked.set(command.ref, asked);
      this.#unanswered += 1;
      this.#say(command);
    }
  }

  #count() {
    const now = performance.now();
    this.#allowance = Math.min(this.#burst, this.#allowance + (now - this.#countedAt) * this.#perMs);
    this.#countedAt = now;
  }
}
