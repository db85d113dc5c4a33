/* SPDX-License-Identifier: MIT
 *
 * Limits: how many tasks run at once or begin in a time, and how long each may run. They hold over
 * all workers and survive every restart.
 */
import {follow, get} from './api.js';
import {ask, button, give, order} from './desk.js';
import {cell, dotted, h, table, update} from './dom.js';
import {count, duration} from './format.js';

const LIMITS = '/api/v1/limits';
const TIMES = '/api/v1/time-limits';

const NAMES = {queue: 'Queue', task: 'Task', key: 'Key'};

function input(label, name, value, more) {
  return h('label', {for: `n-${name}`}, label, h('input', {id: `n-${name}`, name, autocomplete: 'off', value: value ?? '', ...more}));
}

const whole = (label, name, value) => input(label, name, value, {type: 'number', min: '1', max: '1000000'});

function numbers(limit) {
  return [
    whole('At once, at most', 'concurrency', limit?.concurrency),
    input('Rate: 10/s, 600/m or 1000/h', 'rate', limit?.rate, {pattern: '[1-9][0-9]*/[smh]'}),
    whole('Of these in one burst', 'burst', limit?.burst),
  ];
}

const numberOf = (text) => (text === '' || text === undefined ? null : Number(text));

function set(carryOut, scope, name, values) {
  const body = {scope, name, concurrency: numberOf(values.concurrency), rate: values.rate || null, burst: values.rate ? numberOf(values.burst) : null};
  return carryOut(LIMITS, body, body.concurrency || body.rate ? `The limit of ${name} is set.` : `${name} is not limited any more.`);
}

async function change(limit) {
  await ask({title: `Limit of ${NAMES[limit.scope].toLowerCase()} ${limit.name}`, yes: 'Set',
    text: 'It holds over all workers, at once. Empty fields do not limit.', fields: numbers(limit),
    act: (values) => set(give, limit.scope, limit.name, values)});
}

async function remove(limit) {
  const sure = await ask({title: `No longer limit ${limit.name}?`, yes: 'Take the limit away', danger: true, text: 'What waits for it runs.'});
  if (sure) await set(order, limit.scope, limit.name, {});
}

async function add() {
  await ask({title: 'New limit', yes: 'Set', text: 'A key may end in *: each key that begins so has the limit for itself.',
    fields: [
      h('label', {for: 'n-scope'}, 'Of', h('select', {id: 'n-scope', name: 'scope'},
        Object.entries(NAMES).map(([value, label]) => h('option', {value}, label.toLowerCase())))),
      input('Name', 'name', '', {required: true, maxlength: '200'}), ...numbers(null)],
    act: (values) => set(give, values.scope, values.name, values)});
}

/* The tasks behind a number; of a key those of all keys, each with its own. */
function linked(limit, state, number) {
  const which = limit.scope === 'key' ? {} : {[limit.scope]: limit.name};
  return number > 0 ? h('a', {href: `/tasks?${new URLSearchParams({state, ...which})}`}, count(number)) : count(number);
}

const where = (limit) => `/tasks?${new URLSearchParams({[limit.scope]: limit.name})}`;

function row(limit) {
  const name = limit.scope === 'key' ? limit.name : h('a', {href: where(limit)}, dotted(limit.name));
  const key = `${limit.scope} ${limit.name}`;
  return h('tr', {'data-key': key},
    cell('Name', 'name', name),
    cell('Of', '', NAMES[limit.scope]),
    cell('At once', 'number', count(limit.concurrency)),
    cell('Rate', 'number', limit.rate ?? '–'),
    cell('Burst', 'number', count(limit.burst)),
    cell('Running', 'number', linked(limit, 'STARTED', limit.running)),
    cell('Held back', 'number', linked(limit, 'PENDING', limit.parked)),
    cell('Actions', 'acts', button('Change…', {key: `change ${key}`, role: 'admin', run: () => change(limit)}),
      button('Remove', {key: `remove ${key}`, role: 'admin', danger: true, run: () => remove(limit)})));
}

/* ---- time limits ---- */

async function changeTimes(limit) {
  const seconds = {type: 'number', min: '0.001', max: '31536000', step: 'any'};
  const set_by_hand = (value, own) => (value === own ? '' : value);
  await ask({title: `Time limits of ${limit.task}`, yes: 'Set',
    text: 'For runs that begin from now on, in all workers. Empty: as the task declares.',
    fields: [
      input(`Soft, seconds (declared: ${limit.own_soft ?? '–'})`, 'soft', set_by_hand(limit.soft, limit.own_soft), seconds),
      input(`Hard, seconds (declared: ${limit.own_hard ?? '–'})`, 'hard', set_by_hand(limit.hard, limit.own_hard), seconds)],
    act: (values) => give(TIMES, {task: limit.task, soft: numberOf(values.soft), hard: numberOf(values.hard)}, `The time limits of ${limit.task} are set.`)});
}

function timesRow(limit) {
  const is_set = limit.soft !== limit.own_soft || limit.hard !== limit.own_hard;
  return h('tr', {'data-key': limit.task},
    cell('Task', 'name', h('a', {href: `/tasks?${new URLSearchParams({task: limit.task})}`}, dotted(limit.task)),
      is_set ? h('span', {class: 'sub'}, h('span', {class: 'badge retry'}, 'CHANGED')) : null),
    cell('Soft', 'number', duration(limit.soft)),
    cell('Hard', 'number', duration(limit.hard)),
    cell('Declared', 'number dim', `${duration(limit.own_soft)} · ${duration(limit.own_hard)}`),
    cell('Actions', 'acts', button('Change…', {key: `time ${limit.task}`, role: 'admin', run: () => changeTimes(limit)})));
}

function boxed(caption, columns, rows) {
  const box = table(caption, columns, h('tbody', {}, rows));
  box.classList.add('cards');
  return box;
}

export function showLimits(root) {
  const content = h('div', {});
  let last = '';
  root.append(h('div', {class: 'title'}, h('h1', {}, 'Limits'), button('New limit…', {role: 'admin', run: add})), content);
  follow(async () => {
    const {limits, time_limits: times} = await get(LIMITS);
    const text = JSON.stringify([limits, times]);
    if (text === last) return;
    last = text;
    update(content, [
      limits.length
        ? boxed('Limits', [['Name'], ['Of'], ['At once', 'number'], ['Rate', 'number'], ['Burst', 'number'], ['Running', 'number'], ['Held back', 'number'], ['Actions']], limits.map(row))
        : h('div', {class: 'empty'}, h('p', {}, 'Nothing is limited: tasks run as soon as a worker is free.'),
          h('p', {}, h('code', {}, 'till limit set queue mail --concurrency 4'))),
      h('h2', {}, 'How long tasks may run'),
      times.length
        ? boxed('Time limits', [['Task'], ['Soft', 'number'], ['Hard', 'number'], ['Declared', 'number'], ['Actions']], times.map(timesRow))
        : h('div', {class: 'empty'}, h('p', {}, 'No worker has told what its tasks declare.'), h('p', {}, 'Start one: ', h('code', {}, 'till-worker'))),
      h('dl', {class: 'legend'},
        h('dt', {}, 'Held back'), h('dd', {}, 'ready, and waiting for a place or for its turn'),
        h('dt', {}, 'Soft'), h('dd', {}, 'the deadline that the task is given'),
        h('dt', {}, 'Hard'), h('dd', {}, 'its process is ended then, and the attempt counts'))]);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
