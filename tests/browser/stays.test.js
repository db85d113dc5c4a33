// SPDX-License-Identifier: MIT
//
// What people hold while a page lives: a button that is pressed, a text that is selected, a form half filled in.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {test} from 'node:test';
import {WAIT, facts, open, visit} from './chromium.js';
import {findings, poorContrasts} from './judge.js';

const sql = (text) => execFileSync('psql', ['-q', '-d', facts.database, '-v', 'ON_ERROR_STOP=1', '-c', text]);
const shot = (page, name) => process.env.TILL_SHOTS && page.screenshot({path: `${process.env.TILL_SHOTS}/${name}.png`});

// What is drawn again stays the same elements: focus, selection and scrolling are where they were.
test('drawn', async () => {
  const {page, check} = await open();
  await visit(page, '/queues');
  const mail = page.locator('tbody tr', {has: page.locator('a[href="/tasks?queue=mail"]')});
  await mail.locator('a', {hasText: 'charts'}).focus();
  await mail.getByRole('button', {name: 'Pause'}).evaluate((button) => { window.held = button; });
  await page.evaluate(() => getSelection().selectAllChildren(document.querySelector('.legend')));
  const selected = await page.evaluate(() => String(getSelection()));
  sql("INSERT INTO jobs (id, task, queue, state, attempt, finished_at, error) SELECT new_job_id(), 'shop.mail', 'mail', 'FAILURE', 1, now(), 'x' FROM generate_series(1, 7)");
  await mail.locator('td[data-label="Dead"]', {hasText: '8'}).waitFor(WAIT);
  assert.equal(await page.evaluate(() => window.held.isConnected), true, 'the button is the one that it was');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'charts');
  assert.equal(await page.evaluate(() => String(getSelection())), selected);
  await mail.getByRole('button', {name: 'Pause'}).click();
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor(WAIT);
  assert.equal(await page.evaluate(() => window.held.isConnected && window.held.textContent), 'Resume');
  await page.evaluate(() => window.held.click());
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor({...WAIT, state: 'detached'});

  // Of one that runs and talks: a reader's place in its log stays; who reads the end sees what comes.
  const talk = (from, to) => sql(`INSERT INTO job_logs (job_id, attempt, at, level, line) SELECT '${facts.running}', 1, now(), 1, 'line ' || n FROM generate_series(${from}, ${to}) n`);
  talk(1, 100);
  await visit(page, `/task/${facts.running}`);
  const log = page.locator('.log');
  await log.getByText('line 100', {exact: true}).waitFor(WAIT);
  await log.evaluate((node) => { node.scrollTop = 300; });
  talk(101, 101);
  await log.getByText('line 101', {exact: true}).waitFor(WAIT);
  assert.equal(await log.evaluate((node) => node.scrollTop), 300);
  await log.evaluate((node) => { node.scrollTop = node.scrollHeight; });
  talk(102, 140);
  await page.waitForFunction(() => {
    const node = document.querySelector('.log');
    return node.lastChild.textContent.endsWith('line 140') && node.scrollTop + node.clientHeight >= node.scrollHeight - 1;
  }, null, WAIT);
  await check();
});

// Nothing is drawn while a button of the mouse is down: the click that began on a row ends on it.
test('pressed', async () => {
  const {page, check} = await open();
  await visit(page, '/tasks');
  const old = page.locator('tbody tr', {hasText: 'till.tasks.sleep'}).locator('td.name a');
  await old.hover();
  await page.mouse.down();
  const news = page.waitForResponse(async (answer) => answer.url().includes('/api/v1/tasks?') && (await answer.text()).includes('shop.new'), WAIT);
  sql("INSERT INTO jobs (id, task) SELECT new_job_id(), 'shop.new' FROM generate_series(1, 9)");
  await news;
  await page.mouse.up();
  await page.waitForURL(`**/task/${facts.running}`, WAIT);
  await check();
});

// Those that others push off the page stay chosen.
test('chosen', async () => {
  const {page, check} = await open();
  await visit(page, '/tasks?task=shop.chosen');
  await page.getByRole('checkbox', {name: `Select shop.chosen ${facts.chosen}`}).check();
  await page.getByText('1 selected', {exact: true}).waitFor(WAIT);
  sql("INSERT INTO jobs (id, task, state, attempt, finished_at, error) SELECT new_job_id(), 'shop.chosen', 'FAILURE', 1, now(), 'x' FROM generate_series(1, 60)");
  await page.getByText('1 selected, 1 of them no longer on this page').waitFor(WAIT);
  await page.getByRole('checkbox', {name: /^Select shop.chosen/}).first().check();
  await page.getByText('2 selected, 1 of them no longer on this page').waitFor(WAIT);
  await shot(page, 'chosen');
  assert.deepEqual(await findings(page), []);
  // What cannot be undone is asked before; not to do it leaves all as it was.
  await page.locator('.bar').getByRole('button', {name: 'Delete', exact: true}).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('Delete 2 tasks?').waitFor(WAIT);
  await dialog.getByRole('button', {name: 'Cancel'}).click();
  await page.getByText('2 selected, 1 of them no longer on this page').waitFor(WAIT);
  await page.locator('.bar').getByRole('button', {name: 'Retry', exact: true}).click();
  await page.locator('#told.shown', {hasText: '2 of 2 retried.'}).waitFor(WAIT);
  assert.equal(await page.locator('.chosen').isVisible(), false);
  await page.getByRole('checkbox', {name: 'Select all of this page'}).check();
  await page.getByText('50 selected', {exact: true}).waitFor(WAIT);
  await page.getByRole('button', {name: 'Select none'}).click();
  assert.equal(await page.locator('tbody .pick input:checked').count(), 0);
  await check();
});

// Numbers that JavaScript has not are shown, and sent again, digit by digit.
test('digits', async () => {
  const {page, check} = await open();
  await visit(page, '/tasks?task=shop.digits');
  assert.equal(await page.locator('td[data-label="Args"]').textContent(), '[9007199254740993,1.0,0.5,"9007199254740993"]');
  await visit(page, `/task/${facts.digits}`);
  await page.locator('pre', {hasText: '9007199254740993,'}).waitFor(WAIT);
  await page.getByRole('button', {name: 'Run again with other args…'}).click();
  const dialog = page.getByRole('dialog');
  assert.match(await dialog.locator('[name=kwargs]').inputValue(), /"user": 9223372036854775807\n/);
  await dialog.getByRole('button', {name: 'Run as a new task'}).click();
  await page.getByText('Made from').waitFor(WAIT);
  await visit(page, '/enqueue?task=shop.digits');
  await page.getByLabel('Args', {exact: true}).fill('[9007199254740995]');
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await page.locator('pre', {hasText: '9007199254740995'}).waitFor(WAIT);
  await check();
});

// Whoever filters by keyboard goes on where they are: each step of a choice is another list.
test('keyboard', async () => {
  const {page, check} = await open();
  const has = (selector) => page.waitForFunction((wanted) => document.activeElement.matches(wanted), selector, WAIT);
  await visit(page, '/tasks');
  await page.locator('#f-order').focus();
  for (const order of ['oldest', 'due']) {
    await page.keyboard.press('ArrowDown');
    await page.waitForURL(`**/tasks?order=${order}`, WAIT);
    await has('#f-order');
  }
  await page.locator('#f-text').focus();
  await page.keyboard.type('chosen');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/tasks?search=chosen&order=due', WAIT);
  await has('#f-text');
  await page.keyboard.type('1');
  assert.equal(await page.locator('#f-text').inputValue(), 'chosen1');
  await page.locator('.states a.failure').focus();
  await page.keyboard.press('Enter');
  await page.waitForURL(/state=FAILURE/, WAIT);
  await has('.states a.failure[aria-current]');
  await page.keyboard.press('Tab');
  await has('.states a.success');
  await check();
});

// A form that the server refuses stays as it was filled in; the way back leaves it.
test('forms', async () => {
  const {page, complaints} = await open();
  await visit(page, '/tasks');
  await visit(page, `/task/${facts.digits}`);
  const again = page.getByRole('button', {name: 'Run again with other args…'});
  const dialog = page.getByRole('dialog');
  const args = dialog.locator('[name=args]');
  await again.click();
  await args.fill('[1, 2');
  await dialog.getByRole('button', {name: 'Run as a new task'}).click();
  await dialog.getByRole('alert').filter({hasText: 'Args: this is no JSON'}).waitFor(WAIT);
  assert.equal(await args.inputValue(), '[1, 2');
  await args.fill('{"no": "array"}');
  await dialog.getByRole('button', {name: 'Run as a new task'}).click();
  await dialog.getByRole('alert').filter({hasText: 'array'}).filter({hasNotText: 'no JSON'}).waitFor(WAIT);
  assert.equal(await args.inputValue(), '{"no": "array"}');
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await page.evaluate(poorContrasts), []);
  await shot(page, 'form-refused');
  await page.goBack();
  await page.waitForURL('**/tasks', WAIT);
  await dialog.waitFor({...WAIT, state: 'detached'});

  // Enter does what the form is for.
  await visit(page, '/limits');
  await page.getByRole('button', {name: 'New limit…'}).click();
  await dialog.locator('[name=name]').fill('no such name');
  await dialog.locator('[name=concurrency]').fill('3');
  await page.keyboard.press('Enter');
  await dialog.getByRole('alert').filter({hasText: /name/}).waitFor(WAIT);
  await dialog.locator('[name=name]').fill('entered');
  await page.keyboard.press('Enter');
  await page.locator('#told.shown', {hasText: 'The limit of entered is set.'}).waitFor(WAIT);
  await dialog.waitFor({...WAIT, state: 'detached'});
  assert.deepEqual(complaints.filter((text) => !/status of 400/.test(text)), []);

  // A field of time that nobody has touched stays as it was, in the second 02:30 of a night, too.
  const {page: berlin, check} = await open({timezoneId: 'Europe/Berlin'});
  await visit(berlin, '/tasks?from=2026-10-25T01:30:00.250Z');
  await berlin.locator('#f-order').selectOption('oldest');
  await berlin.waitForURL((url) => url.searchParams.get('order') === 'oldest' && url.searchParams.get('from') === '2026-10-25T01:30:00.250Z', WAIT);
  await check();
});

// Whose session ends in the middle of a form logs in over it, and goes on.
test('session', async () => {
  const {page, complaints} = await open();
  const [name, password] = facts.user;
  await page.goto(`${facts.url}/enqueue?task=till.tasks.sleep`);
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/enqueue?task=till.tasks.sleep', WAIT);
  await page.getByLabel('Args', {exact: true}).fill('["half typed"]');
  sql('DELETE FROM dashboard_sessions');
  const dialog = page.getByRole('dialog', {name: 'Your session has ended'});
  await dialog.waitFor(WAIT);
  assert.equal(await page.locator('main').isVisible(), false, 'nobody sees the page meanwhile');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await dialog.waitFor(WAIT);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await page.evaluate(poorContrasts), []);
  await shot(page, 'session-ended');
  await dialog.getByLabel('Password').fill('not-this-one');
  await page.keyboard.press('Enter');
  await dialog.getByText('Name or password is wrong.').waitFor(WAIT);
  await dialog.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
  await dialog.waitFor({...WAIT, state: 'detached'});
  await page.locator('#live[data-state="live"]').waitFor(WAIT);
  assert.equal(await page.getByLabel('Args', {exact: true}).inputValue(), '["half typed"]');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'e-args');

  // An order that found nobody logged in has not been done: it is, once, after the login.
  await page.locator('#live').click();
  sql('DELETE FROM dashboard_sessions');
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await dialog.getByLabel('Password').fill(password);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/task/*', WAIT);
  await page.getByText('"half typed"').waitFor(WAIT);
  await page.locator('#live').click();
  await page.locator('#live[data-state="live"]').waitFor(WAIT);

  // A proxy that has had enough is not the end of the feed.
  await page.route('**/api/v1/tasks/*', (route) => route.fulfill({status: 429, body: ''}), {times: 2});
  await page.locator('#live[data-state="lost"]').waitFor(WAIT);
  await page.locator('#live[data-state="live"]').waitFor(WAIT);
  assert.deepEqual(complaints.filter((text) => !/status of (401|429)/.test(text)), []);
});
