// SPDX-License-Identifier: MIT
//
// Pages of very many workers, queues and schedules.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, open, rows, visit} from './chromium.js';
import {findings} from './judge.js';

const PAGES = [['/workers', 'Worker', 'HOST-249'], ['/queues', 'Queue', 'q-249'], ['/schedules', 'Schedule', 's-249']];

test('many', async () => {
  const {page, check} = await open();
  const shown = (count) => page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n, count, WAIT);
  for (const [path, label, name] of PAGES) {
    await visit(page, path);
    await shown(200);
    await page.getByText('The first 200 of 250.').waitFor(WAIT);
    await page.getByRole('button', {name: 'Show more'}).click();
    await shown(250);
    assert.equal(await page.getByRole('button', {name: 'Show more'}).count(), 0);

    // By name, whatever the case; the address can be shared, and a reload keeps it.
    await page.getByLabel(label, {exact: true}).focus();
    await page.keyboard.type(name);
    await shown(1);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'f-name', 'the focus stays in the field');
    assert.equal(new URL(page.url()).searchParams.get('name'), name);
    await page.reload();
    await shown(1);
    assert.match((await rows(page).textContent()).toLowerCase(), new RegExp(name.toLowerCase()));
    await page.getByLabel(label, {exact: true}).fill('nobody');
    await page.getByText('No name has that in it.').waitFor(WAIT);
    assert.deepEqual(await findings(page), [], path);
    await page.getByLabel(label, {exact: true}).fill('');
    await shown(200);
    assert.equal(new URL(page.url()).search, '');
    assert.deepEqual(await findings(page), [], path);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/many${path.replace('/', '-')}.png`});
  }

  // The sums are those of all, and stay within their cards.
  await visit(page, '/workers?name=host-007');
  await shown(1);
  assert.equal(await page.locator('.card', {hasText: 'Online'}).locator('.figure').textContent(), '250');
  for (const width of [360, 768, 1440, 2560]) {
    await page.setViewportSize({width, height: 800});
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    const spilt = await page.locator('.card .figure').evaluateAll((figures) => figures.filter((one) => {
      const text = document.createRange();
      text.selectNodeContents(one);
      return text.getBoundingClientRect().right > one.parentElement.getBoundingClientRect().right - 8;
    }).map((one) => one.textContent));
    assert.deepEqual(spilt, [], `at ${width}`);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/many-cards-${width}.png`});
  }
  await check();
});
