// SPDX-License-Identifier: MIT
//
// Charts of all queues, and of one.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, open, visit} from './chromium.js';
import {findings} from './judge.js';

test('charts', async () => {
  const {page, check} = await open();
  await visit(page, '/charts');
  await page.locator('figure svg path.line').first().waitFor(WAIT);
  const label = await page.locator('figure svg').first().getAttribute('aria-label');
  assert.match(label, /Tasks ended a minute\. succeeded: at most 120/);
  await page.locator('figure details summary').first().click();
  await page.locator('figure').first().getByRole('cell', {name: '120'}).first().waitFor(WAIT);
  if (process.env.TILL_SHOTS) {
    await page.screenshot({path: `${process.env.TILL_SHOTS}/charts-full.png`, fullPage: true});
    await page.setViewportSize({width: 360, height: 800});
    await page.screenshot({path: `${process.env.TILL_SHOTS}/charts-narrow.png`, fullPage: true});
    await page.setViewportSize({width: 1440, height: 900});
  }
  assert.deepEqual(await findings(page), []);
  await page.getByRole('link', {name: 'Last day'}).click();
  await page.waitForURL('**/charts?range=day', WAIT);
  await page.locator('figure svg path.line').first().waitFor(WAIT);

  // One queue: from the list of queues, and chosen among others; the range stays.
  await visit(page, '/queues');
  const mail = page.locator('tbody tr', {has: page.getByRole('link', {name: 'mail', exact: true})});
  await mail.getByText('at most 5 at once, 10/s').waitFor(WAIT);
  await mail.getByRole('link', {name: 'Charts of mail'}).click();
  await page.waitForURL('**/charts?queue=mail', WAIT);
  await page.getByRole('heading', {name: 'Charts of mail'}).waitFor(WAIT);
  await page.locator('figure svg path.line').first().waitFor(WAIT);
  assert.match(await page.locator('figure svg').nth(0).getAttribute('aria-label'), /Tasks ended a minute\. ended: at most 40/);
  assert.match(await page.locator('figure svg').nth(1).getAttribute('aria-label'), /Waiting for a worker\. tasks: at most 7/);
  if (process.env.TILL_SHOTS) {
    for (const [width, colorScheme] of [[1440, 'light'], [1440, 'dark'], [360, 'light'], [360, 'dark']]) {
      await page.emulateMedia({colorScheme});
      await page.setViewportSize({width, height: 900});
      await page.screenshot({path: `${process.env.TILL_SHOTS}/charts-queue-${width}-${colorScheme}.png`, fullPage: true});
    }
    await page.setViewportSize({width: 1440, height: 900});
  }
  assert.deepEqual(await findings(page), []);
  await page.getByRole('link', {name: 'Last day'}).click();
  await page.waitForURL('**/charts?queue=mail&range=day', WAIT);
  await page.getByLabel('Queue').selectOption('quiet');
  await page.waitForURL('**/charts?queue=quiet&range=day', WAIT);
  await page.getByText('Nothing has waited or ended in this queue').waitFor(WAIT);
  await page.getByLabel('Queue').selectOption('All together');
  await page.waitForURL('**/charts?range=day', WAIT);
  await check();

  // A step that goes on is judged by the minutes that it has had: five of fifteen here.
  const now = await open();
  const points = [['11:45', 900], ['12:00', 300]].map(([at, succeeded]) => ({at: `2026-05-05T${at}:00.000Z`, ended: succeeded, succeeded, failed: 0,
    retried: 0, waiting: 0, wait_p50: null, wait_p95: null, run_p50: null, run_p95: null}));
  const at = new Date('2026-05-05T12:05:00Z');
  await now.page.clock.setFixedTime(at);
  await now.page.route(/\/api\/v1\/charts/, (route) => route.fulfill({json: {range: 'day', queue: '', minutes: 1440, step: 15, points},
    headers: {date: at.toUTCString()}}));
  await now.page.route(/\/api\/v1\/queues/, (route) => route.fulfill({json: {queues: []}, headers: {date: at.toUTCString()}}));
  await now.page.goto(`${facts.url}/charts?range=day`);
  await now.page.locator('figure svg path.line').first().waitFor(WAIT);
  assert.match(await now.page.locator('figure svg').first().getAttribute('aria-label'), /succeeded: at most 60, last 60;/);
  await now.check();
});

// What stands beside the lines can be read, whatever is shown and wherever.
test('axes', async () => {
  const minute = Math.floor(Date.now() / 60000) * 60000;
  const points = Array.from({length: 50}, (_, i) => ({at: new Date(minute - (50 - i) * 60000).toISOString(), ended: 1234567, succeeded: 1234567,
    failed: 3, retried: 2, waiting: 1234567, wait_p50: 600, wait_p95: 17.5 * i, run_p50: 5000, run_p95: 99999}));
  const {page, check} = await open();
  await page.route(/\/api\/v1\/charts/, (route) => route.fulfill({json: {range: 'hour', queue: '', minutes: 60, step: 1, points}}));
  await visit(page, '/charts');
  const axis = page.locator('figure svg text.axis');
  for (const width of [360, 768, 1440, 2560]) {
    await page.setViewportSize({width, height: 900});
    await page.waitForFunction(() => [...document.querySelectorAll('figure svg')].every((svg) => svg.viewBox.baseVal.width === svg.clientWidth), null, WAIT);
    assert.equal(await axis.count(), 24);
    const wrong = await axis.evaluateAll((labels) => labels.filter((label) => {
      const own = label.getBoundingClientRect();
      const place = label.ownerSVGElement.getBoundingClientRect();
      return own.left < place.left || own.right > place.right || own.height < 12;
    }).map((label) => label.textContent));
    assert.deepEqual(wrong, [], `at ${width}`);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/axes-${width}.png`, fullPage: true});
  }
  assert.deepEqual((await axis.allTextContents()).filter((text) => /\d (s|min|h|d)$/.test(text)), ['10 min', '20 min', '24 h', '2 d']);
  await check();
});

// The minutes are the server's: a browser whose clock is wrong shows them all the same.
test('clock', async () => {
  const {page, check} = await open();
  for (const days of [-1, 1]) {
    await page.clock.setSystemTime(Date.now() + days * 86400000);
    await visit(page, '/charts');
    await page.locator('figure svg path.line').first().waitFor(WAIT);
    assert.match(await page.locator('figure svg').first().getAttribute('aria-label'), /succeeded: at most 120/, `${days} d`);
  }
  await check();
});

// A task now and then has a latency, too: a minute between two without any is a dot.
test('dots', async () => {
  const minute = Math.floor(Date.now() / 60000) * 60000;
  const points = [30, 20, 10].map((ago) => ({at: new Date(minute - ago * 60000).toISOString(), ended: 1, succeeded: 1, failed: 0, retried: 0,
    waiting: 0, wait_p50: 2, wait_p95: 4, run_p50: 3, run_p95: 3}));
  const {page, check} = await open();
  await page.route(/\/api\/v1\/charts/, (route) => route.fulfill({json: {range: 'hour', queue: '', minutes: 60, step: 1, points}}));
  await visit(page, '/charts');
  const seen = await page.locator('figure').nth(2).locator('path.line').evaluateAll((lines) => lines.map((line) =>
    [...line.getAttribute('d').matchAll(/M([\d.]+) ([\d.]+)/g)].filter(([, x, y]) => line.isPointInStroke(new DOMPoint(Number(x) + 0.4, Number(y)))).length));
  assert.deepEqual(seen, [3, 3]);
  await check();
});
