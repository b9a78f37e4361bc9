// The decisions, without a connection.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { boundMs, delayMs } from '../backoff.js';
import { adviceFor, CLOSINGS, nextStep } from '../closing.js';
import { Position } from '../position.js';
import { webStorage } from '../storage.js';
import { lifeMs, renewAfterMs } from '../token.js';

test('waits are anywhere below a bound that doubles to a minute', () => {
  assert.deepEqual([0, 1, 2, 6, 7, 2_000].map((attempt) => boundMs(attempt)), [
    500, 1_000, 2_000, 32_000, 60_000, 60_000,
  ]);
  assert.equal(delayMs(3, { random: () => 0 }), 0);
  assert.equal(delayMs(3, { random: () => 0.999999 }), 3_999);
  const waits = new Set(Array.from({ length: 100 }, () => delayMs(5)));
  assert.ok(waits.size > 50, 'they differ');
});

test('each row of the table is found by its code and reason', () => {
  assert.ok(CLOSINGS.length >= 20);
  for (const { code, reason, advice } of CLOSINGS) assert.equal(adviceFor(code, reason), advice, `${code} ${reason}`);
});

test('a code that means several things is told apart by its reason, and what is unknown is tried ever more slowly', () => {
  assert.equal(adviceFor(1008, 'Invalid JWT token'), 'stop');
  assert.equal(adviceFor(1008, 'Too many connections'), 'back_off');
  assert.equal(adviceFor(1008, 'of a later server'), 'back_off');
  assert.equal(adviceFor(4003, 'in other words'), 'stop');
  assert.equal(adviceFor(1012), 'resume');
  for (const code of [1005, 1006, 1014, 4999]) assert.equal(adviceFor(code), 'back_off', `${code}`);
});

test('the next step follows the advice, the hint and Retry-After', () => {
  const delay = (attempt) => 100 * 2 ** attempt;
  const wait = (end) => nextStep({ attempt: 0, ...end }, delay).waitMs;
  assert.equal(wait({ code: 4003 }), null);
  assert.equal(wait({ code: 1012 }), 100);
  assert.equal(wait({ code: 1012, hintMs: 777 }), 777);
  assert.equal(wait({ code: 1012, hintMs: 0 }), 0);
  assert.equal(wait({ code: 1012, hintMs: 777, attempt: 3 }), 800, 'who cannot stay is in trouble');
  assert.equal(wait({ code: 1013 }), 200, 'who should back off waits longer than who may resume');
  assert.equal(wait({ code: 4010 }), 100);
  assert.equal(wait({ code: 1006, retryAfterMs: 3_000 }), 3_200, 'not before, and not all at once');
});

test('what was seen is dropped, and a hole in a resumed sequence is found', () => {
  const position = new Position({ seq: 5, epoch: 'a' });
  assert.deepEqual(position.query(), { since: '5', epoch: 'a' });
  position.welcome({ seq: 9, epoch: 'a' });
  assert.deepEqual([4, 5, 6, 7].map((seq) => position.place(seq)), ['seen', 'seen', 'next', 'gap']);
  position.take(position.after(6));
  assert.equal(position.place(7), 'next');
});

test('who begins without a position gets what is not settled, and stands at the end of it', () => {
  const position = new Position(null);
  assert.deepEqual(position.query(), {});
  position.welcome({ seq: 9, epoch: 'a' });
  assert.equal(position.place(3), 'next');
  position.take(position.after(3));
  assert.equal(position.place(7), 'next', 'those in between are settled');
  position.resync(position.afterReplay());
  assert.deepEqual(position.query(), { since: '9', epoch: 'a' });
  assert.equal(position.place(11), 'gap');
});

test('another epoch is taken only when no RESYNC came', () => {
  const position = new Position({ seq: 5, epoch: 'a' });
  position.welcome({ seq: 9, epoch: 'b' });
  assert.deepEqual(position.query(), { since: '5', epoch: 'a' }, 'a connection that ends now asks again');
  position.resync(position.after(9));
  assert.deepEqual(position.query(), { since: '9', epoch: 'b' });

  const shared = new Position({ seq: 5, epoch: 'a' });
  shared.welcome({ seq: 5, epoch: 'b' });
  assert.deepEqual(shared.afterReplay(), { seq: 5, epoch: 'b' });
});

test('a position that is none is not believed', () => {
  for (const saved of [null, undefined, {}, { seq: -1 }, { seq: 1.5 }, { seq: '7' }, { seq: NaN, epoch: 'a' }]) {
    assert.deepEqual(new Position(saved).query(), {});
  }
  const broken = webStorage('k', { getItem: () => '{', setItem: () => {} });
  assert.equal(broken.load(), null);
});

test('a token is renewed in time, and no clock makes it live longer than it does', () => {
  const token = (claims) => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
  const now = 1_710_930_000_000;
  assert.equal(lifeMs(token({ exp: now / 1000 + 900, iat: now / 1000 }), now), 900_000);
  assert.equal(lifeMs(token({ exp: now / 1000 + 900, iat: now / 1000 }), now - 3_600_000), 900_000);
  assert.equal(lifeMs(token({ exp: now / 1000 - 1 }), now), 0);
  for (const odd of ['', 'opaque', 'a.b.c', token({})]) assert.equal(lifeMs(odd, now), undefined, odd);
  assert.equal(renewAfterMs(900_000, 60_000), 840_000);
  assert.equal(renewAfterMs(30_000, 60_000), 15_000);
});
