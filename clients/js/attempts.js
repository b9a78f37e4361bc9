/** Runs the app's parts in bounded time, and counts how often they failed at the same. */
export class Attempts {
  #timeoutMs;
  #problem;
  #failures = new Map();

  constructor(timeoutMs, problem) {
    this.#timeoutMs = timeoutMs;
    this.#problem = problem;
  }

  /** Returns whether it is done. `what` comes again if it is not; `null` does not. */
  async run(what, work) {
    try {
      await within(this.#timeoutMs, 'a handler', work);
      this.#failures.delete(what);
      return true;
    } catch (error) {
      // That a server cannot answer now is no fault of the app's.
      if (what !== null && !error?.isPassing) this.#failures.set(what, (this.#failures.get(what) ?? 0) + 1);
      this.#problem(error);
      return false;
    }
  }

  /** What failed so often, in words, or `undefined`. */
  hopeless(max) {
    for (const [what, times] of this.#failures) if (times >= max) return `a handler failed ${times} times for ${what}`;
    return undefined;
  }
}

/** Waits for `work` no longer than `ms`; its signal says when it is not waited for any more. */
export async function within(ms, what, work) {
  const abort = new AbortController();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`${what} took longer than ${ms} ms`);
      abort.abort(error);
      reject(error);
    }, ms);
  });
  try {
    return await Promise.race([work(abort.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
