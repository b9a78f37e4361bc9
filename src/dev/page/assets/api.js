/** The API of the cluster, and that of this page (`/dev/api`). */

/** An answer that is not a 2xx. `code` is the stable word of `application/problem+json`. */
export class Refused extends Error {
  constructor(status, problem, retryAfter) {
    super(problem?.title ?? `answered ${status}`);
    this.status = status;
    this.code = problem?.error;
    const seconds = Number(retryAfter);
    if (retryAfter !== null && Number.isFinite(seconds)) this.retryAfterMs = seconds * 1_000;
  }
}

export async function call(method, path, { token, body, signal } = {}) {
  const response = await fetch(path, {
    method,
    signal,
    // Two people share this page: a cookie would be the same for both.
    credentials: 'omit',
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  let value = null;
  try {
    value = JSON.parse(text);
  } catch {
    // No body, or none for us.
  }
  if (!response.ok) throw new Refused(response.status, value, response.headers.get('retry-after'));
  return { value, node: response.headers.get('x-served-by') };
}

/** Somebody who is signed in, and stays so. */
export class Account {
  #credentials;
  #token = null;
  #signingIn = null;

  constructor({ id, email, password }) {
    this.id = id;
    this.#credentials = { email, password };
  }

  async token({ fresh = false } = {}) {
    if (this.#token !== null && !fresh) return this.#token;
    this.#signingIn ??= call('POST', '/auth/login', { body: this.#credentials }).finally(() => {
      this.#signingIn = null;
    });
    this.#token = (await this.#signingIn).value.accessToken;
    return this.#token;
  }

  async call(method, path, body) {
    try {
      return await call(method, path, { token: await this.token(), body });
    } catch (error) {
      if (error.status !== 401) throw error;
      return call(method, path, { token: await this.token({ fresh: true }), body });
    }
  }
}

/** Waits no longer than the page is worth it: a state that is late is no state. */
export async function readState() {
  return (await call('GET', '/dev/api/state', { signal: AbortSignal.timeout(5_000) })).value;
}

/** Who is there, and the channel that all are in. */
export async function seeded() {
  return (await call('GET', '/dev/api/seeded')).value;
}

export function order(what, name, action) {
  return call('POST', `/dev/api/${what}/${name}/${action}`);
}
