// The page of `fanlight dev` in Chromium, as a person uses it. Run by tests/it/page.rs:
//
//     node page.js URL MODULES SCREENSHOTS CHROMIUM
//
// Says what it has done, line by line; fails with the first thing that does not come true.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { complaintsOf } from './complaints.js';

const [url, modules, screenshots, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)('playwright-core');

/** Generous: the machine may be busy with other tests. */
const PATIENCE_MS = 60_000;

async function main(browser) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1040 }, colorScheme: 'light' });
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = complaintsOf(page, url);
  await page.goto(url);

  const [ada, ben] = ['ada', 'ben'].map((name) => new Phone(page, name));
  await ada.is('Connected');
  await ben.is('Connected');
  const [adasNode, bensNode] = [await ada.node(), await ben.node()];
  assert.notEqual(adasNode, bensNode, 'they are on different nodes');
  await page.locator(`#node-${adasNode} .chip.ada`).waitFor();
  await page.locator(`#node-${bensNode} .chip.ben`).waitFor();
  step('two phones are connected, at different nodes');

  await ada.press('Unlink');
  await ben.partner('Nobody');
  await ada.press('Show a code');
  const code = await page.locator('#phone-ada .code').textContent();
  await page.getByLabel('Ben: the other one’s code').fill(code.toLowerCase());
  await ben.press('Link');
  await ada.partner('Ben');
  await ben.partner('Ada');
  step('they are linked by a code');

  await ada.writes('Tea in ten minutes?');
  await ben.hears('Tea in ten minutes?');
  await ben.unread(1);
  await ben.looks();
  await ben.unread(0);
  await ada.isRead('Tea in ten minutes?');
  await ben.writes('Yes please');
  await ben.writes('The kettle is on, somewhere in the cluster');
  await ada.hears('The kettle is on, somewhere in the cluster');
  await way(page, 'Ada writes a message', [
    'Committed in Postgres, as number 1 of the channel', `Published once in Redis, by ${adasNode}`,
    `Written to Ben’s phone by ${bensNode}`, `Written to Ada’s phone by ${adasNode}`,
  ]);
  await page.getByRole('button', { name: 'Follow the newest' }).click();
  await ada.types('Then let us hope that nobody kills it');
  await ben.sees('Ada is typing');
  await ben.seesNoMore('is typing');
  await ada.writes('Then let us hope that nobody kills it');
  await ben.hears('Then let us hope that nobody kills it');
  step('what is written on one phone is on the other, and who types is shown and forgotten');

  // The load balancer chooses the node that commits. If it is Ben's own, Redis is not needed: then once more.
  const published = `Published in Redis for ${bensNode}`;
  for (let turn = 0; !(await hasStep(page, published)); turn += 1) {
    assert.ok(turn < 40, 'some change is committed by another node than the one that holds Ben');
    const word = ['Busy', 'Available', 'Offline'][turn % 3];
    await page.getByRole('button', { name: `Ada: ${word}` }).click();
    await ben.partner('Ada', word);
    await way(page, `Ben hears: ${word.toLowerCase()}`, ['Committed', `Written to Ben’s phone by ${bensNode}`, 'confirmed: the phone said ACK']);
  }
  step('a change on one phone is on the other, and the cluster shows its way');

  await page.locator('#phone-ben select').selectOption('1800');
  await page.getByRole('button', { name: 'Ben: Available' }).click();
  await ada.partner('Ben', 'Available');
  await page.locator('#phone-ada .partner .left', { hasText: '30 min left' }).waitFor();
  await page.getByRole('button', { name: 'Ben: Available', pressed: true }).waitFor();
  await page.getByRole('button', { name: 'Ada: Available' }).click();
  await ben.partner('Ada', 'Available');
  await page.getByRole('button', { name: 'Follow the newest' }).click();
  await ada.writes('It is green: come');
  await page.locator('.steps li', { hasText: 'Written to Ben’s phone' }).waitFor();
  await page.locator('.steps li', { hasText: 'of the channel' }).waitFor();
  await page.waitForFunction(() => document.querySelector('.pulse') === null);
  await shot(page, 'page');

  await ben.press('Freeze');
  await ben.is('Out of reach, and nobody knows yet');
  await page.getByRole('button', { name: 'Ada: Busy' }).click();
  await ben.pushed('Ada');
  await way(page, 'Ben hears: busy', [`Written to Ben’s phone by ${bensNode}`, 'Handed to FCM for Ben’s phone', 'pushed: FCM took it']);
  await ben.partner('Ada', 'Available');
  await ben.begins('I am in a tunnel');
  await ada.writes('Ben?');
  await shot(page, 'frozen');
  await ben.press('Thaw');
  await ben.partner('Ada', 'Busy');
  await ben.hears('Ben?');
  await ada.hears('I am in a tunnel');
  step('a frozen phone is pushed, and has the event itself when it thaws');

  for (const phone of [ada, ben]) {
    const victim = await phone.node();
    await page.getByRole('button', { name: `Kill ${victim}` }).click();
    // Before anybody knows: it waits, and is said again elsewhere.
    await phone.begins(`${victim} has left us`);
    await page.locator(`#node-${victim} .status`, { hasText: /down|starting/ }).waitFor();
    await phone.leaves(victim);
    await phone.is('Connected');
    const status = phone === ada ? 'Available' : 'Offline';
    await page.getByRole('button', { name: `Ada: ${status}` }).click();
    await ben.partner('Ada', status);
    await (phone === ada ? ben : ada).hears(`${victim} has left us`);
    if (phone === ada) await shot(page, 'killed');
    await page.locator(`#node-${victim} .status`, { hasText: 'ready' }).waitFor();
  }
  step('killed nodes: both phones came back by themselves');

  const drained = await ada.node();
  await page.getByRole('button', { name: `Drain ${drained}` }).click();
  await ada.leaves(drained);
  await ada.is('Connected');
  await page.locator(`#node-${drained} .status`, { hasText: 'ready' }).waitFor();
  await ben.press('Cut');
  await page.getByRole('button', { name: 'Ada: Busy' }).click();
  await ben.partner('Ada', 'Busy');
  await ada.writes('All well?');
  await ben.hears('All well?');
  step('a drained node sends its phone away, and a cut line is opened again');

  await eachOnce(page);
  const messages = await ada.messages();
  assert.deepEqual(messages, await ben.messages(), 'both phones show the same');
  assert.deepEqual(messages.map(({ seq }) => seq), messages.map((_, index) => String(index + 1)));
  assert.equal(new Set(messages.map(({ content }) => content)).size, messages.length, 'each was written once');
  step('each phone has seen each event and each message once and in order');

  await page.setViewportSize({ width: 1280, height: 800 });
  await page.evaluate(() => scrollTo(0, 0));
  const { y, height } = await page.locator('.phones').boundingBox();
  assert.ok(y + height <= 800, `the phones are in sight as a whole: ${y} + ${height}`);

  await page.getByRole('button', { name: 'Theme: auto' }).focus();
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, 'dark');
  await page.setViewportSize({ width: 390, height: 844 });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, 'a small screen needs no sideways scrolling');
  await shot(page, 'small');
  await namesOfControls(page);

  // Connections were broken on purpose, which the browser may say; everything else is a fault of the page.
  const broken = /^WebSocket |^Failed to load resource: the server responded with a status of 50[234] /;
  const faults = complaints.filter((text) => !broken.test(text));
  assert.deepEqual(faults, []);
  step('no error in the console, and nothing from another server');
}

class Phone {
  #root;

  constructor(page, name) {
    this.#root = page.locator(`#phone-${name}`);
  }

  async is(state) {
    await this.#root.locator('.connection', { hasText: state }).waitFor();
  }

  async node() {
    return this.#root.locator('.badge.at:not(.off)').textContent();
  }

  async leaves(node) {
    await this.#root.locator('.badge.at:not(.off)', { hasNotText: node }).filter({ hasText: 'node-' }).waitFor();
  }

  async press(name) {
    await this.#root.getByRole('button', { name, exact: true }).click();
  }

  async partner(name, status) {
    await this.#root.locator('.partner strong', { hasText: name }).waitFor();
    if (status) await this.#root.locator('.partner .word', { hasText: status }).waitFor();
  }

  /** Writes a message that is told. */
  async writes(content) {
    await this.begins(content);
    await this.hears(content);
  }

  /** Sends a message, and waits for nothing. */
  async begins(content) {
    await this.#input().fill(content);
    await this.#input().press('Enter');
  }

  async types(content) {
    // As a person does: the server tells the others at most every three seconds.
    await this.#input().pressSequentially(content, { delay: 120 });
  }

  async hears(content) {
    await this.#root.locator('.bubble:not(.sending)', { hasText: content }).first().waitFor();
  }

  async isRead(content) {
    await this.#root.locator('.bubble', { hasText: content }).filter({ hasText: 'read' }).waitFor();
  }

  async unread(count) {
    const badge = this.#root.locator('.unread');
    await (count === 0 ? badge.waitFor({ state: 'hidden' }) : badge.filter({ hasText: `${count} unread` }).waitFor());
  }

  async looks() {
    await this.#root.locator('.unread').click();
  }

  async sees(typing) {
    await this.#root.locator('.typing', { hasText: typing }).waitFor();
  }

  async seesNoMore(typing) {
    await this.#root.locator('.typing', { hasText: typing }).waitFor({ state: 'detached' });
  }

  /** All that the channel shows; nothing of it still waits to be sent. */
  async messages() {
    await this.#root.locator('.bubble.sending').waitFor({ state: 'detached' });
    const bubbles = await this.#root.locator('.bubble').all();
    return Promise.all(
      bubbles.map(async (it) => ({ seq: await it.getAttribute('data-seq'), content: await it.locator('.content').textContent() })),
    );
  }

  #input() {
    return this.#root.getByLabel('write a message');
  }

  async pushed(title) {
    await this.#root.locator('.note', { hasText: title }).waitFor();
  }
}

/** Chooses the newest event that says so, and waits until its way has these steps. */
async function way(page, says, steps) {
  await page.locator('.events button', { hasText: says }).first().click();
  for (const text of steps) await page.locator('.steps li', { hasText: text }).first().waitFor();
}

/** Whether the chosen event has this step. */
async function hasStep(page, text) {
  return (await page.locator('.steps li', { hasText: text }).count()) > 0;
}

/** What the phones show of their sequences has no gap and no repetition. */
async function eachOnce(page) {
  for (const name of ['ada', 'ben']) {
    const seqs = await page.locator(`#phone-${name} .log .seq`).allTextContents();
    const numbers = seqs.map((text) => Number(text.slice(1))).reverse();
    assert.ok(numbers.length >= 6, `${name}: ${numbers}`);
    assert.deepEqual(numbers, numbers.map((_, index) => numbers[0] + index), `${name}: ${numbers}`);
  }
}

/** Everything that can be operated says what it is. */
async function namesOfControls(page) {
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll('button, select, input')]
      .filter((it) => !(it.getAttribute('aria-label') || it.textContent.trim()))
      .map((it) => it.outerHTML),
  );
  assert.deepEqual(nameless, []);
}

async function shot(page, name) {
  await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
}

function step(text) {
  console.log(`ok ${text}`);
}

const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
try {
  await main(browser);
} finally {
  await browser.close();
}
