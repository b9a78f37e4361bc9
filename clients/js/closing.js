/**
 * What to do when a connection has ended: one table, the server's own.
 *
 * `src/edge/ws/close.rs` holds the original; a test of the server compares the two, line by line.
 */

/** @type {ReadonlyArray<Readonly<{code: number, reason: string, advice: 'stop' | 'resume' | 'back_off' | 'refresh'}>>} */
export const CLOSINGS = Object.freeze([
  { code: 1000, reason: '', advice: 'stop' },
  { code: 1012, reason: 'Service restart', advice: 'resume' },
  { code: 1012, reason: 'Connection is too old', advice: 'resume' },
  { code: 1002, reason: 'Protocol error', advice: 'stop' },
  { code: 1003, reason: 'Only text messages are understood', advice: 'stop' },
  { code: 1007, reason: 'Text is not UTF-8', advice: 'stop' },
  { code: 1008, reason: 'Missing JWT token', advice: 'stop' },
  { code: 1008, reason: 'Invalid JWT token', advice: 'stop' },
  { code: 1008, reason: 'Too many connections', advice: 'back_off' },
  { code: 1008, reason: 'Message took too long', advice: 'back_off' },
  { code: 1009, reason: 'Message too big', advice: 'stop' },
  { code: 1011, reason: 'Internal error', advice: 'back_off' },
  { code: 1013, reason: 'Try again later', advice: 'back_off' },
  { code: 4001, reason: 'Authentication failed', advice: 'stop' },
  { code: 4002, reason: 'Heartbeat lost', advice: 'resume' },
  { code: 4003, reason: 'Session revoked', advice: 'stop' },
  { code: 4005, reason: 'Replaced by a newer connection of this device', advice: 'stop' },
  { code: 4008, reason: 'Too many messages', advice: 'back_off' },
  { code: 4009, reason: 'Too slow to take its events', advice: 'resume' },
  { code: 4010, reason: 'Token expired', advice: 'refresh' },
]);

/**
 * What a server of ours never says: what a proxy says, and what the client's own side says when no close frame
 * came (RFC 6455 §7.4.1).
 */
const OTHERS = new Map([
  [1001, 'resume'],
  [1005, 'back_off'],
  [1006, 'back_off'],
]);

/**
 * What to do after a close with this code and reason. A code that stands for several things is told apart by its
 * reason; whatever is not known is tried again, ever more slowly.
 */
export function adviceFor(code, reason = '') {
  const rows = CLOSINGS.filter((row) => row.code === code);
  const exact = rows.find((row) => row.reason === reason);
  const agreed = rows.length > 0 && rows.every((row) => row.advice === rows[0].advice);
  return exact?.advice ?? (agreed ? rows[0].advice : undefined) ?? OTHERS.get(code) ?? 'back_off';
}

/** Whether the server refused the token itself: another one may be taken. */
export function isTokenRefused(code, reason) {
  return code === 1008 && reason === 'Invalid JWT token';
}

/**
 * The wait before the next connection, or `null`: none.
 *
 * `attempt` counts the connections in a row that did not last. A hint of the server's counts for the first one only:
 * who was told to come back and cannot stay is not sent elsewhere, but has found trouble.
 */
export function nextStep({ code, reason, attempt, hintMs, retryAfterMs }, delayMs) {
  const advice = adviceFor(code, reason);
  if (advice === 'stop') return { advice, waitMs: null };
  const jittered = delayMs(advice === 'back_off' ? attempt + 1 : attempt);
  const hinted = attempt === 0 && hintMs !== undefined ? hintMs : jittered;
  // At the earliest then, and not all at the same moment.
  const waitMs = retryAfterMs === undefined ? hinted : retryAfterMs + jittered;
  return { advice, waitMs };
}
