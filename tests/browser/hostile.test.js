// SPDX-License-Identifier: MIT
//
// Texts of jobs and workers that attack the page.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, open, rows, visit} from './chromium.js';

test('hostile', async () => {
  const {page, check} = await open();
  const unharmed = async (where) => {
    assert.equal(await page.evaluate(() => window.__xss), undefined, where);
    assert.equal(await page.locator('main script, main img, main svg, main iframe, main style, main math').count(), 0, where);
    const links = await page.evaluate(() => [...document.querySelectorAll('main a')].map((a) => a.protocol));
    assert.ok(links.every((protocol) => protocol.startsWith('http')), where);
  };
  await visit(page, '/tasks');
  await page.waitForFunction((count) => document.querySelectorAll('tbody tr').length === count, facts.ids.length, WAIT);
  await unharmed('/tasks');
  const shown = await page.locator('tbody td[data-label="Result"]').allTextContents();
  assert.ok(shown.includes(facts.texts[0]), 'the text is shown as it is');
  for (const id of facts.ids) {
    await visit(page, `/task/${id}`);
    await page.locator('details').first().waitFor(WAIT);
    await unharmed(`/task/${id}`);
  }
  for (const path of ['/dead', '/audit']) {
    await visit(page, path);
    await rows(page).first().waitFor(WAIT);
    assert.match(await page.locator('tbody').textContent(), /<script>window\.__xss/, `${path} shows the text as it is`);
    await unharmed(path);
  }
  for (const path of ['/limits', '/broker', '/schedules', '/flows', ...facts.texts.map((text) => `/charts?${new URLSearchParams({queue: text})}`)]) {
    await visit(page, path);
    await unharmed(path);
  }
  for (const path of ['/workers', '/queues', ...facts.workers.map((name) => `/worker/${encodeURIComponent(name)}`)]) {
    // A name with a slash has no page of its own: then the address is unknown, and nothing runs.
    await page.goto(facts.url + path);
    await page.waitForLoadState();
    await unharmed(path);
  }
  for (const text of facts.texts) {
    const query = new URLSearchParams({task: text, queue: text, worker: text, text, order: text, state: text, cursor: text});
    await page.goto(`${facts.url}/tasks?${query}`);
    await page.getByRole('alert').waitFor(WAIT);
    await unharmed(`/tasks?${query}`);
  }
  await page.goto('about:blank');
  await check().catch((error) => {
    // Unknown worker pages and refused filters are answers of 404 and 400, which Chromium logs.
    const rest = error.actual?.filter((text) => !/status of 40[04]/.test(text));
    assert.deepEqual(rest, []);
  });
});
