/* SPDX-License-Identifier: MIT
 *
 * What the list of tasks is filtered by: it stands in the address, and in a form that makes the address.
 */
import {get} from './api.js';
import {h} from './dom.js';
import {exactTime} from './format.js';

const TIMES = {from: 'Received after', to: 'Received before', due_from: 'Due after', due_to: 'Due before'};
export const FILTERS = ['state', 'task', 'queue', 'worker', 'text', 'search', ...Object.keys(TIMES), 'order', 'cursor'];
/* Those that an order for all that match has. */
export const WANTED = FILTERS.filter((name) => name !== 'order' && name !== 'cursor');
const MORE = ['queue', 'worker', ...Object.keys(TIMES)];
const ORDERS = [['', 'Newest first'], ['oldest', 'Oldest first'], ['due', 'Due first'], ['slowest', 'Slowest first'], ['fastest', 'Fastest first']];

/* What waits for its time is the only thing that is due: its list has an order of its own. */
export function current() {
  const query = new URLSearchParams(location.search);
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? '']));
  return filter.due_from || filter.due_to ? {...filter, order: 'due'} : filter;
}

/* The address of this list with some filters changed; any but the cursor begins at the first page. */
export function address(changes) {
  const query = new URLSearchParams();
  for (const [name, text] of Object.entries({...current(), cursor: '', ...changes})) if (text) query.set(name, text);
  return query.size ? `/tasks?${query}` : '/tasks';
}

/* A moment as datetime-local has it, in the zone of who looks, as all times of the pages. */
function localTime(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return '';
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

/* One that nobody has touched stays as it was: a field has no milliseconds, and two hours of a night in autumn look alike. */
function moment(input, shown, was) {
  if (input.value === shown) return was;
  return input.value ? new Date(input.value).toISOString() : '';
}

const words = (name, text) => (name in TIMES ? `${TIMES[name].toLowerCase()} ${localTime(text) ? exactTime(text) : text}` : `${name}: ${text}`);

function chips(filter) {
  return MORE.filter((name) => filter[name]).map((name) => {
    /* Without a due time the order is the usual one again. */
    const order = name.startsWith('due') && !filter[name === 'due_from' ? 'due_to' : 'due_from'] ? {order: ''} : {};
    return h('a', {class: 'chip', href: address({[name]: '', ...order}), 'aria-label': `Remove the filter ${words(name, filter[name]).replace(': ', ' ')}`},
      words(name, filter[name]), h('span', {'aria-hidden': 'true'}, '×'));
  });
}

/* What is asked for seldom, folded away. `queues` are offered, any other may be typed. */
function moreFilters(filter) {
  const inputs = {
    queue: h('input', {name: 'queue', id: 'f-queue', list: 'f-queues', value: filter.queue, maxlength: '128', autocomplete: 'off', spellcheck: 'false'}),
    worker: h('input', {name: 'worker', id: 'f-worker', value: filter.worker, maxlength: '200', autocomplete: 'off', spellcheck: 'false'}),
    ...Object.fromEntries(Object.keys(TIMES).map((name) => [name,
      h('input', {type: 'datetime-local', step: '1', name, id: `f-${name}`, value: localTime(filter[name])})])),
  };
  const labels = {queue: 'Queue', worker: 'Worker', ...TIMES};
  const queues = h('datalist', {id: 'f-queues'});
  const node = h('details', {class: 'more'}, h('summary', {}, 'More filters'),
    h('div', {class: 'filters'}, queues, Object.entries(inputs).map(([name, input]) => h('label', {for: input.id}, labels[name], input)),
      h('button', {type: 'submit'}, 'Filter by these')));
  node.addEventListener('toggle', () => {
    if (node.open && !queues.children.length) {
      get('/api/v1/queues').then((answer) => queues.append(...answer.queues.map(({name}) => h('option', {value: name}))), () => null);
    }
  });
  const shown = Object.fromEntries(Object.keys(TIMES).map((name) => [name, inputs[name].value]));
  const read = () => ({queue: inputs.queue.value.trim(), worker: inputs.worker.value.trim(),
    ...Object.fromEntries(Object.keys(TIMES).map((name) => [name, moment(inputs[name], shown[name], filter[name])]))});
  return {node, read};
}

export function filterForm(filter, go) {
  const task = h('select', {name: 'task', id: 'f-task'}, h('option', {value: ''}, 'Every task'));
  const text = h('input', {type: 'search', name: 'search', id: 'f-text', value: filter.search || filter.text, maxlength: '900', placeholder: 'id, word, kwargs:user=7', autocomplete: 'off', spellcheck: 'false',
    title: 'Words must all be found; OR, brackets and "quotes" work. name: state: worker: queue: args: kwargs:KEY=VALUE result: error:'});
  const order = h('select', {name: 'order', id: 'f-order'}, ORDERS.map(([value, label]) => h('option', {value}, label)));
  const more = moreFilters(filter);
  const apply = () => go(address({task: task.value, text: '', search: text.value.trim(), order: order.value, ...more.read()}));
  const form = h('form', {role: 'search', on: {submit: (event) => {
    event.preventDefault();
    apply();
  }}},
  h('div', {class: 'filters'},
    h('label', {for: 'f-task'}, 'Task', task),
    h('label', {for: 'f-text', class: 'wide'}, 'Search', text),
    h('label', {for: 'f-order'}, 'Order', order),
    h('button', {type: 'submit'}, 'Filter'),
    ...chips(filter)),
  more.node);
  order.value = ORDERS.some(([value]) => value === filter.order) ? filter.order : '';
  task.addEventListener('change', apply);
  order.addEventListener('change', apply);

  const fill = (names) => {
    const all = filter.task && !names.includes(filter.task) ? [filter.task, ...names] : names;
    task.append(...all.map((name) => h('option', {value: name}, name)));
    task.value = filter.task;
  };
  return {form, fill};
}
