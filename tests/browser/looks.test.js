// SPDX-License-Identifier: MIT
//
// How each page looks, wide and narrow, light and dark; and those that are empty.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {WAIT, facts, open, visit} from './chromium.js';
import {findings, longLabels, poorContrasts} from './judge.js';

test('looks', async () => {
  const paths = ['/', '/enqueue', '/workers', '/worker/shop:1', '/tasks', `/task/${facts.jobs.FAILURE}`, '/queues', '/broker', '/tasks?queue=none',
    '/tasks?state=FAILURE', '/limits', '/dead', '/schedules', '/schedule/nightly', '/schedule/yearly', '/flows', `/flow/${facts.flow}`, '/charts', '/audit'];
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

  // What differs from one error to the next is an asterisk, and the last of them is told as it was.
  const {page: dead, check: grouped} = await open();
  await visit(dead, '/dead');
  const same = dead.locator('tbody tr', {hasText: 'gateway answered after * ms to *.*.*.*:*'});
  assert.match(await same.textContent(), /last: gateway answered after (512|498) ms to 10\.0\.0\.7:443/);
  assert.equal((await same.locator('td[data-label="Dead"]').textContent()).trim(), '2');
  await same.getByRole('link', {name: 'gateway answered'}).click();
  await dead.waitForURL((url) => url.searchParams.get('search') === 'error:"gateway answered after"', WAIT);
  await grouped();

  // A schedule is shown with the time at which it really comes, and its tick beneath.
  const {page: plans, check: planned} = await open({colorScheme: 'light', timezoneId: 'UTC'});
  await visit(plans, '/schedules');
  const coming = plans.locator('td[data-label="Next"]');
  await coming.getByText('+ 40 min 10 s').waitFor(WAIT);
  assert.equal(Date.parse(await coming.locator('time').first().getAttribute('datetime')), Date.parse('2126-11-23T07:10:10Z'));
  assert.match(await plans.locator('tbody').textContent(), /queue mail.*jitter 1 h/);
  // One that was taken out of the file while it was paused is there until that is forgotten.
  const gone = plans.locator('tbody tr', {hasText: 'yearly'});
  assert.match(await gone.textContent(), /REMOVED.*by anna; not in the file any more, and paused when it comes back/);
  await gone.getByRole('button', {name: 'Forget its pause'}).click();
  await gone.waitFor({...WAIT, state: 'detached'});
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

// Paper is light, whatever the screen is, and has nothing to press.
test('print', async () => {
  const {page, check} = await open({colorScheme: 'dark'});
  for (const path of ['/', '/tasks', `/task/${facts.jobs.FAILURE}`, '/queues', '/charts', '/audit']) {
    await visit(page, path);
    await page.emulateMedia({media: 'print'});
    assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), 'light', path);
    assert.deepEqual(await page.evaluate(poorContrasts), [], path);
    assert.equal(await page.locator('button:visible, input:visible, header nav:visible').count(), 0, path);
    if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/print${path.replaceAll(/[^a-z]+/g, '-').slice(0, 12)}.png`});
    await page.emulateMedia({media: 'screen'});
  }
  await check();
});

// Where the system chooses the colours, its colours of what is chosen tell which page and which filter it is.
test('forced', async () => {
  const {page, check} = await open({forcedColors: 'active'});
  await visit(page, '/tasks?state=FAILURE');
  const links = await page.locator('.top nav a, .states a').evaluateAll((all) => all.map((link) =>
    [link.hasAttribute('aria-current'), getComputedStyle(link).backgroundColor, getComputedStyle(link).color]));
  const looks = (isCurrent) => new Set(links.filter(([current]) => current === isCurrent).map(([, ...colours]) => colours.join()));
  assert.equal(links.filter(([current]) => current).length, 2);
  assert.equal(looks(true).size, 1);
  assert.ok(!looks(false).has([...looks(true)][0]));
  if (process.env.TILL_SHOTS) await page.screenshot({path: `${process.env.TILL_SHOTS}/forced.png`});
  await check();
});
