// The client against a server that the test plays.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { connect, memoryStorage } from '../index.js';
import { event, start, URL_ } from './fake_server.js';

function stopped(client) {
  return new Promise((resolve) => client.on('state', (it) => it.state === 'stopped' && resolve(it)));
}

test('an event is acknowledged when its handler is done and its place is stored', async (t) => {
  let finish;
  const steps = [];
  const storage = { load: () => null, save: ({ seq }) => void steps.push(`stored ${seq}`) };
  const { server, client } = start(t, { storage });
  const begun = new Promise((resolve) => {
    client.on('PARTNER_STATUS_CHANGED', async () => {
      steps.push('handled');
      resolve();
      await new Promise((done) => (finish = done));
    });
  });
  const socket = await server.next();
  socket.welcome();
  socket.say(event(1));
  await begun;
  assert.ok(!socket.sent.some(({ type }) => type === 'ACK'));
  finish();
  await socket.acked(1);
  assert.deepEqual(steps, ['handled', 'stored 1']);
  assert.deepEqual({ seq: client.seq, epoch: client.epoch }, { seq: 1, epoch: 'e' });
});

test("a room's message is nobody's own: its place in the room is not taken for one of the user's", async (t) => {
  const { server, client, errors } = start(t);
  const heard = [];
  client.on('MESSAGE_CREATED', ({ seq }) => heard.push(seq));
  const socket = await server.next();
  socket.welcome();
  socket.say(event(1));
  socket.say({ type: 'MESSAGE_CREATED', channelId: 'c', seq: 41, revision: 58, timestamp: 1 });
  socket.say(event(2));
  await socket.acked(2);
  assert.deepEqual(heard, [41]);
  assert.deepEqual(errors, []);
  assert.equal(client.seq, 2);
  assert.ok(!socket.sent.some(({ type, seq }) => type === 'ACK' && seq === 41), 'only what is its own is acknowledged');
});

test('what was seen is seen once, over connections and lives of the client', async (t) => {
  const storage = memoryStorage();
  const first = start(t, { storage });
  let socket = await first.server.next();
  assert.equal(socket.url.searchParams.get('since'), null);
  socket.welcome({ seq: 2 });
  socket.say(event(1));
  socket.say(event(2));
  await socket.acked(2);
  socket.end(1012, 'Service restart');

  socket = await first.server.next();
  assert.equal(socket.url.searchParams.get('since'), '2');
  assert.equal(socket.url.searchParams.get('epoch'), 'e');
  socket.welcome({ seq: 3 });
  socket.say(event(2));
  socket.say(event(3));
  await socket.acked(3);
  assert.deepEqual(first.seen, [1, 2, 3]);
  await first.client.close();

  const second = start(t, { storage });
  socket = await second.server.next();
  assert.equal(socket.url.searchParams.get('since'), '3');
});

test('who begins anew stands at the end of what was not settled', async (t) => {
  const { server, client, seen } = start(t);
  let socket = await server.next();
  socket.welcome({ seq: 9 });
  const current = new Promise((resolve) => client.on('current', resolve));
  socket.say(event(4));
  socket.replayed();
  assert.deepEqual(await current, { seq: 9 });
  assert.deepEqual(seen, [4]);
  socket.end(1006);
  socket = await server.next();
  assert.equal(socket.url.searchParams.get('since'), '9');
});

test('a handler that fails gets its event again, and at last the client stops rather than skip it', async (t) => {
  const { server, client, errors } = start(t, { handlerAttemptsMax: 3 });
  let times = 0;
  client.on('PARTNER_STATUS_CHANGED', () => {
    times += 1;
    throw new Error('no');
  });
  const end = stopped(client);
  for (let connection = 1; connection <= 3; connection += 1) {
    const socket = await server.next();
    socket.welcome({ seq: 1 });
    socket.say(event(1));
    await socket.closed();
    assert.ok(!socket.sent.some(({ type }) => type === 'ACK'));
  }
  assert.match((await end).reason, /failed 3 times for seq 1/);
  assert.equal(times, 3);
  assert.equal(client.seq, null);
  assert.deepEqual(errors, ['no', 'no', 'no']);
});

test('a handler that hangs is told so, and its event comes again', async (t) => {
  const { server, client } = start(t, { handlerTimeoutMs: 20 });
  let aborted = 0;
  let times = 0;
  client.on('PARTNER_STATUS_CHANGED', (_, { signal }) => {
    times += 1;
    if (times > 1) return undefined;
    signal.onabort = () => (aborted += 1);
    return new Promise(() => {});
  });
  let socket = await server.next();
  socket.welcome({ seq: 1 });
  socket.say(event(1));
  await socket.closed();
  socket = await server.next();
  socket.welcome({ seq: 1 });
  socket.say(event(1));
  await socket.acked(1);
  assert.deepEqual([times, aborted], [2, 1]);
});

test('RESYNC is told, and events go on after it', async (t) => {
  const { server, client, seen } = start(t, { since: 2, epoch: 'old' });
  const told = [];
  client.on('resync', (resync) => void told.push(resync));
  let socket = await server.next();
  assert.equal(socket.url.search, '?since=2&epoch=old');
  socket.welcome({ seq: 900 });
  socket.say({ type: 'RESYNC', reason: 'too_far_behind', fromSeq: 900 });
  socket.say(event(901));
  await socket.acked(901);
  assert.deepEqual(told, [{ reason: 'too_far_behind', fromSeq: 900 }]);
  assert.deepEqual(seen, [901]);
  socket.end(1006);
  socket = await server.next();
  assert.equal(socket.url.search, '?since=901&epoch=e');
});

test('a hole in the sequence is not passed over', async (t) => {
  const { server, seen } = start(t, { since: 2 });
  let socket = await server.next();
  socket.welcome({ seq: 2 });
  socket.say(event(4));
  await socket.closed();
  socket = await server.next();
  assert.equal(socket.url.searchParams.get('since'), '2');
  assert.deepEqual(seen, []);
});

test('more than may wait ends the connection, and comes again', async (t) => {
  const { server, client, states } = start(t, { queueMax: 3, since: 0 });
  let release;
  client.on('PARTNER_STATUS_CHANGED', () => new Promise((resolve) => (release ??= resolve)));
  const socket = await server.next();
  socket.welcome({ seq: 9 });
  for (let seq = 1; seq <= 9; seq += 1) socket.say(event(seq));
  await socket.closed();
  assert.equal(server.count, 1, 'what is being handled is finished first');
  release();
  const again = await server.next();
  assert.equal(again.url.searchParams.get('since'), '1');
  assert.equal(states.find(({ state }) => state === 'waiting').code, 4009);
});

test('it stops where the table says so, and where there is no other token', async (t) => {
  for (const [code, reason] of [
    [4003, 'Session revoked'],
    [4005, 'Replaced by a newer connection of this device'],
    [1008, 'Invalid JWT token'],
    [4010, 'Token expired'],
  ]) {
    const { server, client } = start(t);
    const end = stopped(client);
    (await server.next()).end(code, reason);
    assert.deepEqual(await end, { state: 'stopped', code, reason });
    assert.equal(server.count, 1);
  }
});

test('an expired token is refreshed, a refused one once', async (t) => {
  const reasons = [];
  const getToken = ({ reason }) => `${reason}-${reasons.push(reason)}`;
  const { server, client } = start(t, { getToken });
  let socket = await server.next();
  assert.equal(socket.token, 'connect-1');
  socket.welcome();
  socket.end(4010, 'Token expired');
  socket = await server.next();
  assert.equal(socket.token, 'expired-2');
  socket.welcome();
  socket.end(1006);
  socket = await server.next();
  assert.equal(socket.token, 'connect-3');
  socket.end(1008, 'Invalid JWT token');
  socket = await server.next();
  assert.equal(socket.token, 'rejected-4');
  const end = stopped(client);
  socket.end(1008, 'Invalid JWT token');
  assert.equal((await end).code, 1008);
});

test('a token that was refused is not shown twice', async (t) => {
  const { server, client } = start(t, { getToken: () => 'the only one' });
  const end = stopped(client);
  (await server.next()).end(1008, 'Invalid JWT token');
  assert.equal((await end).code, 1008);
  assert.equal(server.count, 1);
});

test('a token service that is away is asked again', async (t) => {
  let times = 0;
  const getToken = () => {
    times += 1;
    if (times < 3) throw Object.assign(new Error('503'), { retryAfterMs: 1 });
    return 't';
  };
  const { server, errors } = start(t, { getToken });
  await server.next();
  assert.deepEqual(errors, ['503', '503']);
});

test('the token is renewed in band before it ends', async (t) => {
  const soon = (name) => {
    const now = Date.now() / 1000;
    return `h.${Buffer.from(JSON.stringify({ name, iat: now, exp: now + 900 })).toString('base64url')}.s`;
  };
  const getToken = ({ reason }) => soon(reason);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  // Half of its life is the earliest: not at once, and over and over.
  const { server } = start(t, { getToken, renewBeforeMs: 899_990 });
  const socket = await server.next();
  socket.welcome();
  t.mock.timers.tick(449_000);
  await new Promise(setImmediate);
  assert.ok(!socket.sent.some(({ type }) => type === 'AUTH'));
  // The probe is not answered here; what was said keeps the connection alive.
  socket.say({ type: 'PONG' });
  t.mock.timers.tick(2_000);
  const auth = await socket.until(({ sent }) => sent.find(({ type }) => type === 'AUTH'));
  assert.match(atob(auth.token.split('.')[1]), /renew/);
  t.mock.timers.reset();
});

test('a server that says nothing any more is left, and one that answers is not', async (t) => {
  const { server, states } = start(t, { pongTimeoutMs: 60, since: 7 });
  const socket = await server.next();
  socket.welcome({ seq: 7, heartbeatMs: 20 });
  socket.replayed();
  let pings = 0;
  while (pings < 3) {
    const before = socket.sent.length;
    await socket.until(({ sent }) => sent.length > before);
    socket.say({ type: 'PONG' });
    pings += 1;
  }
  assert.equal(server.count, 1);
  const next = await server.next();
  assert.equal(next.url.searchParams.get('since'), '7');
  assert.equal(states.find(({ state }) => state === 'waiting').code, 4002);
});

test('a hint to come back later is taken', async (t) => {
  const { server, states } = start(t);
  const socket = await server.next();
  socket.welcome();
  socket.say({ type: 'DRAINING', reconnectAfterMs: 3 });
  socket.end(1012, 'Service restart');
  await server.next();
  assert.equal(states.find(({ state }) => state === 'waiting').waitMs, 3);
});

test('what it does not understand changes nothing', async (t) => {
  const { server, client, errors } = start(t);
  const socket = await server.next();
  socket.welcome();
  for (const odd of ['', 'null', '[]', '{}', '{"type":1}', '{"type":"LATER","x":1}', '{"type":"OK"}']) socket.say(odd);
  socket.say({ type: 'ERROR', code: 'unknown_command', message: 'm' });
  socket.say(event(1));
  await socket.acked(1);
  assert.equal(client.state, 'open');
  assert.deepEqual(errors, ['the server refuses a command: unknown_command: m']);
});

test('a server that accepts and says nothing is given up', async (t) => {
  const { server, states } = start(t, { connectTimeoutMs: 10 });
  await server.next();
  await server.next();
  assert.equal(states.find(({ state }) => state === 'waiting').advice, 'back_off');
});

test('closing is orderly, and for good', async (t) => {
  const { server, client, states } = start(t);
  const socket = await server.next();
  socket.welcome();
  await client.close();
  assert.equal(socket.closedWith, 1000);
  assert.equal(client.state, 'stopped');
  assert.deepEqual(states.at(-1), { state: 'stopped', code: 1000, reason: '' });
});

test('what cannot work is refused at once', () => {
  for (const options of [{}, { url: 'nonsense', token: 't' }, { url: URL_ }, { url: URL_, token: 't', getToken: () => 't' }]) {
    assert.throws(() => connect({ WebSocket: class {}, ...options }), TypeError);
  }
});
