/**
 * How long to wait before the next attempt.
 *
 * Full jitter: a random time between nothing and a bound that doubles. When a node with thousands of clients goes
 * away, they come back spread out, and not as one crowd.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */

export const FIRST_MS = 500;
export const MAX_MS = 60_000;

/** The bound of the wait before attempt `attempt`, the first of which is 0. */
export function boundMs(attempt, firstMs = FIRST_MS, maxMs = MAX_MS) {
  // 2 ** 1024 is Infinity, and the minimum with that is right too.
  return Math.min(maxMs, firstMs * 2 ** attempt);
}

/** The wait before attempt `attempt`. `random` gives numbers from 0 (inclusive) to 1 (exclusive). */
export function delayMs(attempt, { firstMs = FIRST_MS, maxMs = MAX_MS, random = Math.random } = {}) {
  return Math.floor(random() * boundMs(attempt, firstMs, maxMs));
}
