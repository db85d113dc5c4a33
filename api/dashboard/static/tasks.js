/* SPDX-License-Identifier: MIT
 *
 * The list of tasks: filters in the address, pages by cursor, rows kept fresh by the feed.
 */
import {follow, get} from './api.js';
import {arrange, cell, dotted, h, table} from './dom.js';
import {badge, duration, sum, time, value} from './format.js';

const STATES = ['PENDING', 'STARTED', 'RETRY', 'FAILURE', 'SUCCESS', 'REVOKED'];
const FILTERS = ['state', 'task', 'queue', 'worker', 'text', 'order', 'cursor'];
const COLUMNS = [
  ['Name'], ['UUID'], ['State'], ['Args'], ['Kwargs'], ['Result'], ['Received'], ['Started'],
  ['Runtime', 'number'], ['Worker'],
];

const current = () => {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? '']));
};

/* The address of this list with some filters changed; any but the cursor begins at the first page. */
function address(changes) {
  const query = new URLSearchParams();
  for (const [name, text] of Object.entries({...current(), cursor: '', ...changes})) if (text) query.set(name, text);
  return query.size ? `/tasks?${query}` : '/tasks';
}

/* When a task that waits for its time will run. */
function waits(task) {
  if (task.enqueued_at || (task.state !== 'PENDING' && task.state !== 'RETRY')) return null;
  return h('span', {class: 'sub'}, 'runs ', time(task.scheduled_at));
}

/* One line of it, all of it on hover; nothing for nothing. */
function clipped(text) {
  return text === '' ? null : h('span', {title: text}, text);
}

function outcome(task) {
  const failed = task.error && task.state !== 'SUCCESS';
  const text = failed ? task.error : value(task.result, task.result_bytes);
  return cell('Result', failed ? 'clip wide bad' : 'clip wide code', clipped(text));
}

function row(task) {
  const args = value(task.args, task.args_bytes);
  const kwargs = value(task.kwargs, task.kwargs_bytes);
  return h('tr', {},
    cell('Name', 'name', h('a', {href: `/task/${task.id}`}, dotted(task.task))),
    cell('UUID', 'code uuid', h('a', {href: `/task/${task.id}`, title: task.id, tabindex: '-1'}, task.id)),
    cell('State', 'state', badge(task.state), waits(task),
      task.attempt > 1 ? h('span', {class: 'sub'}, `attempt ${task.attempt} of ${task.max_attempts}`) : null),
    cell('Args', 'clip code', clipped(args)),
    cell('Kwargs', 'clip code', clipped(kwargs)),
    outcome(task),
    cell('Received', 'nowrap', time(task.created_at)),
    cell('Started', 'nowrap', time(task.started_at)),
    cell('Runtime', 'number', duration(task.runtime)),
    cell('Worker', 'nowrap', task.worker ? h('a', {href: `/worker/${encodeURIComponent(task.worker)}`}, task.worker) : h('span', {class: 'dim'}, '–')));
}

function stateLinks(filter) {
  const links = new Map();
  const group = h('nav', {class: 'states', 'aria-label': 'State'});
  for (const state of ['', ...STATES]) {
    const number = h('span', {class: 'n'}, '');
    links.set(state, number);
    group.append(h('a', {href: address({state}), class: state.toLowerCase(), 'aria-current': filter.state === state ? 'true' : null},
      state ? state[0] + state.slice(1).toLowerCase() : 'All', number));
  }
  return {group, show: (summary) => {
    links.get('').textContent = sum(summary.total);
    for (const state of STATES) links.get(state).textContent = sum(summary.states[state]);
  }};
}

function filterForm(filter, go) {
  const task = h('select', {name: 'task', id: 'f-task'}, h('option', {value: ''}, 'Every task'));
  const text = h('input', {type: 'search', name: 'text', id: 'f-text', value: filter.text, maxlength: '36', placeholder: 'Any part of an id', autocomplete: 'off', spellcheck: 'false'});
  const order = h('select', {name: 'order', id: 'f-order'}, h('option', {value: ''}, 'Newest first'), h('option', {value: 'oldest'}, 'Oldest first'));
  const apply = () => go(address({task: task.value, text: text.value.trim(), order: order.value}));
  const form = h('form', {class: 'filters', role: 'search', on: {submit: (event) => {
    event.preventDefault();
    apply();
  }}},
  h('label', {for: 'f-task'}, 'Task', task),
  h('label', {for: 'f-text', class: 'wide'}, 'UUID', text),
  h('label', {for: 'f-order'}, 'Order', order),
  h('button', {type: 'submit'}, 'Filter'),
  ...['queue', 'worker'].filter((name) => filter[name]).map((name) =>
    h('a', {class: 'chip', href: address({[name]: ''}), 'aria-label': `Remove the filter ${name} ${filter[name]}`},
      `${name}: ${filter[name]}`, h('span', {'aria-hidden': 'true'}, '×'))));
  order.value = filter.order;
  task.addEventListener('change', apply);
  order.addEventListener('change', apply);

  const fill = (names) => {
    const all = filter.task && !names.includes(filter.task) ? [filter.task, ...names] : names;
    task.append(...all.map((name) => h('option', {value: name}, name)));
    task.value = filter.task;
  };
  return {form, fill};
}

function emptyText(filter, answer) {
  if (answer.is_cut) return 'Nothing among the tasks that were looked through so far.';
  if (FILTERS.some((name) => filter[name])) return 'No task is like that.';
  return 'No task has been enqueued yet.';
}

function emptyHint(filter, answer) {
  if (answer.is_cut) return null;
  if (FILTERS.some((name) => filter[name])) return h('p', {}, h('a', {href: '/tasks'}, 'Show all tasks'));
  return h('p', {}, 'Try one: ', h('code', {}, 'till enqueue till.tasks.noop'));
}

function pager(filter, answer) {
  const further = answer.is_cut ? 'Search further' : filter.order === 'oldest' ? 'Newer' : 'Older';
  return h('nav', {class: 'pager', 'aria-label': 'Pages'},
    filter.cursor ? h('a', {class: 'button', href: address({})}, 'First page') : null,
    answer.next ? h('a', {class: 'button', rel: 'next', href: address({cursor: answer.next})}, further) : null,
    answer.is_cut ? h('span', {class: 'dim'}, 'One search looks through 20,000 tasks.') : null);
}

export function showTasks(root, _, go) {
  const filter = current();
  const states = stateLinks(filter);
  const form = filterForm(filter, go);
  const body = h('tbody', {});
  const box = table('Tasks', COLUMNS, body);
  const under = h('div', {});
  const held = new Map(); /* id -> {row} */
  let since = '';
  let rounds = 0;

  box.classList.add('cards', 'tasks');
  root.append(h('h1', {}, 'Tasks'), states.group, form.form, box, under);

  follow(async () => {
    /* Counts cost more than rows and are less urgent. */
    const [answer, summary] = await Promise.all([
      get('/api/v1/tasks', {...filter, since}),
      rounds++ % 3 === 0 ? get('/api/v1/summary') : null,
    ]);
    const first = since === '';
    since = answer.since || '-';
    for (const task of answer.tasks) {
      const made = row(task);
      if (!first) made.classList.add('fresh');
      held.set(task.id, made);
    }
    /* A row that the server takes us to have and we have not: begin anew. */
    if (answer.ids.some((id) => !held.has(id))) {
      since = '';
      return;
    }
    arrange(body, answer.ids.map((id) => held.get(id)));
    for (const id of held.keys()) if (!answer.ids.includes(id)) held.delete(id);
    box.hidden = answer.ids.length === 0;
    under.replaceChildren(
      ...(answer.ids.length === 0 ? [h('div', {class: 'empty'}, h('p', {}, emptyText(filter, answer)), emptyHint(filter, answer) ?? '')] : []),
      pager(filter, answer));
    if (summary) states.show(summary);
  }, (error) => {
    box.hidden = true;
    under.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message));
  });

  get('/api/v1/task-names').then((answer) => form.fill(answer.names), () => form.fill([]));
}
