/* SPDX-License-Identifier: MIT
 *
 * Which page a path shows. Links within the dashboard are followed without loading anew; the
 * address always says what is shown, so reloading and sharing work.
 */
import {leavePage} from './api.js';
import {h} from './dom.js';
import {tick} from './format.js';
import {showQueues} from './queues.js';
import {showTask} from './task.js';
import {showTasks} from './tasks.js';
import {showWorker, showWorkers} from './workers.js';

/* A page gets its root, what the path holds, and go(); it fills the root and follows the server. */
const pages = [
  [/^\/$/, showWorkers, 'Workers', '/workers'],
  [/^\/workers$/, showWorkers, 'Workers', '/workers'],
  [/^\/worker\/([^/]+)$/, showWorker, 'Worker', '/workers'],
  [/^\/tasks$/, showTasks, 'Tasks', '/tasks'],
  [/^\/task\/([^/]+)$/, showTask, 'Task', '/tasks'],
  [/^\/queues$/, showQueues, 'Queues', '/queues'],
];

const main = document.getElementById('main');

function showUnknown(root) {
  root.append(h('h1', {}, 'No such page'), h('p', {}, h('a', {href: '/'}, 'To the overview')));
}

function show() {
  leavePage();
  main.replaceChildren();
  const path = location.pathname;
  const [pattern, page, title, section] = pages.find(([p]) => p.test(path)) ?? [/(?:)/, showUnknown, 'Not found', ''];
  const parameters = pattern.exec(path).slice(1).map(decodeURIComponent);
  document.title = `${title} · Till`;
  for (const link of document.querySelectorAll('header nav a')) {
    if (link.getAttribute('href') === section) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  page(main, parameters, go);
}

/* Shows another address of the dashboard; `replace` keeps it out of the history. */
export function go(url, {replace = false} = {}) {
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
  show();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.hash || !pages.some(([p]) => p.test(link.pathname))) return;
  event.preventDefault();
  const same = link.pathname === location.pathname;
  go(link.href);
  /* A reader's place: the new page from its top; a filter keeps it. */
  if (!same) {
    scrollTo(0, 0);
    main.focus({preventScroll: true});
  }
});

addEventListener('popstate', show);
setInterval(tick, 1000);
show();
