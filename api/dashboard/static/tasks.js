/* SPDX-License-Identifier: MIT
 *
 * The list of tasks: filters in the address, pages by cursor, rows kept fresh by the feed.
 */
import {follow, get} from './api.js';
import {ask, button, cameOf, may, order, orderAll, orderName} from './desk.js';
import {arrange, become, cell, dotted, h, table, update} from './dom.js';
import {age, badge, count, duration, now, sum, time, value} from './format.js';
import {FILTERS, WANTED, address, current, filterForm} from './task_filters.js';

const STATES = ['PENDING', 'STARTED', 'RETRY', 'FAILURE', 'SUCCESS', 'REVOKED'];
const COLUMNS = [
  ['Name'], ['UUID'], ['State'], ['Args'], ['Kwargs'], ['Result'], ['Received'], ['Started'],
  ['Runtime', 'number'], ['Worker'],
];

/* So many parts are looked through without being asked for, while nothing is found. */
const PARTS_MAX = 20;

const HELD = {flow: 'waits for its turn in its flow', limit: 'waits for its turn under a limit'};

/* When a task that waits for its time will run, or what else it waits for. */
function waits(task) {
  if (task.enqueued_at || (task.state !== 'PENDING' && task.state !== 'RETRY')) return null;
  if (task.held_by) return h('span', {class: 'sub'}, HELD[task.held_by]);
  if (Date.parse(task.scheduled_at) <= now()) return h('span', {class: 'sub'}, 'waits for its turn');
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

function row(task, pick) {
  const args = value(task.args, task.args_bytes);
  const kwargs = value(task.kwargs, task.kwargs_bytes);
  const box = h('input', {type: 'checkbox', 'aria-label': `Select ${task.task} ${task.id}`, value: task.id, on: {change: ({currentTarget}) => pick(task.id, currentTarget.checked)}});
  return h('tr', {},
    may('operator') ? h('td', {class: 'pick'}, box) : null,
    cell('Name', 'name', h('a', {href: `/task/${task.id}`}, dotted(task.task)), task.limit_key ? h('span', {class: 'sub'}, 'limit key ', task.limit_key) : null),
    cell('UUID', 'code uuid', h('a', {href: `/task/${task.id}`, title: task.id, tabindex: '-1'}, task.id)),
    cell('State', 'state', badge(task.state), waits(task),
      task.attempt > 1 ? h('span', {class: 'sub'}, `attempt ${task.attempt} of ${task.max_attempts}`) : null),
    cell('Args', 'clip code', clipped(args)),
    cell('Kwargs', 'clip code', clipped(kwargs)),
    outcome(task),
    cell('Received', 'nowrap', time(task.created_at)),
    cell('Started', 'nowrap', time(task.started_at)),
    cell('Runtime', 'number', task.state === 'STARTED' ? age(task.started_at) : duration(task.runtime)),
    cell('Worker', 'nowrap', task.worker ? h('a', {href: `/worker/${encodeURIComponent(task.worker)}`}, task.worker) : h('span', {class: 'dim'}, '–')));
}

/* Shows that it is new, or has changed, also when it did so a moment ago. */
function flash(node) {
  node.classList.remove('fresh');
  void node.offsetWidth;
  node.classList.add('fresh');
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

function emptyText(filter, answer) {
  if (answer.is_cut) return `Nothing among the tasks that were looked through so far${filter.cursor ? '' : `, ${PARTS_MAX} parts`}.`;
  if (answer.sorted_of && (filter.state || filter.queue || filter.worker || filter.task)) return `No task among the newest ${count(answer.sorted_of)} is like that: by running time no others are looked at.`;
  if (filter.order === 'due') return 'No task that is like that waits for its time.';
  if (FILTERS.some((name) => filter[name])) return 'No task is like that.';
  return 'No task has been enqueued yet.';
}

/* Looking for what succeeded, one may well look for what has no row. */
function fastHint(filter) {
  if (filter.state && filter.state !== 'SUCCESS') return null;
  return h('p', {class: 'sub'}, 'Fast tasks that succeed leave no row, so they are in no list: ', h('a', {href: '/workers'}, 'workers'), ' count them by task, ',
    h('a', {href: '/charts'}, 'charts'), ' by minute. The first failure makes a row of one.');
}

function emptyHint(filter, answer) {
  if (answer.is_cut) return [];
  return [FILTERS.some((name) => filter[name]) ? h('p', {}, h('a', {href: '/tasks'}, 'Show all tasks'))
    : h('p', {}, 'Try one: ', h('code', {}, 'till enqueue till.tasks.noop')),
  fastHint(filter)];
}

function pager(filter, answer) {
  const further = answer.is_cut ? 'Search further' : {oldest: 'Newer', due: 'Later', slowest: 'Faster', fastest: 'Slower'}[filter.order] ?? 'Older';
  return h('nav', {class: 'pager', 'aria-label': 'Further pages'},
    filter.cursor ? h('a', {class: 'button', href: address({})}, 'First page') : null,
    answer.next ? h('a', {class: 'button', rel: 'next', href: address({cursor: answer.next})}, further) : null,
    answer.is_cut ? h('span', {class: 'dim'}, filter.order === 'due' ? 'Each look goes through the next 3,000 that are due.' : 'One look goes through 20,000 tasks at most.') : null,
    answer.sorted_of ? h('span', {class: 'dim'}, `By running time among the newest ${count(answer.sorted_of)} that may be meant.`) : null);
}

/* What can be done to tasks in a state, and what is said of it. */
const ACTIONS = [
  ['retry', 'Retry', 'retried', ['FAILURE', 'REVOKED'], 'operator'],
  ['replay', 'Run again', 'run again', ['SUCCESS', 'FAILURE', 'REVOKED'], 'operator'],
  ['run', 'Run now', 'run now', ['PENDING', 'RETRY'], 'operator'],
  ['revoke', 'Revoke', 'revoked', ['PENDING', 'RETRY'], 'operator'],
  ['terminate', 'Terminate', 'terminated', ['STARTED'], 'operator'],
  ['delete', 'Delete', 'deleted', ['FAILURE'], 'admin'],
];

/* What cannot be undone is asked before. */
const SURE = {
  terminate: 'Nothing of their attempts is committed to the database. What they did elsewhere is not undone.',
  delete: 'They and their errors are gone then; this cannot be undone.',
};

/* The bar for what is selected, and for all that match. `ids` gives the selection. */
function actionBar(filter, ids, clear) {
  const number = h('span', {class: 'chosen', role: 'status'}, '');
  const replayed = 'Each is run again as a new task with the same args, and whatever it does is done again. These stay as they are.';
  const unfinished = {}; /* names of orders that were not carried out to their end */
  const named = (name, action) => (action === 'replay' ? {order: unfinished[name] ??= orderName()} : {});
  const selected = (action, words, what) => async () => {
    const chosen = ids();
    const text = action === 'replay' ? replayed : SURE[action];
    const title = action === 'replay' ? `Run ${count(chosen.length)} again?` : `${words} ${count(chosen.length)} ${chosen.length === 1 ? 'task' : 'tasks'}?`;
    if (text && !await ask({title, text, yes: words, danger: action !== 'replay'})) return;
    if (await order('/api/v1/tasks', {action, ids: chosen, ...named(`some ${action}`, action)}, (done) => cameOf(done, what, chosen.length))) {
      delete unfinished[`some ${action}`];
      clear();
    }
  };
  const matching = (action, words, what) => async () => {
    const wanted = Object.fromEntries(WANTED.filter((name) => filter[name]).map((name) => [name, filter[name]]));
    const sure = await ask({title: `${words} all that match?`, yes: `${words} all`, danger: action === 'delete' || action === 'terminate',
      text: `${Object.entries(wanted).map(([name, text]) => `${name}: ${text}`).join(', ')}. All pages are meant, not only this one.${action === 'replay' ? ` ${replayed}` : ''}`});
    if (sure && await orderAll('/api/v1/tasks', {action, filter: wanted, ...named(action, action)}, what)) delete unfinished[action];
  };
  const some = ACTIONS.filter(([, , , states]) => !filter.state || states.includes(filter.state)).map(([action, words, what, , role]) =>
    button(words, {role, key: `some ${action}`, danger: action === 'delete', run: selected(action, words, what)}));
  const all = ACTIONS.filter(([, , , states]) => states.includes(filter.state)).map(([action, words, what, , role]) =>
    button(`${words} all that match`, {role, key: `all ${action}`, danger: action === 'delete', run: matching(action, words, what)}));
  const none = h('button', {type: 'button', class: 'small', on: {click: clear}}, 'Select none');
  const chosenPart = h('div', {class: 'acts', hidden: true}, number, ...some.filter(Boolean), none);
  const node = h('div', {class: 'bar'}, chosenPart, h('div', {class: 'acts'}, ...all.filter(Boolean)));
  return {node, show: (all, here) => {
    chosenPart.hidden = all === 0;
    const words = here === all ? `${count(all)} selected` : `${count(all)} selected, ${count(all - here)} of them no longer on this page`;
    if (number.textContent !== words) number.textContent = words;
  }};
}

export function showTasks(root, _, go) {
  const filter = current();
  const states = stateLinks(filter);
  const form = filterForm(filter, go);
  const body = h('tbody', {});
  const boxes = () => [...body.querySelectorAll('.pick input')];
  const chosen = new Set(); /* ids: what others push off the page stays chosen */
  const whole = h('input', {type: 'checkbox', 'aria-label': 'Select all of this page'});
  const picked = () => {
    const here = boxes().filter((one) => one.checked).length;
    whole.checked = here > 0 && here === boxes().length;
    whole.indeterminate = here > 0 && here < boxes().length;
    bar.show(chosen.size, here);
  };
  const pick = (id, isChosen) => {
    if (isChosen) chosen.add(id);
    else chosen.delete(id);
    picked();
  };
  const pickAll = (isChosen) => {
    for (const one of boxes()) {
      one.checked = isChosen;
      pick(one.value, isChosen);
    }
  };
  const bar = actionBar(filter, () => [...chosen], () => {
    chosen.clear();
    pickAll(false);
  });
  const box = table('Tasks', COLUMNS, body);
  if (may('operator')) box.querySelector('thead tr').prepend(h('th', {scope: 'col', class: 'pick'}, whole));
  whole.addEventListener('change', () => pickAll(whole.checked));
  const under = h('div', {});
  const held = new Map(); /* id -> its row */
  let since = '';
  let rounds = 0;
  let cursor = filter.cursor; /* a part without a single task is passed over */

  box.classList.add('cards', 'tasks');
  root.append(h('div', {class: 'title'}, h('h1', {}, 'Tasks'),
    may('operator') ? h('a', {class: 'button small', href: filter.task ? `/enqueue?${new URLSearchParams({task: filter.task})}` : '/enqueue'}, 'New task…') : null), states.group, form.form, bar.node, box, under);

  follow(async () => {
    /* What has come since may be among the parts that were passed over. */
    if (rounds % 15 === 0 && cursor !== filter.cursor) {
      cursor = filter.cursor;
      since = '';
    }
    /* Counts cost more than rows and are less urgent. */
    const [found, summary] = await Promise.all([
      get('/api/v1/tasks', {...filter, cursor, since}),
      rounds++ % 3 === 0 ? get('/api/v1/summary') : null,
    ]);
    let answer = found;
    for (let parts = 1; answer.is_cut && answer.next && answer.ids.length === 0 && parts < PARTS_MAX && root.isConnected; parts++) {
      if (held.size === 0) under.replaceChildren(h('p', {class: 'dim', role: 'status'}, `Looking further: ${count(parts)} of ${count(PARTS_MAX)} parts…`));
      cursor = answer.next;
      answer = await get('/api/v1/tasks', {...filter, cursor});
    }
    const first = since === '';
    since = answer.since || '-';
    for (const task of answer.tasks) {
      const made = row(task, pick);
      const known = held.get(task.id);
      held.set(task.id, known ? become(known, made) : made);
      if (chosen.has(task.id)) held.get(task.id).querySelector('.pick input').checked = true;
      if (!first) flash(held.get(task.id));
    }
    /* A row that the server takes us to have and we have not: begin anew. */
    if (answer.ids.some((id) => !held.has(id))) {
      since = '';
      return;
    }
    arrange(body, answer.ids.map((id) => held.get(id)));
    for (const id of held.keys()) if (!answer.ids.includes(id)) held.delete(id);
    box.hidden = answer.ids.length === 0;
    picked();
    update(under, [
      ...(answer.ids.length === 0 ? [h('div', {class: 'empty'}, h('p', {}, emptyText(filter, answer)), ...emptyHint(filter, answer))] : []),
      pager(filter, answer)]);
    if (summary) states.show(summary);
  }, (error) => {
    box.hidden = true;
    under.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message));
  });

  get('/api/v1/task-names').then((answer) => form.fill(answer.names), () => form.fill([]));
}
