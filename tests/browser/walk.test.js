// SPDX-License-Identifier: MIT
//
// From page to page, as whoever watches or looks for something goes.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, names, open, rows, visit} from './chromium.js';
import {findings} from './judge.js';

test('walk', async () => {
  const {page, check} = await open({timezoneId: 'UTC'});
  await visit(page, '/');
  assert.equal(await page.locator('h1').textContent(), 'Workers');
  assert.equal(await page.locator('.card', {hasText: 'Online'}).locator('.figure').textContent(), '1');
  assert.equal(await page.locator('.card', {hasText: 'Processed'}).locator('.figure').textContent(), '1,234');
  assert.equal(await page.locator('tbody tr', {hasText: 'shop:1'}).locator('td[data-label="Load average"]').textContent(), '0.50 · 0.40 · 0.30');
  await page.getByRole('link', {name: 'shop:1'}).click();
  await page.waitForURL('**/worker/shop%3A1', WAIT);
  await page.getByText('of 8 busy').waitFor(WAIT);

  // Filters, by mouse and by keyboard; each stands in the address.
  await page.getByRole('link', {name: 'Tasks', exact: true}).click();
  await rows(page).first().waitFor(WAIT);
  assert.equal(await rows(page).count(), 50);
  const states = page.getByRole('navigation', {name: 'State'});
  await states.getByText('Success').and(page.locator(':has(.n:not(:empty))')).waitFor(WAIT);
  assert.match(await states.locator('a.success').textContent(), /Success\s*121/);
  await states.locator('a.failure').focus();
  await page.keyboard.press('Enter');
  await page.waitForURL('**/tasks?state=FAILURE', WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);
  assert.equal(await page.locator('tbody .badge').textContent(), 'FAILURE');
  assert.match(await page.locator('tbody td[data-label="Result"]').textContent(), /gateway answered 503/);

  // One task with its attempts, and back.
  await page.locator('tbody td.name a').click();
  await page.waitForURL(`**/task/${facts.jobs.FAILURE}`, WAIT);
  await page.getByText('Attempt 2 failed').waitFor(WAIT);
  assert.equal(await page.locator('.timeline li').count(), 4);
  await page.getByText('error 1', {exact: true}).waitFor(WAIT);
  assert.match(await page.locator('dl.fields').textContent(), /Goes on from.*"row":1250000/);
  assert.equal(await page.locator('details pre').last().textContent(), 'detail 2');
  await page.getByRole('link', {name: 'mail', exact: true}).waitFor(WAIT);
  await page.goBack();
  await page.waitForURL('**/tasks?state=FAILURE', WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);

  // By task and by a part of the id; the address can be shared.
  await page.goto(`${facts.url}/tasks`);
  await page.locator('#f-task option[value="shop.mail"]').waitFor({...WAIT, state: 'attached'});
  await page.locator('#f-task').selectOption('shop.mail');
  await page.waitForURL('**/tasks?task=shop.mail', WAIT);
  await page.waitForFunction(() => [...document.querySelectorAll('tbody td.name')].every((cell) => cell.textContent === 'shop.mail') && document.querySelectorAll('tbody tr').length === 50, null, WAIT);

  // Pages: three of them, none with a row of another.
  const seen = new Set(await page.locator('tbody .uuid a').evaluateAll((links) => links.map((link) => link.title)));
  for (const left of [50, 20]) {
    await page.getByRole('link', {name: 'Older'}).click();
    await page.waitForURL('**cursor=**', WAIT);
    await page.waitForFunction(([count, old]) => {
      const links = [...document.querySelectorAll('tbody .uuid a')];
      return links.length === count && !old.includes(links[0].title);
    }, [left, [...seen]], WAIT);
    for (const id of await page.locator('tbody .uuid a').evaluateAll((links) => links.map((link) => link.title))) {
      assert.ok(!seen.has(id));
      seen.add(id);
    }
  }
  assert.equal(seen.size, 120);
  assert.equal(await page.getByRole('link', {name: 'Older'}).count(), 0);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 20, null, WAIT);
  await page.getByRole('link', {name: 'First page'}).click();
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 50, null, WAIT);

  await page.goto(`${facts.url}/tasks`);
  await page.locator('#f-text').fill(facts.jobs.RETRY.slice(20));
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);
  assert.equal(await page.locator('tbody .badge').textContent(), 'RETRY');

  // What waits for its time is there, and says when it runs; what waits for a worker, too.
  await visit(page, '/tasks?state=PENDING');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 2, null, WAIT);
  await page.getByText(/runs in \d+ years/).waitFor(WAIT);

  // By when it is due, by keyboard, with what is folded away; and by how long it ran, which says among how many.
  await visit(page, '/tasks?order=due');
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 2, null, WAIT);
  await page.getByText('More filters').focus();
  await page.keyboard.press('Enter');
  await page.getByLabel('Due after').fill('2100-01-01T00:00:01');
  await page.getByRole('button', {name: 'Filter by these'}).click();
  await page.waitForURL(/due_from=2100-01-01T00%3A00%3A01.000Z/, WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);
  assert.equal(await page.locator('tbody .uuid a').getAttribute('title'), facts.jobs.LATER);
  await page.getByText('More filters').click();
  assert.equal(await page.getByLabel('Due after', {exact: true}).inputValue(), '2100-01-01T00:00:01');
  assert.deepEqual(await findings(page), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/filters.png`});
  await page.setViewportSize({width: 360, height: 800});
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/filters-narrow.png`});
  await page.setViewportSize({width: 1440, height: 900});
  await page.getByRole('link', {name: /^Remove the filter due after/}).click();
  await page.waitForURL('**/tasks', WAIT);
  await page.locator('#f-order').selectOption('slowest');
  await page.waitForURL('**/tasks?order=slowest', WAIT);
  await page.getByText('By running time among the newest 20,000').waitFor(WAIT);
  await page.locator('#f-order').waitFor(WAIT);
  await visit(page, '/tasks?order=slowest&queue=none');
  await page.getByText('No task among the newest 20,000 is like that').waitFor(WAIT);
  await visit(page, '/tasks?order=slowest');
  await page.getByRole('link', {name: 'Faster'}).click();
  await page.waitForURL('**cursor=%2B50**', WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 50, null, WAIT);

  await visit(page, '/queues');
  await page.getByRole('link', {name: 'mail', exact: true}).waitFor(WAIT);
  await page.locator('tr', {hasText: 'mail'}).locator('td[data-label="Dead"] a').click();
  await page.waitForURL(/\/tasks\?(state=FAILURE&queue=mail|queue=mail&state=FAILURE)/, WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);
  await page.getByRole('link', {name: 'Remove the filter queue mail'}).click();
  await page.waitForURL('**/tasks?state=FAILURE', WAIT);
  await check();
});

// Back from a task, and after a reload, the list stands where it was left.
test('place', async () => {
  const {page, check} = await open({viewport: {width: 1280, height: 500}});
  const stands = (y) => page.waitForFunction((wanted) => scrollY === wanted && history.state?.y === wanted, y, WAIT);
  await visit(page, '/tasks?state=SUCCESS');
  await rows(page).nth(49).waitFor(WAIT);
  await page.evaluate(() => scrollTo(0, 600));
  await stands(600);
  await page.locator('tbody td.name a').nth(9).click();
  await page.waitForURL('**/task/*', WAIT);
  await page.getByText('Timeline').waitFor(WAIT);
  assert.equal(await page.evaluate(() => scrollY), 0);
  await page.goBack();
  await stands(600);
  assert.equal(new URL(page.url()).search, '?state=SUCCESS');
  await page.reload();
  await stands(600);
  await page.getByRole('link', {name: 'Queues', exact: true}).click();
  await page.waitForURL('**/queues', WAIT);
  await page.getByRole('heading', {name: 'Queues'}).waitFor(WAIT);
  assert.equal(await page.evaluate(() => scrollY), 0);
  await check();
});

test('further', async () => {
  const {page, check} = await open();
  await visit(page, '/tasks?order=due&search=needle');
  await page.getByRole('link', {name: 'shop.found'}).waitFor(WAIT);
  assert.deepEqual(await names(page), ['shop.found']);
  await visit(page, '/tasks?order=due&search=zeppelin');
  await page.getByText('No task that is like that waits for its time.').waitFor(WAIT);
  assert.equal(await page.getByRole('link', {name: 'Search further'}).count(), 0);
  await check();
});

test('prefix', async () => {
  const {page, check} = await open();
  await page.goto(`${facts.url}/jobs/till/`);
  await page.waitForSelector('#live[data-state="live"]', WAIT);
  for (const name of ['Tasks', 'Queues', 'Dead', 'Audit', 'Workers']) {
    await page.getByRole('navigation', {name: 'Pages'}).getByRole('link', {name, exact: true}).click();
    await page.waitForURL(`**/jobs/till/${name.toLowerCase()}`, WAIT);
    await page.waitForSelector('#live[data-state="live"]', WAIT);
    assert.equal(await page.locator('header nav a[aria-current]').textContent(), name);
  }
  await page.goto(`${facts.url}/jobs/till/tasks`);
  await page.locator('tbody td.name a').first().click();
  await page.waitForURL('**/jobs/till/task/*', WAIT);
  await page.getByText('Timeline').waitFor(WAIT);
  await check();
});

// With all programs running: a customer buys, and whoever watches sees it, finds it and acts.
test('whole', async () => {
  const {page, check} = await open();
  const say = (text) => page.locator('#told.shown').filter({hasText: text}).waitFor(WAIT);
  const buy = async (path, body) => {
    const answer = await fetch(facts.api + path, {method: 'POST', body: JSON.stringify(body),
      headers: {Authorization: `Bearer ${facts.token}`, 'Content-Type': 'application/json'}});
    assert.ok(answer.ok, await answer.clone().text());
    return answer.json();
  };
  await visit(page, '/tasks');
  const order = await buy('/api/orders/', {items: [{product_id: facts.product, quantity: 1}]});
  await buy('/api/payments/', {order_id: order.id, payment_method: 'card', payment_token: facts.paid});
  for (const name of ['payments.tasks.process_payment', 'payments.tasks.send_order_confirmation_email']) {
    await page.locator('tbody tr', {hasText: name}).locator('.badge.success').waitFor(WAIT);
  }

  await page.locator('#f-task').selectOption('payments.tasks.process_payment');
  await page.waitForURL('**/tasks?task=payments.tasks.process_payment', WAIT);
  await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1, null, WAIT);
  await page.locator('tbody td.name a').click();
  await page.waitForURL('**/task/*', WAIT);
  await page.getByText('Attempt 1 succeeded').waitFor(WAIT);

  await visit(page, '/dead');
  await page.locator('tbody tr', {hasText: facts.reason}).getByRole('button', {name: 'Retry', exact: true}).click();
  await say('1 task retried');
  await visit(page, '/tasks?task=till.tasks.fail');
  await page.locator('tbody .badge.success').waitFor(WAIT);

  await visit(page, '/queues');
  const mail = page.locator('tbody tr', {has: page.locator('a[href="/tasks?queue=mail"]')});
  await mail.getByRole('button', {name: 'Pause'}).click();
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor(WAIT);
  await mail.getByRole('button', {name: 'Resume'}).click();
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor({...WAIT, state: 'detached'});

  await visit(page, '/schedules');
  await page.locator('tbody tr', {hasText: 'nightly.sweep'}).getByRole('button', {name: 'Run now'}).click();
  await page.getByRole('link', {name: 'nightly.sweep'}).click();
  await page.waitForURL('**/schedule/nightly.sweep', WAIT);
  await page.locator('tbody tr', {hasText: 'by hand'}).locator('.badge', {hasText: 'SUCCESS'}).waitFor(WAIT);
  await check();
});
