/** When an access token ends. It is only read here, never judged: that is the server's part. */

/** How long this JWT is still good, in ms; `undefined` if it does not say. */
export function lifeMs(token, now = Date.now()) {
  const claims = claimsOf(token);
  if (typeof claims?.exp !== 'number') return undefined;
  const left = claims.exp * 1000 - now;
  // A clock that is behind must not make a token live longer than it ever does.
  const whole = typeof claims.iat === 'number' ? (claims.exp - claims.iat) * 1000 : Infinity;
  return Math.max(0, Math.min(left, whole));
}

function claimsOf(token) {
  try {
    const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return JSON.parse(atob(payload));
  } catch {
    return undefined;
  }
}

/** When to renew a token that is good for `life` ms: in time for a few attempts, but not half its life early. */
export function renewAfterMs(life, beforeMs) {
  return Math.max(life - beforeMs, life / 2, 0);
}
