// SPDX-License-Identifier: MIT
//
// What is done to tasks, queues, workers and limits, by mouse and by keyboard.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {test} from 'node:test';
import {WAIT, facts, open, rows, visit} from './chromium.js';
import {findings, poorContrasts} from './judge.js';

test('act', async () => {
  const {page, check, complaints} = await open();
  const told = page.locator('#told.shown');
  const say = (text) => told.filter({hasText: text}).waitFor(WAIT);
  const row = (id) => page.locator('tbody tr', {has: page.locator(`a[href="/task/${id}"]`)}).first();

  // One dead task runs again; a copy with other args knows where it comes from.
  await visit(page, `/task/${facts.dead[0]}`);
  await page.getByRole('button', {name: 'Run again with other args…'}).click();
  const dialog = page.getByRole('dialog');
  await dialog.waitFor(WAIT);
  assert.match(await dialog.locator('[name=kwargs]').inputValue(), /\[redacted\]/);
  await dialog.locator('[name=args]').fill('["edited"]');
  assert.deepEqual(await findings(page), []);
  await dialog.getByRole('button', {name: 'Run as a new task'}).click();
  await page.waitForURL((url) => url.pathname.startsWith('/task/') && !url.pathname.includes(facts.dead[0]), WAIT);
  await page.getByText('Made from').waitFor(WAIT);
  await page.getByText('"edited"').waitFor(WAIT);
  await page.getByRole('link', {name: facts.dead[0]}).click();
  await page.getByText('Run again as').waitFor(WAIT);
  await page.getByRole('button', {name: 'Retry', exact: true}).click();
  await say('It will run again.');
  await page.locator('.title .badge.pending').waitFor(WAIT);

  // What waits is revoked, after a question that the keyboard can answer.
  await page.getByRole('button', {name: 'Revoke', exact: true}).click();
  await dialog.waitFor(WAIT);
  await page.keyboard.press('Escape');
  await dialog.waitFor({...WAIT, state: 'detached'});
  await page.getByRole('button', {name: 'Revoke', exact: true}).click();
  await dialog.getByRole('button', {name: 'Revoke'}).click();
  await say('Revoked.');
  await page.locator('.title .badge.revoked').waitFor(WAIT);

  // A new task by keyboard: what is wrong is said beside its field, by the page and by the server.
  await visit(page, '/tasks?task=shop.mail');
  await page.getByRole('link', {name: 'New task…'}).click();
  await page.waitForURL('**/enqueue?task=shop.mail', WAIT);
  const wrong = (label, text) => page.waitForFunction(([name, words]) => {
    const control = [...document.querySelectorAll('.field')].find((one) => one.querySelector('label').textContent === name).querySelector('input, select, textarea');
    return control === document.activeElement && control.getAttribute('aria-invalid') === 'true'
      && document.getElementById(control.getAttribute('aria-describedby').split(' ')[0]).textContent.includes(words);
  }, [label, text], WAIT);
  await page.getByLabel('Task', {exact: true}).focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('[1,');
  await page.getByLabel('Queue', {exact: true}).fill('a b');
  await page.keyboard.press('Enter');
  await wrong('Args', 'this is no JSON');
  await page.getByLabel('Args', {exact: true}).fill('["by hand"]');
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await wrong('Queue', 'queue is a name of letters');
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await page.evaluate(poorContrasts), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/enqueue.png`});
  await page.getByLabel('Queue', {exact: true}).fill('slow');
  await page.getByText('More options').click();
  await page.getByLabel('Gives the key up after').fill('3600');
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await wrong('Unique key', 'belong to unique_key');
  await page.getByLabel('Unique key', {exact: true}).fill('by-hand');
  // The answer is lost: the same order again is the same task.
  await page.route('**/api/v1/enqueue/*', async (route) => {
    await route.fetch();
    await route.abort();
  }, {times: 1});
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await page.getByText('No answer has come.').waitFor(WAIT);
  complaints.length = 0;
  await page.getByRole('button', {name: 'Enqueue'}).click();
  await say('The task is enqueued.');
  await page.getByText('"by hand"').waitFor(WAIT);
  complaints.length = 0;

  // What waits for its time runs now.
  await visit(page, `/task/${facts.later}`);
  await page.getByRole('button', {name: 'Run now', exact: true}).click();
  await say('It runs now.');
  await page.getByText('Waits for a worker since').waitFor(WAIT);
  assert.equal(await page.getByRole('button', {name: 'Run now'}).count(), 0);

  // One that runs is terminated, after a question that says what that does and does not do.
  await visit(page, `/task/${facts.running}`);
  await page.getByRole('button', {name: 'Terminate', exact: true}).click();
  await dialog.getByText('What it did elsewhere is not undone.').waitFor(WAIT);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(await page.evaluate(poorContrasts), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/terminate.png`});
  await dialog.getByRole('button', {name: 'Cancel'}).click();
  await dialog.waitFor({...WAIT, state: 'detached'});
  assert.equal(await page.locator('.title .badge.started').count(), 1);
  await page.getByRole('button', {name: 'Terminate', exact: true}).click();
  await dialog.getByRole('button', {name: 'Terminate'}).click();
  await say('Terminated.');
  await page.locator('.title .badge.revoked').waitFor(WAIT);
  await page.getByText('its worker still runs it').waitFor(WAIT);
  await page.getByRole('button', {name: 'Terminate', exact: true}).waitFor(WAIT);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/terminated.png`});

  // A selection, then all that match: run again as new tasks, which leaves them as they are, and retried.
  await visit(page, '/tasks?state=FAILURE');
  await row(facts.dead[1]).getByRole('checkbox').check();
  await page.locator('.bar').getByRole('button', {name: 'Run again', exact: true}).click();
  assert.deepEqual(await findings(page), []);
  await dialog.getByRole('button', {name: 'Run again'}).click();
  await say('1 of 1 run again.');
  await page.getByRole('button', {name: 'Run again all that match'}).click();
  await dialog.getByText('run again as a new task').waitFor(WAIT);
  await dialog.getByRole('button', {name: 'Run again all'}).click();
  await say('3 tasks run again.');
  assert.equal(await rows(page).count(), 3);
  await row(facts.dead[1]).getByRole('checkbox').check();
  await page.locator('.bar').getByRole('button', {name: 'Retry', exact: true}).click();
  await say('1 of 1 retried.');
  await row(facts.dead[1]).waitFor({...WAIT, state: 'detached'});
  await page.getByRole('button', {name: 'Retry all that match'}).click();
  await dialog.getByRole('button', {name: 'Retry all'}).click();
  await say(/tasks retried/);
  await page.getByText('No task is like that.').waitFor(WAIT);

  // The dead by reason, and deleting them.
  await visit(page, '/dead');
  await page.getByText('No task is dead.').waitFor(WAIT);
  execFileSync('psql', ['-q', '-d', facts.database, '-v', 'ON_ERROR_STOP=1', '-c',
    "INSERT INTO jobs (id, task, state, attempt, finished_at, error) SELECT new_job_id(), 'shop.late', 'FAILURE', 1, now() - interval '1 s', 'no route to host' FROM generate_series(1, 3)"]);
  await page.getByText('no route to host').waitFor(WAIT);
  await page.getByRole('button', {name: 'Delete', exact: true}).click();
  await dialog.getByRole('button', {name: 'Delete for ever'}).click();
  await say('3 tasks deleted.');

  // A queue stops and goes on.
  await visit(page, '/queues');
  const mail = page.locator('tbody tr', {has: page.locator('a[href="/tasks?queue=mail"]')});
  await mail.getByRole('button', {name: 'Pause'}).click();
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor(WAIT);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.key), 'turn mail', 'the focus stays on the button');
  await page.keyboard.press('Enter');
  await mail.locator('.badge', {hasText: 'PAUSED'}).waitFor({...WAIT, state: 'detached'});

  // An order to a worker.
  await visit(page, '/worker/shop:1');
  await page.getByRole('button', {name: 'Grow'}).click();
  await say('Ordered: one slot more.');
  await page.getByRole('button', {name: 'Autoscale…'}).click();
  await dialog.getByRole('button', {name: 'Autoscale'}).click();
  await say('Ordered: autoscale.');

  // A limit is made, changed and taken away; how long a task may run is set.
  await visit(page, '/limits');
  await page.getByText('Nothing is limited').waitFor(WAIT);
  await page.getByRole('button', {name: 'New limit…'}).click();
  await dialog.locator('[name=name]').fill('mail');
  await dialog.locator('[name=concurrency]').fill('4');
  assert.deepEqual(await findings(page), []);
  await dialog.getByRole('button', {name: 'Set', exact: true}).click();
  await say('The limit of mail is set.');
  const limit = page.locator('tbody tr', {has: page.locator('a[href="/tasks?queue=mail"]')});
  await limit.getByRole('button', {name: 'Change…'}).click();
  assert.equal(await dialog.locator('[name=concurrency]').inputValue(), '4');
  await dialog.locator('[name=rate]').fill('30/m');
  await dialog.getByRole('button', {name: 'Set', exact: true}).click();
  await limit.getByText('30/m').waitFor(WAIT);
  await limit.getByRole('button', {name: 'Remove'}).click();
  await dialog.getByRole('button', {name: 'Take the limit away'}).click();
  await say('mail is not limited any more.');
  await page.getByText('Nothing is limited').waitFor(WAIT);
  const times = page.locator('tbody tr', {has: page.locator('a[href="/tasks?task=shop.mail"]')});
  await times.getByRole('button', {name: 'Change…'}).click();
  await dialog.locator('[name=soft]').fill('7.5');
  await dialog.getByRole('button', {name: 'Set', exact: true}).click();
  await times.getByText('7.50 s').waitFor(WAIT);

  // All of it is written down.
  await visit(page, '/audit');
  for (const action of ['limit.set', 'limit.delete', 'task.timeout', 'task.replay', 'task.run', 'task.terminate', 'task.retry', 'task.revoke', 'task.delete', 'queue.pause', 'queue.resume', 'worker.grow', 'worker.autoscale']) {
    await page.locator('tbody').getByRole('link', {name: action, exact: true}).first().waitFor(WAIT);
  }
  assert.deepEqual(await findings(page), []);
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/audit-full.png`});
  await check();
});
