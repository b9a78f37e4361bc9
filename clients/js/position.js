/**
 * What this client has seen: the last `seq`, and the past of the database (`epoch`) that the number belongs to.
 *
 * Both are changed together: an epoch that is newer than its seq would hide that another server has given the same
 * numbers to other events. A welcome names the epoch, and whether our seq belongs to it is known only when no
 * `RESYNC` has followed; so it is taken over with the first event after it, or with the answer to our probe.
 */
export class Position {
  /** @param {{seq?: number | null, epoch?: string | null} | null} saved */
  constructor(saved) {
    this.seq = isSeq(saved?.seq) ? saved.seq : null;
    this.epoch = typeof saved?.epoch === 'string' ? saved.epoch : null;
    this.welcomed = null;
    this.isResumed = false;
  }

  /** What to ask for when connecting. */
  query() {
    const query = {};
    if (this.seq !== null) query.since = String(this.seq);
    if (this.seq !== null && this.epoch !== null) query.epoch = this.epoch;
    return query;
  }

  /** A connection begins. */
  welcome({ seq, epoch }) {
    this.isResumed = this.seq !== null;
    this.welcomed = { seq, epoch: epoch ?? null };
  }

  /** `next`, `seen` (drop it), or `gap`: the server left something out, which it never does. */
  place(seq) {
    if (this.seq !== null && seq <= this.seq) return 'seen';
    // Who does not say what it saw gets what is not settled, and there may be settled events in between.
    return this.isResumed && seq !== this.seq + 1 ? 'gap' : 'next';
  }

  /** The position after the event with this `seq`, to be saved and then taken. */
  after(seq) {
    return { seq, epoch: this.welcomed ? this.welcomed.epoch : this.epoch };
  }

  /** The position when everything that was missed has come, or `null` if it is the present one. */
  afterReplay() {
    if (this.welcomed === null) return null;
    const { epoch } = this.welcomed;
    const seq = this.isResumed ? this.seq : Math.max(this.seq ?? 0, this.welcomed.seq);
    return seq === this.seq && epoch === this.epoch ? null : { seq, epoch };
  }

  take({ seq, epoch }) {
    this.seq = seq;
    this.epoch = epoch;
  }

  /** After a `RESYNC` numbers go on after `fromSeq`, without a gap. */
  resync(position) {
    this.take(position);
    this.isResumed = true;
  }
}

/** Whether a frame has a place in the user's own sequence. With a `revision`, its seq is a message's in its channel. */
export function isOwn(frame) {
  return isSeq(frame.seq) && !('revision' in frame);
}

export function isSeq(value) {
  return Number.isSafeInteger(value) && value >= 0;
}
