// What a client says in rooms and of itself, against a server that the test plays.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { start } from './fake_server.js';

const ROOM = 'c1';

function sends(socket) {
  return socket.sent.filter(({ type }) => type === 'SEND').map(({ content }) => content);
}

test('messages are said one after the other, and again on the next connection until they are answered', async (t) => {
  const { server, client } = start(t);
  const room = client.join(ROOM);
  const first = room.send('one', { clientId: 'mine', parentId: 'p', attachments: ['u'] });
  const second = room.send('two');
  let socket = await server.next();
  socket.welcome();
  const asked = await socket.asked('SEND');
  const fields = { type: 'SEND', channelId: ROOM, content: 'one', clientId: 'mine', parentId: 'p', attachments: ['u'] };
  assert.deepEqual(asked, { ...fields, ref: asked.ref });
  socket.end(1006);

  socket = await server.next();
  socket.welcome();
  assert.deepEqual(await socket.asked('SEND'), { ...fields, ref: (await socket.asked('SEND')).ref });
  assert.deepEqual(sends(socket), ['one'], 'the second waits for the first');
  await socket.ok('SEND', { messageId: 'm1', seq: 1, createdAt: 'then' });
  assert.deepEqual(await first, { messageId: 'm1', seq: 1, createdAt: 'then' });
  const { clientId } = await socket.ok('SEND', { messageId: 'm2', seq: 2, createdAt: 'then' });
  assert.match(clientId, /^[0-9a-f]{32}$/);
  assert.equal((await second).seq, 2);
});

test('a handler may wait for the answer to what it says', async (t) => {
  const { server, client } = start(t);
  const room = client.join(ROOM, { revision: 0 });
  const answered = new Promise((resolve) => {
    room.on('MESSAGE_CREATED', async () => resolve(await room.send('echo')));
  });
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 0, revision: 0 });
  socket.say({ type: 'MESSAGE_CREATED', channelId: ROOM, seq: 1, revision: 1 });
  await socket.ok('SEND', { messageId: 'm2', seq: 2 });
  assert.equal((await answered).seq, 2);
});

test('a client that is closed does not wait for a handler that waits for an answer', async (t) => {
  const { server, client } = start(t);
  const room = client.join(ROOM, { revision: 0 });
  room.on('MESSAGE_CREATED', () => room.send('never answered'));
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SUBSCRIBE', { seq: 0, revision: 0 });
  socket.say({ type: 'MESSAGE_CREATED', channelId: ROOM, seq: 1, revision: 1 });
  await socket.asked('SEND');
  await client.close();
});

test('a server that does not answer is left', async (t) => {
  const { server, client, states } = start(t, { answerTimeoutMs: 10 });
  const sent = client.join(ROOM).send('hello');
  (await server.next()).welcome();
  const socket = await server.next();
  socket.welcome();
  await socket.ok('SEND', { messageId: 'm1', seq: 1 });
  assert.equal((await sent).seq, 1);
  assert.equal(states.find(({ state }) => state === 'waiting').code, 4002);
});

test('a refused message is given back with the code, and one that may pass is said again', async (t) => {
  const { server, client } = start(t);
  const room = client.join(ROOM);
  const [limited, refused] = [room.send('limited'), room.send('refused')];
  const socket = await server.next();
  socket.welcome();
  const asked = performance.now();
  await socket.refuse('SEND', 'rate_limited', { retryAfterMs: 30 });
  await socket.ok('SEND', { messageId: 'm1', seq: 1 });
  assert.ok(performance.now() - asked >= 29, 'not before it may');
  assert.equal((await limited).seq, 1);
  await socket.refuse('SEND', 'conflict');
  await assert.rejects(refused, { name: 'FanlightError', code: 'conflict', message: 'conflict: no' });
  assert.deepEqual(sends(socket), ['limited', 'limited', 'refused']);
});

test('an answer that comes after its message was given up does not disturb the next', async (t) => {
  const { server, client } = start(t, { sendTimeoutMs: 50, backoff: { firstMs: 1, maxMs: 1 } });
  const room = client.join(ROOM);
  const late = room.send('late');
  const socket = await server.next();
  socket.welcome();
  await socket.asked('SEND');
  await assert.rejects(late, { code: 'timeout' });
  const next = room.send('next');
  await socket.until(({ sent }) => sent.some(({ content }) => content === 'next'));
  await socket.refuse('SEND', 'unavailable');
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(sends(socket), ['late', 'next'], 'it is under way, and not said again');
  await socket.ok('SEND', { messageId: 'm2', seq: 2 });
  assert.equal((await next).seq, 2);
});

test('what waits is bounded in number and time, and ends with the client', async (t) => {
  const { server, client } = start(t, { sendQueueMax: 2, sendTimeoutMs: 20 });
  const room = client.join(ROOM);
  const late = room.send('late');
  const later = assert.rejects(room.send('later'), { code: 'timeout' });
  await assert.rejects(room.send('too much'), { code: 'queue_full' });
  await assert.rejects(late, { code: 'timeout' });
  await later;
  const last = assert.rejects(room.send('last'), { code: 'stopped' });
  await server.next();
  await client.close();
  await last;
  assert.equal(client.join('another').state, 'ended');
});

test('typing is said at most every three seconds, and its end at once', async (t) => {
  let now = 100_000;
  t.mock.method(performance, 'now', () => now);
  const { server, client } = start(t);
  const room = client.join(ROOM, { revision: 0 });
  const socket = await server.next();
  socket.welcome();
  const live = new Promise((resolve) => room.on('state', ({ state }) => state === 'live' && resolve()));
  await socket.ok('SUBSCRIBE', { seq: 0, revision: 0 });
  await live;
  const said = () => socket.sent.filter(({ type }) => type === 'TYPING').map(({ isTyping }) => isTyping);
  room.typing(false);
  for (let key = 0; key < 70; key += 1) {
    room.typing(true);
    now += 100;
  }
  assert.deepEqual(said(), [true, true, true]);
  room.typing(false);
  room.typing(false);
  assert.deepEqual(said(), [true, true, true, false]);
  room.typing(true);
  room.send('done').catch(() => {});
  assert.deepEqual(said().slice(4), [true, false], 'who has sent it types no more');
  assert.equal(socket.sent.find(({ type }) => type === 'TYPING').ref, undefined);
});

test('who types is known until they end, or nothing was heard of it for ten seconds', async (t) => {
  const { server, client } = start(t);
  const room = client.join(ROOM, { revision: 0 });
  const typists = [];
  room.on('typing', (userIds) => typists.push(userIds));
  const socket = await server.next();
  socket.welcome();
  const live = new Promise((resolve) => room.on('state', ({ state }) => state === 'live' && resolve()));
  await socket.ok('SUBSCRIBE', { seq: 0, revision: 0 });
  await live;
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const say = async (userId, isTyping) => {
    socket.say({ type: 'TYPING', channelId: ROOM, userId, isTyping });
    await new Promise(setImmediate);
  };
  await say('ada', true);
  await say('ben', true);
  t.mock.timers.tick(9_000);
  await say('ada', true);
  await say('ben', false);
  t.mock.timers.tick(9_000);
  assert.deepEqual(typists, [['ada'], ['ada', 'ben'], ['ada']]);
  t.mock.timers.tick(1_000);
  assert.deepEqual(typists.at(-1), []);
  t.mock.timers.reset();
});

test('whom it watches, what it shows and that it is away is said again on each connection', async (t) => {
  const { server, client } = start(t);
  const told = [];
  client.on('presence', ({ userId, status, lastSeen }) => told.push(`${userId} ${status} ${lastSeen}`));
  let socket = await server.next();
  socket.welcome();
  client.watch(['ada', 'ben', 'ada']);
  client.view(ROOM);
  client.setPresence('away');
  const ada = { userId: 'ada', status: 'online', lastSeen: null };
  const ben = { userId: 'ben', status: 'offline', lastSeen: 1_710_930_000_000 };
  assert.deepEqual((await socket.ok('WATCH', { presence: [ada, ben] })).userIds, ['ada', 'ben']);
  assert.equal((await socket.ok('VIEW')).channelId, ROOM);
  assert.equal((await socket.ok('PRESENCE')).status, 'away');
  socket.say({ type: 'PRESENCE_CHANGED', ...ada, status: 'away', timestamp: 1 });
  socket.say({ type: 'PRESENCE_CHANGED', userId: 'stranger', status: 'online', timestamp: 1 });
  socket.end(1006);

  socket = await server.next();
  socket.welcome();
  await socket.refuse('WATCH', 'unavailable', { retryAfterMs: 1 });
  await socket.ok('VIEW');
  await socket.ok('PRESENCE');
  await socket.ok('WATCH', { presence: [{ ...ada, status: 'away' }, { ...ben, status: 'online', lastSeen: null }] });
  assert.deepEqual(told, ['ada online null', 'ben offline 1710930000000', 'ada away null', 'ben online null']);

  client.watch([]);
  client.view(null);
  client.setPresence('online');
  assert.equal((await socket.ok('VIEW')).channelId, null);
  assert.deepEqual((await socket.ok('WATCH', { presence: [] })).userIds, []);
  await socket.ok('PRESENCE');
  socket.end(1006);
  socket = await server.next();
  socket.welcome();
  client.join(ROOM);
  await socket.asked('SUBSCRIBE');
  assert.ok(!socket.sent.some(({ type }) => ['WATCH', 'VIEW', 'PRESENCE'].includes(type)));
});
