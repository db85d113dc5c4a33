// SPDX-License-Identifier: MIT
//
// The page of a flow: why a member waits, what to do, and all members of a long one.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, open, rows, visit} from './chromium.js';
import {findings, longLabels, poorContrasts} from './judge.js';

test('stopped', async () => {
  for (const [colorScheme, width] of [['light', 1440], ['light', 360], ['dark', 1440], ['dark', 360]]) {
    const {page, check} = await open({colorScheme, viewport: {width, height: 800}, reducedMotion: 'reduce'});
    await visit(page, `/flow/${facts.flow}`);
    await page.getByText(`waits for job ${facts.dead} (${facts.task}), which failed: retry that one`).waitFor(WAIT);
    await page.getByText('Retry the dead tasks, each on its page').waitFor(WAIT);
    const revoked = rows(page).filter({has: page.locator('.badge.revoked')});
    assert.equal(await revoked.count(), 1);
    assert.doesNotMatch(await revoked.textContent(), /waits/);
    assert.match(await revoked.textContent(), /depends on job/);

    const where = `${colorScheme} ${width}`;
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, `${where} scrolls sideways`);
    if (width > 360) assert.ok(await page.evaluate(() => [...document.querySelectorAll('.table-box')].every((box) => box.scrollWidth <= box.clientWidth)), `${where}: the table is cut off`);
    assert.deepEqual(await page.evaluate(longLabels), [], where);
    assert.deepEqual(await page.evaluate(poorContrasts), [], where);
    assert.deepEqual(await findings(page), [], where);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/flow-${where.replaceAll(' ', '-')}.png`});
    await check();
  }
});

test('long', async () => {
  const {page, check} = await open();
  const first = () => rows(page).first().locator('td').first().textContent();
  await visit(page, `/flow/${facts.flow}`);
  assert.equal(await rows(page).count(), 500);
  await page.getByRole('link', {name: 'Further members'}).click();
  await page.getByRole('link', {name: 'First members'}).waitFor(WAIT);
  assert.equal(await first(), '501');
  assert.equal(await rows(page).count(), 101);
  assert.equal(await page.getByRole('link', {name: 'Further members'}).count(), 0);
  await page.getByRole('link', {name: 'First members'}).click();
  await page.getByRole('link', {name: 'Further members'}).waitFor(WAIT);
  assert.equal(await first(), '1');

  // The one that is dead, wherever it stands.
  await page.getByRole('link', {name: /^Failure/}).click();
  await rows(page).nth(1).waitFor({...WAIT, state: 'detached'});
  assert.equal(await first(), '555');
  assert.deepEqual(await findings(page), []);
  await check();
});
