/**
 * What this client hears of one room: each change once and in order, over all its connections.
 *
 * The room's changes are counted by `revision`. The last one that was handled is kept in the storage, and each connection
 * asks for what follows it. What the server cannot tell any more is read by the app, in its `resync` handlers.
 */

import { within } from './attempts.js';
import { FanlightError } from './commands.js';
import { isSeq } from './position.js';

const LOAD_MS = 30_000;

export class Subscription {
  #channelId;
  #parts;
  #position;
  #isLoaded = false;
  #connection = null;
  /** What comes is of this subscription, and not of one before it on the same connection. */
  #isHearing = false;
  #attempt = 0;
  #timer;
  state = { state: 'waiting' };

  /**
   * @param {object} parts `handlers`, `storage`, `since` and `revision` to begin with, `attempt(what, work)`,
   *   `delayMs(attempt)`, `problem(error)`, and `changed(state)`
   */
  constructor(channelId, parts) {
    this.#channelId = channelId;
    this.#parts = parts;
    this.#position = positionOf(parts);
    this.#load();
  }

  get seq() {
    return this.#position.seq;
  }

  get revision() {
    return this.#position.revision;
  }

  get isEnded() {
    return this.state.state === 'ended';
  }

  /** @param {object} connection its `commands`, its `epoch`, and the `channels` that were subscribed to on it */
  open(connection) {
    this.#connection = connection;
    this.#attempt = 0;
    this.#subscribe();
  }

  closed() {
    clearTimeout(this.#timer);
    this.#connection = null;
    this.#isHearing = false;
    if (!this.isEnded) this.#enter({ state: 'waiting' });
  }

  /** Hears nothing more. */
  end(reason) {
    if (this.isEnded) return;
    clearTimeout(this.#timer);
    this.#isHearing = false;
    if (reason === 'left') this.#connection?.commands.ask({ type: 'UNSUBSCRIBE', channelId: this.#channelId }, () => {});
    this.#enter({ state: 'ended', reason });
  }

  /** Takes a frame of this room. Returns `false` if the server must send it again. */
  async handle(frame) {
    if (!this.#isHearing) return true;
    if (frame.type === 'ROOM_RESYNC') return this.#resync(frame);
    if (frame.type === 'UNSUBSCRIBED') {
      this.end(frame.reason);
      return true;
    }
    const { handlers, attempt } = this.#parts;
    const call = (signal) => handlers.call([frame.type, '*'], frame, signal);
    if (!isSeq(frame.revision)) {
      // It has no place, and is not told again.
      await attempt(null, call);
      return true;
    }
    if (frame.revision <= this.#position.revision) return true;
    const seq = frame.type === 'MESSAGE_CREATED' ? Math.max(frame.seq, this.seq ?? 0) : this.seq;
    return this.#move({ seq, revision: frame.revision }, call);
  }

  async #load() {
    const { storage, problem } = this.#parts;
    try {
      this.#position = positionOf((await within(LOAD_MS, 'the storage', () => storage.load())) ?? this.#position);
    } catch (error) {
      problem(error);
    }
    this.#isLoaded = true;
    this.#subscribe();
  }

  #subscribe() {
    if (!this.#isLoaded || this.#connection === null || this.isEnded) return;
    const { commands, epoch, channels } = this.#connection;
    const channelId = this.#channelId;
    this.#enter({ state: 'joining' });
    this.#isHearing = !channels.has(channelId);
    if (!this.#isHearing) {
      const hear = () => {
        this.#isHearing = !this.isEnded;
      };
      commands.ask({ type: 'UNSUBSCRIBE', channelId }, hear, { isInOrder: true });
    }
    channels.add(channelId);
    const { seq, revision, epoch: past } = this.#position;
    // Another database server gives the same numbers to other changes.
    const isOfAnotherPast = past !== null && past !== epoch;
    const from = isOfAnotherPast ? {} : revision !== null ? { revision } : seq !== null ? { since: seq } : {};
    const isKnown = Object.keys(from).length > 0;
    const reason = isKnown ? null : isOfAnotherPast ? 'another_past' : 'new';
    commands.ask({ type: 'SUBSCRIBE', channelId, ...from }, (answer) => this.#answered(answer, reason), { isInOrder: true });
  }

  /** `reason` is why the app has to read the state before it hears anything, or `null`. */
  async #answered(answer, reason) {
    if (this.isEnded) return true;
    if (answer.type === 'ERROR') {
      this.#refused(FanlightError.from(answer));
      return true;
    }
    const { seq, revision } = answer;
    const isBehind = seq !== this.seq || revision !== this.revision;
    if (reason !== null && !(await this.#resync({ reason, fromSeq: seq, revision }))) return false;
    if (reason === null && isBehind && !(await this.#move({ seq, revision }, () => {}))) return false;
    this.#attempt = 0;
    if (!this.isEnded && this.#connection !== null) this.#enter({ state: 'live', seq, revision });
    return true;
  }

  #refused(error) {
    const { delayMs, problem } = this.#parts;
    if (!error.isPassing) {
      this.end(error.code);
      return;
    }
    problem(error);
    const waitMs = (error.retryAfterMs ?? 0) + delayMs(this.#attempt);
    this.#attempt += 1;
    this.#timer = setTimeout(() => this.#subscribe(), waitMs);
  }

  #resync({ reason, fromSeq, revision }) {
    const { handlers } = this.#parts;
    return this.#move({ seq: fromSeq, revision }, (signal) => handlers.call(['resync'], { reason, fromSeq, revision }, signal));
  }

  /** Does the app's part, and then keeps that it is done. */
  async #move({ seq, revision }, work) {
    const { storage, attempt } = this.#parts;
    const next = { seq, revision, epoch: this.#connection?.epoch ?? this.#position.epoch };
    const isDone = await attempt(`revision ${revision} of channel ${this.#channelId}`, async (signal) => {
      await work(signal);
      await storage.save(next);
    });
    if (isDone) this.#position = next;
    return isDone;
  }

  #enter(state) {
    this.state = state;
    this.#parts.changed(state);
  }
}

function positionOf({ seq, since, revision, epoch }) {
  const number = (value) => (isSeq(value) ? value : null);
  return { seq: number(seq) ?? number(since), revision: number(revision), epoch: typeof epoch === 'string' ? epoch : null };
}
