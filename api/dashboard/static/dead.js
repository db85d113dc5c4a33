/* SPDX-License-Identifier: MIT
 *
 * Dead tasks by what they died of: each kind can be run again, or deleted, as a whole.
 */
import {follow, get, refresh} from './api.js';
import {ask, button, orderAll} from './desk.js';
import {cell, dotted, h, table, update} from './dom.js';
import {count, time} from './format.js';

const COLUMNS = [['Task'], ['Reason'], ['Dead', 'number'], ['First'], ['Last'], ['Actions']];

/* Grouping looks through many rows, so it is done less often than other pages ask. */
const INTERVAL_MS = 10000;
let due = 0;

async function change(group, action, what) {
  await orderAll('/api/v1/dead', {action, task: group.task, reason: group.reason}, what);
  due = 0;
  refresh();
}

async function remove(group) {
  const sure = await ask({title: `Delete ${count(group.count)} dead tasks?`, danger: true, yes: 'Delete for ever',
    text: `${group.task}: ${group.shown}. They and their errors are gone then; this cannot be undone.`});
  if (sure) await change(group, 'delete', 'deleted');
}

/* The list of those whose error has it: by the longest part of the reason that a search can ask for as it is. */
function listOf({task, shown}) {
  const [part] = shown.split(/["\\\n\r\t…*]|\[redacted\]/).map((one) => one.trim()).sort((a, b) => b.length - a.length);
  return `/tasks?${new URLSearchParams({state: 'FAILURE', task, ...(part.length >= 3 ? {search: `error:"${part.slice(0, 200)}"`} : {})})}`;
}

function row(group) {
  const key = `${group.task} ${group.reason}`;
  return h('tr', {'data-key': key},
    cell('Task', 'name', h('a', {href: `/tasks?${new URLSearchParams({state: 'FAILURE', task: group.task})}`}, dotted(group.task))),
    cell('Reason', 'reason bad', group.shown ? h('a', {href: listOf(group), class: 'bad', title: 'Those whose error has this'}, group.shown) : '–',
      group.last_error === group.shown ? null : h('span', {class: 'sub'}, 'last: ', group.last_error)),
    cell('Dead', 'number', count(group.count)),
    cell('First', 'nowrap', time(group.first_at)),
    cell('Last', 'nowrap', h('a', {href: `/task/${group.last_id}`}, time(group.last_at))),
    cell('Actions', 'acts', button('Retry', {key: `retry ${key}`, run: () => change(group, 'retry', 'retried')}),
      button('Delete', {key: `delete ${key}`, role: 'admin', danger: true, run: () => remove(group)})));
}

export function showDead(root) {
  const content = h('div', {});
  let last = '';
  root.append(h('h1', {}, 'Dead tasks'),
    h('p', {class: 'lead'}, 'Tasks that failed for good, by what they died of. Retrying gives each the attempts of its task again.'), content);
  due = 0;
  follow(async () => {
    if (performance.now() < due) return;
    const {groups} = await get('/api/v1/dead');
    due = performance.now() + INTERVAL_MS;
    const text = JSON.stringify(groups);
    if (text === last) return;
    last = text;
    const box = table('Dead tasks by reason', COLUMNS, h('tbody', {}, groups.map(row)));
    box.classList.add('cards');
    update(content, [groups.length ? box
      : h('div', {class: 'empty'}, h('p', {}, 'No task is dead.'), h('p', {}, 'What fails for good will be listed here, with a button to run it again.'))]);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
