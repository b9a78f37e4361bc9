/**
 * The events of one Fanlight user and of the rooms that they join, each once and in order, over reconnects, restarts and
 * failovers.
 *
 * An event is acknowledged only after its handlers are done and its `seq` is stored. So a client that dies in between
 * gets it again (at least once), and what was seen already is dropped by its `seq` (seen once).
 */

import { Attempts, within } from './attempts.js';
import { delayMs, FIRST_MS, MAX_MS } from './backoff.js';
import { adviceFor, isTokenRefused, nextStep } from './closing.js';
import { Handlers } from './handlers.js';
import { apiBeside, pages } from './history.js';
import { isOwn, isSeq, Position } from './position.js';
import { Presence } from './presence.js';
import { Rooms } from './rooms.js';
import { ENDS, Session } from './session.js';
import { memoryStorage, webStorage } from './storage.js';

export { memoryStorage, webStorage };
export { CLOSINGS, adviceFor } from './closing.js';
export { FanlightError } from './commands.js';

const DEFAULTS = {
  queueMax: 2_000,
  handlerTimeoutMs: 30_000,
  handlerAttemptsMax: 5,
  connectTimeoutMs: 15_000,
  tokenTimeoutMs: 15_000,
  pongTimeoutMs: 10_000,
  answerTimeoutMs: 60_000,
  sendQueueMax: 100,
  sendTimeoutMs: 120_000,
  renewBeforeMs: 60_000,
  stableAfterMs: 10_000,
  backoff: { firstMs: FIRST_MS, maxMs: MAX_MS },
};

/** Connects, and stays connected until `close()`, or until the server says that there is no use. */
export function connect(options) {
  return new Client(options);
}

class Client {
  #options;
  #storage;
  #position = new Position(null);
  #handlers = new Handlers();
  #rooms;
  #presence;
  #session = null;
  #state = { state: 'connecting' };
  /** Connections in a row that did not last. */
  #attempt = 0;
  #tokenReason = 'connect';
  #refusedToken = null;
  #attempts;
  #wake = () => {};
  #isClosing = false;
  #running;
  #onOnline = () => this.#nudge();

  constructor(options) {
    this.#options = { WebSocket: globalThis.WebSocket, fetch: globalThis.fetch, ...DEFAULTS, ...options };
    this.#options.backoff = { ...DEFAULTS.backoff, ...options.backoff };
    const { url, token, getToken, WebSocket } = this.#options;
    // Throws now for what is no URL, instead of trying it for ever.
    if (typeof url !== 'function') new URL(url);
    if ((token === undefined) === (getToken === undefined)) {
      throw new TypeError('either `token` or `getToken` must be given');
    }
    if (typeof WebSocket !== 'function') throw new TypeError('there is no WebSocket here: use Node 22 or newer');
    this.#options.canRenew = getToken !== undefined;
    this.#storage = this.#options.storage ?? memoryStorage();
    this.#attempts = new Attempts(this.#options.handlerTimeoutMs, (error) => this.#problem(error));
    this.#rooms = new Rooms(this.#roomParts());
    this.#presence = new Presence({
      changed: (change) => this.#handlers.emit('presence', change),
      delayMs: (times) => delayMs(times, this.#options.backoff),
      problem: (error) => this.#problem(error),
    });
    globalThis.addEventListener?.('online', this.#onOnline);
    this.#running = this.#run();
  }

  /** `connecting`, `open`, `waiting` or `stopped`. */
  get state() {
    return this.#state.state;
  }

  /** The `seq` of the last event that was handled and stored, or `null`. */
  get seq() {
    return this.#position.seq;
  }

  get epoch() {
    return this.#position.epoch;
  }

  /** Registers a handler or a listener, and returns the function that removes it. */
  on(type, listener) {
    return this.#handlers.on(type, listener);
  }

  /** Hears what happens in a channel, a group or a conversation of two, from now on or from where it stopped. */
  join(channelId, options) {
    return this.#rooms.join(channelId, options);
  }

  /** Watches these people, and nobody else: the `presence` listeners hear how they are, and when it changes. */
  watch(userIds) {
    this.#presence.watch(userIds);
  }

  /** This device shows that channel now, or none. */
  view(channelId) {
    this.#presence.view(channelId);
  }

  /** `away` or `online`. */
  setPresence(status) {
    this.#presence.set(status);
  }

  /** Ends the connection; resolves when what is being handled is finished. */
  close() {
    this.#isClosing = true;
    // First: what is being handled may wait for what it sends.
    this.#rooms.stop();
    this.#session?.give({ code: 1000, reason: '' });
    this.#wake();
    return this.#running;
  }

  async #run() {
    try {
      this.#position = new Position(await this.#saved());
      while (!this.#isClosing) {
        const end = await this.#once();
        if (this.#isClosing) break;
        const step = this.#decide(end);
        if (step.waitMs === null) {
          this.#enter({ state: 'stopped', code: end.code, reason: end.reason });
          return;
        }
        this.#enter({ state: 'waiting', code: end.code, reason: end.reason, ...step });
        await this.#sleep(step.waitMs);
      }
      this.#enter({ state: 'stopped', code: 1000, reason: '' });
    } finally {
      this.#rooms.stop();
      globalThis.removeEventListener?.('online', this.#onOnline);
    }
  }

  async #saved() {
    const given = { seq: this.#options.since, epoch: this.#options.epoch };
    try {
      const { handlerTimeoutMs } = this.#options;
      return (await within(handlerTimeoutMs, 'the storage', () => this.#storage.load())) ?? given;
    } catch (error) {
      this.#problem(error);
      return given;
    }
  }

  /** One connection. */
  async #once() {
    this.#enter({ state: 'connecting', attempt: this.#attempt });
    let session;
    try {
      const token = await this.#token(this.#tokenReason);
      // Asked for a better one than this, it has no better one.
      if (token === this.#refusedToken) return { code: 1008, reason: 'Invalid JWT token', isFinal: true };
      const url = await this.#url();
      if (this.#isClosing) return { ...ENDS.failed };
      session = new Session(url, token, this.#options, {
        welcome: (frame, commands) => this.#welcome(frame, commands),
        handle: (frame) => this.#handle(frame),
        replayed: () => this.#replayed(),
        renew: () => this.#token('renew'),
        problem: (error) => this.#problem(error),
      });
      this.#session = session;
      const end = await session.ended;
      if (isTokenRefused(end.code, end.reason)) this.#refusedToken = token;
      const lasted = session.welcomedAt === null ? 0 : performance.now() - session.welcomedAt;
      if (lasted >= this.#options.stableAfterMs) this.#attempt = 0;
      return end;
    } catch (error) {
      this.#problem(error);
      return { ...ENDS.failed, retryAfterMs: error?.retryAfterMs };
    } finally {
      this.#session = null;
      this.#rooms.closed();
      this.#presence.closed();
    }
  }

  #decide(end) {
    const { backoff, handlerAttemptsMax } = this.#options;
    const attempt = this.#attempt;
    this.#attempt += 1;
    const hopeless = this.#attempts.hopeless(handlerAttemptsMax);
    if (hopeless !== undefined) {
      end.reason = hopeless;
      return { advice: 'stop', waitMs: null };
    }
    const delay = (times) => delayMs(times, backoff);
    const isRefused = isTokenRefused(end.code, end.reason);
    const canTryAnother = this.#options.canRenew && !end.isFinal;
    if (isRefused && canTryAnother && this.#tokenReason !== 'rejected') {
      this.#tokenReason = 'rejected';
      return { advice: 'refresh', waitMs: delay(attempt) };
    }
    const isExpired = adviceFor(end.code, end.reason) === 'refresh';
    if (isExpired && !canTryAnother) return { advice: 'stop', waitMs: null };
    if (isExpired) this.#tokenReason = 'expired';
    return nextStep({ ...end, attempt }, delay);
  }

  async #token(reason) {
    const { token, getToken, tokenTimeoutMs } = this.#options;
    if (getToken === undefined) return token;
    return within(tokenTimeoutMs, '`getToken`', (signal) => getToken({ reason, signal }));
  }

  async #givenUrl() {
    const { url: given, tokenTimeoutMs } = this.#options;
    const ask = async () => (typeof given === 'function' ? given({ attempt: this.#attempt }) : given);
    return new URL(await within(tokenTimeoutMs, '`url`', ask));
  }

  async #url() {
    const { deviceId } = this.#options;
    const url = await this.#givenUrl();
    url.protocol = url.protocol.replace('http', 'ws');
    const query = { ...this.#position.query(), ...(deviceId !== undefined && { deviceId }) };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    return url.href;
  }

  #roomParts() {
    const { api, fetch, sendQueueMax, sendTimeoutMs, backoff } = this.#options;
    const rest = {
      // Called as what it is: a method of `window`, for a browser.
      fetch: (...request) => fetch.call(globalThis, ...request),
      api: async () => new URL(api ?? apiBeside(await this.#givenUrl())),
      token: (reason) => this.#token(reason),
    };
    const memory = memoryStorage();
    return {
      sendQueueMax,
      sendTimeoutMs,
      pages: (channelId, options) => pages(rest, channelId, options),
      storageOf: (channelId) => this.#storage.room?.(channelId) ?? memory.room(channelId),
      attempt: (what, work) => this.#attempts.run(what, work),
      delayMs: (times) => delayMs(times, backoff),
      problem: (error) => this.#problem(error),
    };
  }

  #welcome(frame, commands) {
    this.#tokenReason = 'connect';
    this.#refusedToken = null;
    this.#position.welcome(frame);
    const { connectionId, node } = frame;
    this.#enter({ state: 'open', connectionId, node, isResumed: this.#position.isResumed });
    this.#presence.open(commands);
    this.#rooms.open(commands, frame.epoch);
  }

  /** Everything that was missed has come. */
  async #replayed() {
    const next = this.#position.afterReplay();
    if (next !== null && !(await this.#attempts.run(`seq ${next.seq}`, () => this.#storage.save(next)))) return;
    if (next !== null) this.#position.resync(next);
    this.#handlers.emit('current', { seq: this.#position.seq });
  }

  /** Returns `false` if the server must send it again. */
  async #handle(frame) {
    if (frame.type === 'RESYNC') return this.#resync(frame);
    if (!isOwn(frame)) return this.#overhear(frame);
    switch (this.#position.place(frame.seq)) {
      case 'seen':
        return true;
      case 'gap':
        this.#problem(new Error(`seq ${frame.seq} does not follow ${this.#position.seq}`));
        return false;
    }
    const next = this.#position.after(frame.seq);
    const done = await this.#attempts.run(`seq ${frame.seq}`, async (signal) => {
      await this.#handlers.call([frame.type, '*'], frame, signal);
      await this.#storage.save(next);
    });
    if (done) this.#position.take(next);
    return done;
  }

  /** What is nobody's own: it is not sent again for want of an acknowledgement. */
  async #overhear(frame) {
    if (this.#rooms.has(frame)) return this.#rooms.handle(frame);
    if (frame.type === 'PRESENCE_CHANGED') this.#presence.learn(frame);
    await this.#attempts.run(null, (signal) => this.#handlers.call([frame.type, '*'], frame, signal));
    return true;
  }

  async #resync({ reason, fromSeq }) {
    if (!isSeq(fromSeq)) return false;
    const next = this.#position.after(fromSeq);
    const done = await this.#attempts.run(`seq ${fromSeq}`, async (signal) => {
      await this.#handlers.call(['resync'], { reason, fromSeq }, signal);
      await this.#storage.save(next);
    });
    if (done) this.#position.resync(next);
    return done;
  }

  #enter(change) {
    this.#state = change;
    this.#handlers.emit('state', change);
  }

  #problem(error) {
    this.#handlers.emit('error', error);
  }

  /** The network is back: nothing learnt before counts for much. */
  #nudge() {
    this.#session?.probe();
    if (this.#state.state === 'waiting' && this.#state.code === ENDS.failed.code) this.#wake();
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
