/** A room's messages by REST, for who joins it, and for who missed more than is told. */

import { FanlightError } from './commands.js';

/**
 * Yields one page after the other, each in the order in which it was written: from the newest backwards, or, with `after`
 * (the id of a message), forwards from there.
 *
 * @param {object} parts `api()` says where the API is, `token(reason)` gives an access token, and `fetch`
 */
export async function* pages({ api, token, fetch }, channelId, { before, after, limit, signal } = {}) {
  const isForwards = after !== undefined;
  let cursor = isForwards ? after : before;
  while (true) {
    const url = new URL(`messages/channels/${encodeURIComponent(channelId)}`, await api());
    if (cursor !== undefined) url.searchParams.set(isForwards ? 'after' : 'before', cursor);
    if (limit !== undefined) url.searchParams.set('limit', limit);
    let response = await get(fetch, url, await token('connect'), signal);
    if (response.status === 401) response = await get(fetch, url, await token('rejected'), signal);
    const { items, next } = await read(response);
    yield items;
    if (next === null) return;
    cursor = next;
  }
}

/** Where the API is, beside its socket: `https://api.example/` for `wss://api.example/ws`. */
export function apiBeside(socketUrl) {
  const url = new URL(socketUrl);
  url.protocol = url.protocol.replace('ws', 'http');
  url.pathname = url.pathname.replace(/\/?ws\/?$/, '/');
  url.search = url.hash = '';
  return url;
}

async function get(fetch, url, token, signal) {
  try {
    // Without cookies: the token says who this is.
    return await fetch(url, { headers: { authorization: `Bearer ${token}` }, credentials: 'omit', signal });
  } catch (error) {
    // What `fetch` throws when there was no answer.
    if (error instanceof TypeError) throw new FanlightError('unavailable', error.message);
    throw error;
  }
}

async function read(response) {
  if (response.ok) return response.json();
  const { error, title } = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const code = response.status >= 500 ? 'unavailable' : (error ?? `http_${response.status}`);
  throw new FanlightError(code, title ?? `the request was answered ${response.status}`, seconds * 1_000);
}
