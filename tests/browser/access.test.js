// SPDX-License-Identifier: MIT
//
// Who gets in, and what each role sees.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, launch, open, visit} from './chromium.js';
import {findings} from './judge.js';

test('password', async () => {
  const {page, check} = await open({httpCredentials: {username: facts.user, password: facts.password}});
  for (const path of ['/', '/tasks', '/queues']) await visit(page, path);
  await check();
  const stranger = await open();
  // Without credentials there is no page: Chromium would ask for them, and has nobody to ask.
  await assert.rejects(stranger.page.goto(`${facts.url}/tasks`), /ERR_INVALID_AUTH_CREDENTIALS/);
});

test('roles', async () => {
  for (const [name, password, role] of facts.users) {
    const {page, complaints} = await open();
    await page.goto(`${facts.url}/tasks?state=FAILURE`);
    await page.waitForURL((url) => url.pathname === '/login' && url.searchParams.has('next'), WAIT);
    await page.getByLabel('Name').waitFor(WAIT);
    assert.deepEqual(await findings(page), [], 'login');
    if (process.env.TILL_SHOTS && role === 'viewer') await page.screenshot({path: `${process.env.TILL_SHOTS}/login.png`});
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill('not-this-one');
    await page.getByRole('button', {name: 'Log in'}).click();
    await page.getByText('Name or password is wrong.').waitFor(WAIT);
    await page.getByLabel('Password').fill(password);
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => url.pathname === '/tasks', WAIT);
    await page.locator('tbody .badge.failure').first().waitFor(WAIT);
    await page.getByText(role, {exact: true}).waitFor(WAIT);
    const may = {viewer: 0, operator: 1, admin: 2}[role];
    assert.equal(await page.getByRole('button', {name: 'Retry all that match'}).count(), may >= 1 ? 1 : 0, role);
    assert.equal(await page.getByRole('button', {name: 'Delete all that match'}).count(), may >= 2 ? 1 : 0, role);
    assert.equal(await page.locator('tbody .pick').count() > 0, may >= 1, role);
    await page.goto(`${facts.url}/queues`);
    await page.locator('tbody tr').first().waitFor(WAIT);
    assert.equal(await page.getByRole('button', {name: 'Pause', exact: true}).count() > 0, may >= 1, role);
    assert.equal(await page.getByRole('button', {name: 'Purge'}).count() > 0, may >= 2, role);
    // What is not shown is refused, too, even from the page itself.
    const code = await page.evaluate(() => fetch('/api/v1/queues/mail/purge', {method: 'POST'}).then((answer) => answer.status));
    assert.equal(code, may >= 2 ? 200 : 403, role);
    assert.equal(await page.evaluate(() => document.cookie), '', 'no script sees the login');
    await page.getByRole('button', {name: 'Log out'}).click();
    await page.waitForURL((url) => url.pathname === '/login', WAIT);
    await page.goto(`${facts.url}/queues`);
    await page.waitForURL((url) => url.pathname === '/login' && url.searchParams.has('next'), WAIT);
    assert.deepEqual(complaints.filter((text) => !/status of (401|403)/.test(text)), []);
  }
  // Where it leads after the login is never another site.
  const {page} = await open();
  await page.goto(`${facts.url}/login?next=${encodeURIComponent('//evil.example/x')}`);
  await page.getByLabel('Name').fill(facts.users[0][0]);
  await page.getByLabel('Password').fill(facts.users[0][1]);
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => url.origin === facts.url && url.pathname === '/', WAIT);
});

// Over plain http and another name than localhost no session is kept: that is said instead of asking again and again.
test('plain', async () => {
  const port = new URL(facts.url).port;
  const other = await launch('--host-resolver-rules=MAP shop.test 127.0.0.1');
  const page = await (await other.newContext()).newPage();
  await page.goto(`http://shop.test:${port}/tasks`);
  await page.waitForURL('**/login?**', WAIT);
  await page.getByRole('alert').filter({hasText: 'over plain http the browser does not keep the session'}).waitFor(WAIT);
  assert.equal(await page.getByRole('button', {name: 'Log in'}).isDisabled(), true);
  assert.deepEqual(await findings(page), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/login-plain.png`});
  await other.close();

  // Wherever else the session is not kept, that is said, too.
  const {page: refused} = await open();
  await refused.route('**/api/v1/login', async (route) => {
    const answer = await route.fetch();
    const headers = answer.headers();
    delete headers['set-cookie'];
    await refused.context().clearCookies(); // fetch() has kept it
    await route.fulfill({response: answer, headers});
  });
  await refused.goto(`${facts.url}/login`);
  const [name, password] = facts.users[0];
  await refused.getByLabel('Name').fill(name);
  await refused.getByLabel('Password').fill(password);
  await refused.getByRole('button', {name: 'Log in'}).click();
  await refused.getByText('the browser has not kept the session').waitFor(WAIT);
});
