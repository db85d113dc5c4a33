// SPDX-License-Identifier: MIT
//
// What people ask of a page: why a task does not begin, who holds a limit, how long one has run.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, open, rows, visit} from './chromium.js';
import {findings, poorContrasts} from './judge.js';

test('why', async () => {
  const {page, check} = await open();
  const told = async (id, words) => {
    await visit(page, `/task/${id}`);
    await page.locator('.timeline li').last().filter({hasText: words}).waitFor(WAIT);
  };
  const looked = async (name) => {
    assert.deepEqual(await findings(page), []);
    assert.deepEqual(await page.evaluate(poorContrasts), []);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/why-${name}.png`});
  };
  await told(facts.paused, /PAUSED .*: nothing of its queue begins/);
  await looked('paused');
  await told(facts.unread, 'NO WORKER None that takes work reads its queue');
  await looked('unread');
  await told(facts.held, 'It is tried again when there is one, in ');
  await page.getByText('a place or its turn under the limit of key:tenant:7').waitFor(WAIT);
  assert.equal(await page.locator('dt', {hasText: 'Not before'}).count(), 0);
  await looked('held');

  await visit(page, '/queues');
  await page.locator('tbody tr', {hasText: 'unread'}).locator('.badge', {hasText: 'NO WORKER'}).waitFor(WAIT);
  assert.equal(await page.locator('tbody tr', {hasText: 'idle'}).locator('.badge').count(), 0);
  await looked('queues');

  // Who holds the limit, and for how long already.
  await visit(page, '/limits');
  await page.locator('tbody tr', {hasText: 'tenant:*'}).locator('td[data-label="Held back"] a').click();
  await page.waitForURL('**/tasks?state=PENDING', WAIT);
  const held = rows(page).filter({hasText: 'limit key tenant:7'});
  await held.getByText('waits for its turn under a limit').waitFor(WAIT);
  assert.doesNotMatch(await held.textContent(), /runs in/);
  await visit(page, '/tasks?state=STARTED');
  await rows(page).filter({hasText: 'limit key tenant:7'}).locator('td[data-label="Runtime"] time').filter({hasText: /^6\d min /}).waitFor(WAIT);
  await looked('started');

  // A mark that turns the letters after it around is seen, instead of what it makes of them.
  const turned = rows(page).filter({hasText: 'shop.turned'});
  assert.equal(await turned.locator('td[data-label="Args"]').textContent(), '["\\u202egpj.exe"]');
  await check();
});

// From a reason to those that died of it, whatever marks it has, and back to life with these alone.
test('reason', async () => {
  const {page, check} = await open();
  for (const [reason, count, shown] of facts.reasons) {
    await visit(page, '/dead');
    await page.locator('tbody tr', {hasText: 'shop.mail'}).getByRole('link', {name: shown, exact: true}).click();
    await page.waitForURL(/\/tasks\?state=FAILURE&task=shop.mail&search=error/, WAIT);
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n, count, WAIT);
    assert.ok((await page.locator('td[data-label="Result"]').allTextContents()).every((text) => text === reason));
  }
  assert.deepEqual(await findings(page), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/reason.png`});
  await page.getByRole('button', {name: 'Retry all that match'}).click();
  await page.getByRole('dialog').getByRole('button', {name: 'Retry all'}).click();
  await page.locator('#told.shown', {hasText: `${facts.reasons.at(-1)[1]} tasks retried.`}).waitFor(WAIT);
  await visit(page, '/dead');
  await page.locator('tbody tr', {hasText: 'shop.mail'}).getByRole('link', {name: facts.reasons[0][2], exact: true}).waitFor(WAIT);
  assert.equal(await page.getByRole('link', {name: facts.reasons.at(-1)[2], exact: true}).count(), 0);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await page.evaluate(poorContrasts), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/dead-links.png`});
  await check();
});
