// SPDX-License-Identifier: MIT
//
// Pages that stay open: what changes, and what does not answer any more.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {test} from 'node:test';
import {WAIT, facts, names, open, rows, visit} from './chromium.js';

test('live', async () => {
  const {page, complaints} = await open();
  const sql = (text) => execFileSync('psql', ['-q', '-d', facts.database, '-v', 'ON_ERROR_STOP=1', '-c', text]);
  await visit(page, '/tasks');
  await page.locator('tbody .badge.started').waitFor(WAIT);

  // A change and a new row appear by themselves; the row that was there is the same element.
  await page.evaluate(() => { window.stayed = true; });
  sql(`UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = '"done"' WHERE id = '${facts.job}'`);
  await page.locator('tbody .badge.success').waitFor(WAIT);
  sql("INSERT INTO jobs (task) VALUES ('shop.new')");
  await page.getByRole('link', {name: 'shop.new'}).waitFor(WAIT);
  assert.deepEqual(await names(page), ['shop.new', 'till.tasks.noop']);
  assert.equal(await page.evaluate(() => window.stayed), true);

  // Paused: nothing changes. Then it goes on.
  await page.locator('#live').click();
  await page.locator('#live[data-state="paused"]').waitFor(WAIT);
  await page.locator('#live').click();
  await page.locator('#live[data-state="live"]').waitFor(WAIT);
  assert.deepEqual(complaints, []);

  // The server is frozen: the mark turns red, what was seen stays, and all recovers.
  process.kill(facts.pid, 'SIGSTOP');
  try {
    await page.locator('#live[data-state="lost"]').waitFor({timeout: 30000});
    assert.equal(await rows(page).count(), 2);
  } finally {
    process.kill(facts.pid, 'SIGCONT');
  }
  sql("INSERT INTO jobs (task) VALUES ('shop.after')");
  await page.locator('#live[data-state="live"]').waitFor({timeout: 30000});
  await page.getByRole('link', {name: 'shop.after'}).waitFor(WAIT);
});

test('unheard', async () => {
  const {page, check} = await open();
  await visit(page, '/workers');
  await page.getByText('Redis does not answer').waitFor(WAIT);
  const figures = await page.locator('.card').evaluateAll((cards) => cards.map((one) => one.innerText.split(/\s+/).join(' ')));
  assert.deepEqual(figures, ['– Online', '1 Active', '– Processed', '– Succeeded', '– Failed', '– Retried']);
  await visit(page, `/worker/${encodeURIComponent(facts.worker)}`);
  assert.equal(await page.getByText('It is running no task.').count(), 0);
  await page.getByRole('link', {name: 'What it has begun, by PostgreSQL'}).click();
  await page.locator('tbody .badge.started').waitFor(WAIT);
  await check();
});
