// Rooms, against a server that the test plays.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryStorage } from '../index.js';
import { event, start } from './fake_server.js';

const ROOM = 'c1';

function message(revision, fields = {}) {
  return { type: 'MESSAGE_CREATED', channelId: ROOM, id: `m${revision}`, seq: revision, revision, content: `${revision}`, ...fields };
}

/** Joins, and notes what the room says. */
function join(client, options) {
  const room = client.join(ROOM, options);
  const heard = [];
  const states = [];
  const resyncs = [];
  room.on('*', ({ type, revision }) => void heard.push(revision ?? type));
  room.on('state', (state) => states.push(state));
  room.on('resync', (resync) => void resyncs.push(resync));
  return { room, heard, states, resyncs };
}

/** Resolves when the room is in this state. */
function until(room, wanted) {
  return new Promise((resolve) => room.on('state', (it) => it.state === wanted && resolve(it)));
}

/** All that was said before this has been handled. */
async function handled(socket, client) {
  const done = new Promise((resolve) => client.on('MARK', resolve));
  socket.say({ type: 'MARK' });
  await done;
}

test('who joins reads the state first, and then hears each change once and in order', async (t) => {
  const { server, client, errors } = start(t);
  const { room, heard, resyncs } = join(client);
  assert.equal(client.join(ROOM), room, 'it is joined once');
  const socket = await server.next();
  socket.welcome();
  const asked = await socket.ok('SUBSCRIBE', { channelId: ROOM, seq: 4, revision: 7 });
  assert.deepEqual({ ...asked, ref: 0 }, { type: 'SUBSCRIBE', channelId: ROOM, ref: 0 });
  for (const revision of [8, 8, 7, 10]) socket.say(message(revision));
  socket.say({ type: 'MESSAGE_EDITED', channelId: ROOM, seq: 1, revision: 11 });
  socket.say({ type: 'READ_MARKER', channelId: ROOM, userId: 'u', lastReadSeq: 3 });
  await handled(socket, client);
  assert.deepEqual(resyncs, [{ reason: 'new', fromSeq: 4, revision: 7 }]);
  assert.deepEqual(heard, [8, 10, 11, 'READ_MARKER']);
  assert.deepEqual([room.seq, room.revision, room.state], [10, 11, 'live']);
  assert.deepEqual(errors, []);
});

test('after a reconnect, or in another life, it asks for what follows the last change that was handled', async (t) => {
  const storage = memoryStorage();
  const first = start(t, { storage });
  const { heard, resyncs, states } = join(first.client);
  let socket = await first.server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 4, revision: 7 });
  socket.say(message(8));
  await handled(socket, first.client);
  socket.end(1006);

  socket = await first.server.next();
  socket.welcome();
  assert.equal((await socket.asked('SUBSCRIBE')).revision, 8);
  socket.say(message(9));
  await socket.ok('SUBSCRIBE', { seq: 9, revision: 12 });
  socket.say(message(13));
  await handled(socket, first.client);
  assert.deepEqual(heard, [8, 9, 13]);
  assert.equal(resyncs.length, 1, 'the state is read once');
  assert.deepEqual(states.map(({ state }) => state), ['joining', 'live', 'waiting', 'joining', 'live']);
  await first.client.close();

  const second = start(t, { storage });
  second.client.join(ROOM);
  socket = await second.server.next();
  socket.welcome();
  assert.equal((await socket.asked('SUBSCRIBE')).revision, 13);
});

test('who knows messages but no revision asks by the last of them', async (t) => {
  const { server, client } = start(t);
  const { room, heard, resyncs } = join(client, { since: 17 });
  const socket = await server.next();
  socket.welcome();
  assert.equal((await socket.asked('SUBSCRIBE')).since, 17);
  socket.say(message(40, { seq: 18 }));
  const live = until(room, 'live');
  await socket.ok('SUBSCRIBE', { seq: 18, revision: 44 });
  await live;
  assert.deepEqual([heard, resyncs], [[40], []]);
  assert.deepEqual([room.seq, room.revision], [18, 44]);
});

test('what is too much to be told is read by the app, at the beginning or later', async (t) => {
  const { server, client } = start(t);
  const { room, heard, resyncs } = join(client, { revision: 5 });
  const socket = await server.next();
  socket.welcome();
  await socket.asked('SUBSCRIBE');
  socket.say({ type: 'ROOM_RESYNC', channelId: ROOM, reason: 'ahead_of_server', fromSeq: 1, revision: 2 });
  await socket.ok('SUBSCRIBE', { seq: 1, revision: 2 });
  socket.say(message(3));
  socket.say({ type: 'ROOM_RESYNC', channelId: ROOM, reason: 'too_far_behind', fromSeq: 1_900, revision: 2_000 });
  socket.say(message(2_001));
  await handled(socket, client);
  assert.deepEqual(resyncs, [
    { reason: 'ahead_of_server', fromSeq: 1, revision: 2 },
    { reason: 'too_far_behind', fromSeq: 1_900, revision: 2_000 },
  ]);
  assert.deepEqual(heard, [3, 2_001]);
  assert.equal(room.revision, 2_001);
});

test('numbers of another past are not asked for', async (t) => {
  const { server, client } = start(t);
  const { resyncs } = join(client);
  let socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 4, revision: 7 });
  await handled(socket, client);
  socket.end(1012, 'Service restart');

  socket = await server.next();
  socket.welcome({ epoch: 'another' });
  const asked = await socket.ok('SUBSCRIBE', { seq: 3, revision: 7 });
  assert.equal(asked.revision, undefined);
  await handled(socket, client);
  assert.deepEqual(resyncs.at(-1), { reason: 'another_past', fromSeq: 3, revision: 7 });
});

test('a handler that fails gets its change again, on the next connection', async (t) => {
  const { server, client, errors } = start(t);
  const { room, heard } = join(client, { revision: 1 });
  let times = 0;
  room.on('MESSAGE_CREATED', () => {
    times += 1;
    if (times === 1) throw new Error('no');
  });
  let socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 1, revision: 1 });
  socket.say(message(2));
  socket.say(message(3));
  await socket.closed();
  assert.equal(room.revision, 1);

  socket = await server.next();
  socket.welcome();
  assert.equal((await socket.asked('SUBSCRIBE')).revision, 1);
  socket.say(message(2));
  await socket.ok('SUBSCRIBE', { seq: 2, revision: 2 });
  await handled(socket, client);
  assert.deepEqual([times, heard], [2, [2]]);
  assert.deepEqual(errors, ['no']);
});

test('a server that cannot answer an app now does not stop its client', async (t) => {
  const get = async () => new Response('{"error":"unavailable","title":"Later"}', { status: 503 });
  const { server, client, states } = start(t, { handlerAttemptsMax: 2, fetch: get });
  const room = client.join(ROOM);
  room.on('resync', () => room.pages().next());
  for (let connection = 1; connection <= 4; connection += 1) {
    const socket = await server.next();
    socket.welcome();
    await socket.ok('SUBSCRIBE', { seq: 1, revision: 1 });
    await socket.closed();
  }
  assert.ok(!states.some(({ state }) => state === 'stopped'));
});

test('the end of a subscription is told, and nothing is heard after it', async (t) => {
  const { server, client } = start(t);
  const { room, heard } = join(client, { revision: 1 });
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 1, revision: 1 });
  const waiting = room.send('too late');
  await socket.asked('SEND');
  const ended = until(room, 'ended');
  socket.say({ type: 'UNSUBSCRIBED', channelId: ROOM, reason: 'removed' });
  assert.deepEqual(await ended, { state: 'ended', reason: 'removed' });
  await assert.rejects(waiting, { code: 'removed' });
  await assert.rejects(room.send('later still'), { code: 'removed' });
  socket.say(message(2));
  await handled(socket, client);
  assert.deepEqual(heard, []);

  // Taken in again: another room object, and nothing of the first subscription reaches it.
  const again = join(client, { revision: 1 });
  assert.notEqual(again.room, room);
  socket.say(message(3));
  await socket.ok('UNSUBSCRIBE');
  socket.say(message(2));
  await socket.ok('SUBSCRIBE', { seq: 2, revision: 2 });
  await handled(socket, client);
  assert.deepEqual(again.heard, [2]);
});

test('a refusal that passes is tried again, and any other ends it', async (t) => {
  const { server, client } = start(t);
  const { room } = join(client, { revision: 1 });
  const socket = await server.next();
  socket.welcome();
  await socket.refuse('SUBSCRIBE', 'unavailable', { retryAfterMs: 1 });
  await socket.ok('UNSUBSCRIBE');
  const ended = until(room, 'ended');
  await socket.refuse('SUBSCRIBE', 'forbidden');
  assert.deepEqual(await ended, { state: 'ended', reason: 'forbidden' });
});

test('who leaves says so, and hears nothing more', async (t) => {
  const { server, client } = start(t);
  const { room, heard } = join(client, { revision: 1 });
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 1, revision: 1 });
  await handled(socket, client);
  room.leave();
  socket.say(message(2));
  await socket.ok('UNSUBSCRIBE');
  await handled(socket, client);
  assert.deepEqual([heard, room.state], [[], 'ended']);
});

test("the user's own removal is an event of the user's, although it names a room that was joined", async (t) => {
  const { server, client, seen } = start(t);
  const { heard } = join(client, { revision: 1 });
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 1, revision: 1 });
  socket.say(event(1, { type: 'MEMBER_REMOVED', channelId: ROOM }));
  socket.say({ type: 'MEMBER_REMOVED', channelId: ROOM, userId: 'other' });
  await socket.acked(1);
  await handled(socket, client);
  assert.deepEqual(heard, ['MEMBER_REMOVED']);
  assert.equal(seen[0], 1);
});

test('a hundred rooms are joined no faster than the server takes it', async (t) => {
  const { server, client } = start(t);
  for (let room = 0; room < 100; room += 1) client.join(`room ${room}`);
  const socket = await server.next();
  socket.welcome({ limits: { messagesPerSecond: 2_000, messagesBurst: 60 } });
  const subscriptions = () => socket.sent.filter(({ type }) => type === 'SUBSCRIBE').length;
  await socket.asked('SUBSCRIBE');
  await handled(socket, client);
  assert.equal(subscriptions(), 16, 'so many commands may wait for their answers');
  for (let answered = 0; answered < 100; answered += 1) {
    await socket.ok('SUBSCRIBE', { seq: 0, revision: 0 });
    assert.ok(subscriptions() <= answered + 17);
  }
  assert.equal(subscriptions(), 100);
});

test('pages are read from the newest backwards, or forwards from a message', async (t) => {
  const asked = [];
  const get = async (url, { headers }) => {
    asked.push([`${url}`, headers.authorization]);
    if (headers.authorization === 'Bearer connect') return new Response('{}', { status: 401 });
    const isLast = url.searchParams.has('before') || url.searchParams.get('after') === 'm2';
    return Response.json({ items: [{ id: 'm' }], next: isLast ? null : 'm2' });
  };
  const { client } = start(t, { url: 'wss://fanlight.test/api/v1/ws', getToken: ({ reason }) => reason, fetch: get });
  const room = client.join(ROOM);
  const read = async (options) => {
    const items = [];
    for await (const page of room.pages(options)) items.push(...page);
    return items.length;
  };
  assert.equal(await read({ limit: 20 }), 2);
  const url = 'https://fanlight.test/api/v1/messages/channels/c1?limit=20';
  assert.deepEqual(asked.slice(0, 2), [[url, 'Bearer connect'], [url, 'Bearer rejected']]);
  assert.match(asked[2][0], /\?before=m2&limit=20$/);
  asked.length = 0;
  assert.equal(await read({ after: 'm1' }), 2);
  assert.deepEqual(asked.map(([it]) => new URL(it).search), ['?after=m1', '?after=m1', '?after=m2', '?after=m2']);
});
