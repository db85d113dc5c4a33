/* SPDX-License-Identifier: MIT
 *
 * Which page a path shows. Links within the dashboard are followed without loading anew; the
 * address always says what is shown, so reloading and sharing work.
 */
import {ApiError, get, leavePage, post, whenLoggedOut} from './api.js';
import {showAudit} from './audit.js';
import {showBroker} from './broker.js';
import {showCharts} from './charts.js';
import {showDead} from './dead.js';
import {closeDialogs, me} from './desk.js';
import {h, prefix} from './dom.js';
import {showEnqueue} from './enqueue.js';
import {showFlow, showFlows} from './flows.js';
import {tick} from './format.js';
import {showLimits} from './limits.js';
import {logInAgain, showLogin} from './login.js';
import {showQueues} from './queues.js';
import {showSchedule, showSchedules} from './schedules.js';
import {showTask} from './task.js';
import {showTasks} from './tasks.js';
import {showWorker, showWorkers} from './workers.js';

/* A page gets its root, what the path holds, and go(); it fills the root and follows the server. */
const pages = [
  [/^\/$/, showWorkers, 'Workers', '/workers'],
  [/^\/workers$/, showWorkers, 'Workers', '/workers'],
  [/^\/worker\/([^/]+)$/, showWorker, 'Worker', '/workers'],
  [/^\/tasks$/, showTasks, 'Tasks', '/tasks'],
  [/^\/enqueue$/, showEnqueue, 'New task', '/tasks'],
  [/^\/task\/([^/]+)$/, showTask, 'Task', '/tasks'],
  [/^\/queues$/, showQueues, 'Queues', '/queues'],
  [/^\/broker$/, showBroker, 'Broker', '/queues'],
  [/^\/dead$/, showDead, 'Dead tasks', '/dead'],
  [/^\/schedules$/, showSchedules, 'Schedules', '/schedules'],
  [/^\/schedule\/([^/]+)$/, showSchedule, 'Schedule', '/schedules'],
  [/^\/flows$/, showFlows, 'Flows', '/flows'],
  [/^\/flow\/([^/]+)$/, showFlow, 'Flow', '/flows'],
  [/^\/charts$/, showCharts, 'Charts', '/charts'],
  [/^\/limits$/, showLimits, 'Limits', '/limits'],
  [/^\/audit$/, showAudit, 'Audit log', '/audit'],
  [/^\/login$/, showLogin, 'Log in', ''],
];

/* The path of an address within the dashboard, whatever a proxy has put before it. */
const inner = (pathname) => (prefix && pathname.startsWith(prefix) ? pathname.slice(prefix.length) || '/' : pathname);

const main = document.getElementById('main');

function showUnknown(root) {
  root.append(h('h1', {}, 'No such page'), h('p', {}, h('a', {href: '/'}, 'To the overview')));
}

function show() {
  leavePage();
  closeDialogs();
  /* A root of its own: what a page left behind still awaits is drawn where nobody sees it. */
  const root = h('div', {});
  main.replaceChildren(root);
  const path = inner(location.pathname);
  const [pattern, page, title, section] = pages.find(([p]) => p.test(path)) ?? [/(?:)/, showUnknown, 'Not found', ''];
  const parameters = pattern.exec(path).slice(1).map(decodeURIComponent);
  document.title = `${title} · Till`;
  for (const link of document.querySelectorAll('header nav a')) {
    if (link.getAttribute('href') === prefix + section) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  page(root, parameters, go);
}

/* The way back leads to the place that one has left. What a page shows comes after the page: only once it is
   long enough can it have its place again, unless somebody has moved meanwhile. */
let place = 0;
let timer;

function keepPlace() {
  clearTimeout(timer);
  if (!place) history.replaceState({y: scrollY}, '');
}

function reachPlace() {
  if (!place || document.documentElement.scrollHeight - innerHeight < place) return;
  scrollTo(0, place);
  place = 0;
}

function showFromHistory(state) {
  clearTimeout(timer);
  place = state?.y ?? 0;
  show();
}

/* Gives the focus to what is now in the place of `before`: the field of the same id, the link that leads to the same. */
function focusAgain(before) {
  const href = before.getAttribute('href');
  const again = before.id ? document.getElementById(before.id) : [...main.querySelectorAll('a[href]')].find((link) => link.getAttribute('href') === href);
  again?.focus({preventScroll: true});
  if (again?.type === 'search') again.setSelectionRange(again.value.length, again.value.length);
}

/* Shows another address of the dashboard; `replace` keeps it out of the history. A filter keeps the focus. */
export function go(url, {replace = false} = {}) {
  keepPlace();
  place = 0;
  const own = url.startsWith('/') ? prefix : '';
  const [path, focused] = [location.pathname, document.activeElement];
  const isWithin = main !== focused && main.contains(focused);
  history[replace ? 'replaceState' : 'pushState'](null, '', own + url);
  show();
  if (isWithin && path === location.pathname) focusAgain(focused);
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.hash || !pages.some(([p]) => p.test(inner(link.pathname)))) return;
  event.preventDefault();
  const same = link.pathname === location.pathname;
  go(link.href);
  /* A reader's place: the new page from its top; a filter keeps it. */
  if (!same) {
    scrollTo(0, 0);
    main.focus({preventScroll: true});
  }
});

whenLoggedOut(() => me.logged_in && logInAgain(me));

async function logOut() {
  leavePage();
  me.logged_in = false;
  await post('/api/v1/logout').catch(() => null);
  location.assign(`${prefix}/login`);
}

/* Who is here, and what they may do, before the first page asks for it. */
async function meet() {
  try {
    Object.assign(me, await get('/api/v1/me'));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) Object.assign(me, {name: '', role: 'viewer'});
    return;
  }
  const who = document.getElementById('who');
  who.hidden = me.name === 'local' && !me.read_only;
  who.append(me.name, h('span', {class: 'role'}, me.read_only ? 'read-only' : me.role),
    ...(me.logged_in ? [h('button', {type: 'button', class: 'small', on: {click: logOut}}, 'Log out')] : []));
}

history.scrollRestoration = 'manual';
addEventListener('popstate', (event) => showFromHistory(event.state));
addEventListener('scroll', () => {
  clearTimeout(timer);
  timer = setTimeout(keepPlace, 100);
}, {passive: true});
for (const moved of ['wheel', 'touchmove', 'keydown', 'pointerdown']) addEventListener(moved, () => { place = 0; }, {passive: true});
new ResizeObserver(reachPlace).observe(main);
setInterval(tick, 1000);
if (inner(location.pathname) !== '/login') await meet();
else document.querySelector('header nav').hidden = true;
showFromHistory(history.state);
