/**
 * One connection, from its handshake to its end.
 *
 * What comes is handled one by one, in order: handler, then storage, then `ACK`. Nothing is held without a bound: if
 * more waits than `queueMax`, the connection is given up; the events are in the server's database and come again.
 */

import { Commands } from './commands.js';
import { isOwn } from './position.js';
import { lifeMs, renewAfterMs } from './token.js';

export const SUBPROTOCOL = 'fanlight.v1';

const NORMAL = 1000;
/** What ended a connection from this side, in the words of the close-code table. */
export const ENDS = {
  failed: { code: 1006, reason: '' },
  lost: { code: 4002, reason: 'Heartbeat lost' },
  behind: { code: 4009, reason: 'Too slow to take its events' },
};

const HEARTBEAT_MS = 25_000;
/** `setTimeout` takes no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** A failed `WebSocket` may say `error` and then, or never, `close`. */
const CLOSE_AFTER_ERROR_MS = 1_000;
/** Of many events that are handled quickly, one `ACK` in so long is enough. */
const ACK_EVERY_MS = 200;
const RENEW_RETRY_MS = 5_000;

export class Session {
  #socket;
  #options;
  #token;
  #hooks;
  #queue = [];
  #isDraining = false;
  #timers = new Map();
  #heardAt = performance.now();
  #heartbeatMs = HEARTBEAT_MS;
  #ackSeq = null;
  #ackedAt = 0;
  #hintMs;
  #commands = null;
  #end = null;
  #resolve;

  /** Resolves with `{code, reason, hintMs, retryAfterMs}` when it has ended and nothing of it is being handled. */
  ended = new Promise((resolve) => {
    this.#resolve = resolve;
  });
  welcomedAt = null;

  /**
   * @param {object} hooks `welcome(frame, commands)`, `handle(frame)` (may be async; `false` ends the connection),
   *   `replayed()`, `renew()` for a new token, and `problem(error)`
   */
  constructor(url, token, options, hooks) {
    this.#options = options;
    this.#token = token;
    this.#hooks = hooks;
    this.#socket = new options.WebSocket(url, [SUBPROTOCOL, `bearer.${token}`]);
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = ({ code, reason, retryAfterMs }) => this.#finish({ code, reason, retryAfterMs });
    this.#socket.onerror = ({ retryAfterMs }) => {
      this.#after('error', CLOSE_AFTER_ERROR_MS, () => this.#finish({ ...ENDS.failed, retryAfterMs }));
    };
    // Until its welcome: a server that accepts and says nothing is no better than none.
    this.#after('welcome', options.connectTimeoutMs, () => this.give(ENDS.failed));
  }

  /** Ends the connection from this side, without waiting for the other. */
  give(end) {
    try {
      this.#socket.close(NORMAL);
    } catch {
      // It was not open yet.
    }
    this.#finish(end);
  }

  /** Makes sure, now, that the server is still there. */
  probe() {
    if (this.#end === null && this.welcomedAt !== null) this.#ping();
  }

  #take(data) {
    if (this.#end !== null) return;
    this.#heardAt = performance.now();
    const frame = parsed(data);
    if (frame === null) return;
    switch (frame.type) {
      case 'DRAINING':
        this.#hintMs = atLeastZero(frame.reconnectAfterMs);
        return;
      case 'OK':
      case 'ERROR':
        if (this.#isAnswered(frame)) return;
        break;
      case 'PONG':
        if (frame.ref !== 'replayed') return;
    }
    if (this.#queue.length >= this.#options.queueMax) {
      this.give(ENDS.behind);
      return;
    }
    this.#queue.push(frame);
    if (!this.#isDraining) this.#drain();
  }

  /** Answers do not wait behind handlers, which may wait for them; but for those that say where something begins. */
  #isAnswered(frame) {
    const arrived = this.#commands?.arrived(frame) ?? 'unasked';
    if (arrived === 'unasked' && frame.type === 'ERROR') {
      this.#hooks.problem(new Error(`the server refuses a command: ${frame.code}: ${frame.message}`));
    }
    return arrived !== 'later';
  }

  async #drain() {
    this.#isDraining = true;
    while (this.#queue.length > 0 && this.#end === null) {
      const frame = this.#queue.shift();
      if (frame.type === 'WELCOME') {
        this.#begin(frame);
      } else if (frame.type === 'PONG') {
        await this.#hooks.replayed();
      } else if ((await this.#deal(frame)) === false) {
        this.give(ENDS.failed);
      } else if (isOwn(frame)) {
        this.#ackSeq = frame.seq;
      }
      this.#acknowledge();
    }
    this.#isDraining = false;
    this.#settle();
  }

  #deal(frame) {
    const isAnswer = frame.type === 'OK' || frame.type === 'ERROR';
    return isAnswer ? this.#commands.answer(frame) : this.#hooks.handle(frame);
  }

  #begin(frame) {
    this.#cancel('welcome');
    this.welcomedAt = performance.now();
    if (frame.heartbeatMs > 0) this.#heartbeatMs = Math.min(frame.heartbeatMs, TIMER_MS_MAX);
    this.#commands = new Commands(frame.limits, {
      say: (command) => this.#send(command),
      late: () => this.give(ENDS.lost),
      timeoutMs: this.#options.answerTimeoutMs,
    });
    // Commands are read when everything that was missed has been written: its answer comes after all of that.
    this.#send({ type: 'PING', ref: 'replayed' });
    this.#hooks.welcome(frame, this.#commands);
    this.#listenOn();
    this.#renewInTime();
  }

  #acknowledge() {
    if (this.#ackSeq === null) return;
    const now = performance.now();
    if (this.#queue.length > 0 && now - this.#ackedAt < ACK_EVERY_MS) return;
    this.#send({ type: 'ACK', seq: this.#ackSeq });
    this.#ackSeq = null;
    this.#ackedAt = now;
  }

  /** Asks for a sign of life when there was none for a heartbeat: pages do not see the server's own pings. */
  #listenOn() {
    const silence = performance.now() - this.#heardAt;
    if (silence >= this.#heartbeatMs) this.#ping();
    else this.#after('heartbeat', this.#heartbeatMs - silence, () => this.#listenOn());
  }

  #ping() {
    const asked = performance.now();
    this.#send({ type: 'PING' });
    this.#after('heartbeat', this.#options.pongTimeoutMs, () => {
      if (this.#heardAt < asked) this.give(ENDS.lost);
      else this.#listenOn();
    });
  }

  #renewInTime() {
    const life = this.#options.canRenew ? lifeMs(this.#token) : undefined;
    if (life === undefined) return;
    const wait = renewAfterMs(life, this.#options.renewBeforeMs);
    if (wait <= TIMER_MS_MAX) this.#after('renew', wait, () => this.#renew());
  }

  async #renew() {
    try {
      this.#token = await this.#hooks.renew();
    } catch (error) {
      this.#hooks.problem(error);
      // If it does not succeed in time, the server says 4010.
      this.#after('renew', atLeastZero(error?.retryAfterMs) ?? RENEW_RETRY_MS, () => this.#renew());
      return;
    }
    if (this.#end !== null) return;
    this.#send({ type: 'AUTH', token: this.#token });
    this.#renewInTime();
  }

  #send(command) {
    // 1: OPEN. What is not sent now is not missed: the next connection says where we are.
    if (this.#end === null && this.#socket.readyState === 1) this.#socket.send(JSON.stringify(command));
  }

  #after(name, ms, action) {
    this.#cancel(name);
    if (this.#end === null) this.#timers.set(name, setTimeout(action, ms));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  #finish(end) {
    if (this.#end !== null) return;
    const { code = ENDS.failed.code, reason = '', retryAfterMs } = end;
    this.#end = { code, reason, retryAfterMs: atLeastZero(retryAfterMs), hintMs: this.#hintMs };
    for (const name of [...this.#timers.keys()]) this.#cancel(name);
    this.#commands?.end();
    this.#socket.onmessage = this.#socket.onclose = null;
    // A socket without a listener for errors throws them, in some implementations.
    this.#socket.onerror = () => {};
    this.#queue.length = 0;
    this.#settle();
  }

  #settle() {
    // What is being handled is finished first, or the next connection would not know where to go on.
    if (this.#end !== null && !this.#isDraining) this.#resolve(this.#end);
  }
}

function parsed(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === 'string' ? frame : null;
  } catch {
    // Not of this protocol; frames that we do not understand are ignored.
    return null;
  }
}

function atLeastZero(ms) {
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), TIMER_MS_MAX) : undefined;
}
