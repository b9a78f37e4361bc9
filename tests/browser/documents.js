// /docs and /redoc in Chromium. Run by tests/it/documents.rs:
//
//     node documents.js URL MODULES SCREENSHOTS CHROMIUM
//
// Says what it has seen, line by line; fails with the first thing that is not as it should be.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

import { complaintsOf } from './complaints.js';

const [url, modules, screenshots, executablePath] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)('playwright-core');

/** Generous: the machine may be busy with other tests. */
const PATIENCE_MS = 60_000;

const document = await (await fetch(`${url}/openapi.json`)).json();
const operations = Object.values(document.paths).flatMap((path) => Object.values(path).map((it) => it.operationId));

/** Opens a page, looks at it, and fails if anything in the console or from another server. */
async function look(browser, path, inspect) {
  const page = await browser.newPage({ viewport: { width: 1440, height: 1040 } });
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = complaintsOf(page, url, /^(data|blob):/);
  await page.goto(`${url}${path}`);
  await inspect(page);
  await page.screenshot({ path: `${screenshots}${path}.png` });
  assert.deepEqual(complaints, []);
  await page.close();
  console.log(`ok ${path} shows ${operations.length} operations, without a complaint or another server`);
}

async function swagger(page) {
  await page.locator('.opblock').nth(operations.length - 1).waitFor();
  assert.equal(await page.locator('.opblock').count(), operations.length);
  const health = page.locator('.opblock', { hasText: '/health' });
  await health.locator('.opblock-summary').click();
  await health.getByRole('button', { name: 'Try it out' }).click();
  await health.getByRole('button', { name: 'Execute' }).click();
  await health.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();
  console.log('ok a request that was tried out there is answered');
}

async function redoc(page) {
  await page.locator('[data-section-id*="operation/"]').nth(operations.length - 1).waitFor();
  const shown = await page
    .locator('[data-section-id*="operation/"]')
    .evaluateAll((sections) => sections.map((it) => it.dataset.sectionId.split('operation/')[1]));
  assert.deepEqual([...new Set(shown)].sort(), [...operations].sort());
}

const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
try {
  assert.ok(operations.length > 20);
  await look(browser, '/docs', swagger);
  await look(browser, '/redoc', redoc);
} finally {
  await browser.close();
}
