// SPDX-License-Identifier: MIT
//
// Walks the dashboard in Chromium. test_dashboard_pages.py puts the rows in, starts the dashboard and
// runs one test of these by its name; facts come as JSON in TILL_FACTS.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {after, before, test} from 'node:test';
import {chromium} from 'playwright-core';

const facts = JSON.parse(process.env.TILL_FACTS);
const WAIT = {timeout: 20000};
let browser;

before(async () => {
  browser = await chromium.launch({
    executablePath: process.env.TILL_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
  });
});
after(() => browser.close());

// A page whose complaints and requests to others are kept; `check` ends the test with them.
async function open(options = {}) {
  const context = await browser.newContext({viewport: {width: 1440, height: 900}, ...options});
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== facts.url) complaints.push(`request to ${request.url()}`);
  });
  const check = async () => {
    assert.deepEqual(complaints, []);
    await context.close();
  };
  return {page, check, complaints};
}

async function visit(page, path) {
  await page.goto(facts.url + path);
  await page.waitForSelector('#live[data-state="live"]', WAIT);
}

const rows = (page) => page.locator('table tbody tr');
const names = (page) => page.locator('tbody td.name').allTextContents();

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

// Contrast of every text with what is behind it, by WCAG 2's formula.
function poorContrasts() {
  const canvas = document.createElement('canvas');
  const brush = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = color;
    brush.fillRect(0, 0, 1, 1);
    return brush.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.textContent.trim() || !owner.checkVisibility() || owner.closest('.unseen, .skip, noscript, option')) continue;
    let behind = owner;
    while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const back = light(behind ? rgba(getComputedStyle(behind).backgroundColor) : [255, 255, 255]);
    const front = light(rgba(getComputedStyle(owner).color));
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${owner.className} ${node.textContent.slice(0, 30)}`);
  }
  return poor;
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// What axe finds on the page as it is, one line a finding.
async function findings(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => (await window.axe.run(document, {resultTypes: ['violations']})).violations
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`));
}

// Labels of cards, which stand left of their values where there is no room for a table, that are longer than their place.
function longLabels() {
  const brush = document.createElement('canvas').getContext('2d');
  return [...new Set([...document.querySelectorAll('.cards td[data-label]')].filter((cell) => {
    const before = getComputedStyle(cell, '::before');
    brush.font = before.font;
    return before.position === 'absolute' && before.display !== 'none' && brush.measureText(cell.dataset.label).width > parseFloat(getComputedStyle(cell).paddingLeft);
  }).map((cell) => cell.dataset.label))];
}

test('looks', async () => {
  const paths = ['/', '/enqueue', '/workers', '/worker/shop:1', '/tasks', `/task/${facts.jobs.FAILURE}`, '/queues', '/broker', '/tasks?queue=none',
    '/tasks?state=FAILURE', '/limits', '/dead', '/schedules', '/schedule/nightly', '/flows', `/flow/${facts.flow}`, '/charts', '/audit'];
  for (const colorScheme of ['light', 'dark']) {
    for (const width of colorScheme === 'light' ? [360, 768, 1440, 2560] : [360, 1440]) {
      const {page, check} = await open({colorScheme, viewport: {width, height: 800}, reducedMotion: 'reduce'});
      for (const path of paths) {
        await visit(page, path);
        const where = `${path} ${colorScheme} ${width}`;
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(over, 0, `${where} scrolls sideways`);
        const cut = await page.evaluate(() => [...document.querySelectorAll('.table-box')]
          .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.textContent.slice(0, 40)));
        assert.deepEqual(await page.evaluate(longLabels), [], `${where}: a label lies on its value`);
        if (width >= 1440) assert.deepEqual(cut, [], `${where}: a table is cut off`);
        assert.deepEqual(await page.evaluate(poorContrasts), [], where);
        assert.equal(await page.locator('h1').count(), 1, where);
        const unnamed = await page.evaluate(() => [...document.querySelectorAll('button, a, input, select')].filter((node) =>
          !node.textContent.trim() && !node.getAttribute('aria-label') && !node.labels?.length).length);
        assert.equal(unnamed, 0, `${where}: a control without a name`);
        const ids = await page.evaluate(() => [...document.querySelectorAll('[id]')].map((node) => node.id));
        assert.equal(new Set(ids).size, ids.length, where);
        if (width === 360 || width === 1440) assert.deepEqual(await findings(page), [], where);
        if (process.env.TILL_SHOTS && (width === 360 || width === 1440)) await page.screenshot({path: `${process.env.TILL_SHOTS}/${where.replaceAll(/[^a-z0-9]+/gi, '-')}.png`});
      }
      await check();
    }
  }

  // A schedule is shown with the time at which it really comes, and its tick beneath.
  const {page: plans, check: planned} = await open({colorScheme: 'light', timezoneId: 'UTC'});
  await visit(plans, '/schedules');
  const coming = plans.locator('td[data-label="Next"]');
  await coming.getByText('+ 40 min 10 s').waitFor(WAIT);
  assert.equal(Date.parse(await coming.locator('time').first().getAttribute('datetime')), Date.parse('2126-11-23T07:10:10Z'));
  assert.match(await plans.locator('tbody').textContent(), /queue mail.*jitter 1 h/);
  await visit(plans, '/schedule/nightly');
  const fields = plans.locator('dl.fields');
  await fields.getByText('2126-11-23 07:10:10').waitFor(WAIT);
  await fields.getByText(/tick 2126-11-23 06:30:00.*\+ 40 min 10 s/).waitFor(WAIT);
  await fields.getByText('up to 1 h after its tick').waitFor(WAIT);
  await fields.getByText('the last run of the past 1 d').waitFor(WAIT);
  await planned();

  // From a task of a flow to the flow, and back.
  const {page: chain, check: linked} = await open();
  await visit(chain, `/flow/${facts.flow}`);
  await chain.locator('tbody tr').last().getByRole('link').click();
  await chain.getByText('Waits for others of its flow').waitFor(WAIT);
  await chain.getByText('step 2, waits for those before it').waitFor(WAIT);
  await chain.getByRole('link', {name: facts.flow}).click();
  await chain.getByRole('heading', {name: 'two steps'}).waitFor(WAIT);
  await linked();

  // The visitor's own choice is kept, whatever the system says.
  const {page, check} = await open({colorScheme: 'light'});
  await visit(page, '/tasks?state=PENDING');
  await page.getByText('waits for its turn').first().waitFor(WAIT);
  assert.doesNotMatch(await page.locator('main').innerText(), /runs .* ago/);
  await visit(page, '/');
  const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
  assert.equal(await theme(), 'light');
  await page.getByRole('button', {name: 'Switch between light and dark'}).click();
  assert.equal(await theme(), 'dark');
  await page.reload();
  assert.equal(await theme(), 'dark');

  // By keyboard: the first stop is the way past the navigation, and where one is can be seen.
  await visit(page, '/tasks');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
  await page.keyboard.press('Tab');
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle), 'none');
  await check();
});

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

test('empty', async () => {
  const {page, check} = await open();
  await visit(page, '/workers');
  await page.getByText('till-worker', {exact: true}).waitFor(WAIT);
  await visit(page, '/tasks');
  await page.getByText('No task has been enqueued yet.').waitFor(WAIT);
  await page.getByText('Fast tasks that succeed leave no row').waitFor(WAIT);
  await visit(page, '/tasks?state=FAILURE');
  await page.getByText('No task is like that.').waitFor(WAIT);
  assert.equal(await page.getByText('Fast tasks').count(), 0);
  await visit(page, '/queues');
  await page.getByText('There is no queue yet.').waitFor(WAIT);
  await visit(page, '/tasks?state=FAILURE');
  await page.getByRole('link', {name: 'Show all tasks'}).click();
  await page.waitForURL('**/tasks', WAIT);
  await check();

  const other = await open();
  await other.page.goto(`${facts.url}/task/00000000-0000-7000-8000-000000000000`);
  await other.page.getByRole('heading', {name: 'No such task'}).waitFor(WAIT);
});

test('password', async () => {
  const {page, check} = await open({httpCredentials: {username: facts.user, password: facts.password}});
  for (const path of ['/', '/tasks', '/queues']) await visit(page, path);
  await check();
  const stranger = await open();
  // Without credentials there is no page: Chromium would ask for them, and has nobody to ask.
  await assert.rejects(stranger.page.goto(`${facts.url}/tasks`), /ERR_INVALID_AUTH_CREDENTIALS/);
});

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
  const other = await chromium.launch({
    executablePath: process.env.TILL_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--host-resolver-rules=MAP shop.test 127.0.0.1'],
  });
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
  await now.page.clock.setFixedTime(new Date('2026-05-05T12:05:00Z'));
  await now.page.route(/\/api\/v1\/charts/, (route) => route.fulfill({json: {range: 'day', queue: '', minutes: 1440, step: 15, points}}));
  await now.page.goto(`${facts.url}/charts?range=day`);
  await now.page.locator('figure svg path.line').first().waitFor(WAIT);
  assert.match(await now.page.locator('figure svg').first().getAttribute('aria-label'), /succeeded: at most 60, last 60;/);
  await now.check();
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
