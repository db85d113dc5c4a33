/* SPDX-License-Identifier: MIT
 *
 * What one worker tells of its queues, tasks, use of the machine and settings.
 */
import {ask, button, give, order} from './desk.js';
import {cell, dotted, h, table} from './dom.js';
import {count, duration} from './format.js';

/* Reports come from Redis, where anybody may have written. */
const object = (value) => (value && typeof value === 'object' && !Array.isArray(value) ? value : {});
const list = (value) => (Array.isArray(value) ? value : []);

/* Over 1, 5 and 15 minutes, as its machine tells it. */
export function load(worker) {
  const loads = list(worker.loadavg).filter(Number.isFinite).map((value) => value.toFixed(2));
  return loads.length ? h('span', {title: 'over 1, 5 and 15 minutes'}, loads.join(' · ')) : '–';
}

function panel(title, ...children) {
  return h('section', {class: 'panel', 'aria-label': title}, h('h2', {}, title), ...children);
}

/* Which queues it consumes; orders are kept, whatever restarts. */
export function queuesOf(name, worker) {
  const path = `/api/v1/workers/${encodeURIComponent(name)}`;
  const ended = object(worker.processed_by_queue);
  const cancel = async (queue) => {
    const sure = await ask({title: `No longer consume ${queue}?`, yes: 'Cancel the consumer', danger: true,
      text: 'This worker finishes what it holds of the queue and takes no more of it, also after a restart. Other workers go on.'});
    if (sure) await order(path, {order: 'cancel-consumer', queue}, `Ordered: no longer consuming from ${queue}.`);
  };
  const add = async () => {
    await ask({title: 'Add a consumer', text: 'This worker consumes the queue, too, also after a restart.', yes: 'Add',
      fields: [h('label', {for: 'add-queue'}, 'Queue', h('input', {id: 'add-queue', name: 'queue', required: true, maxlength: '200', pattern: '[A-Za-z0-9_.\\-]+', autocomplete: 'off'}))],
      act: ({queue}) => give(path, {order: 'add-consumer', queue}, `Ordered: add consumer ${queue}.`)});
  };
  const rows = list(worker.queues).map(String).map((queue) => h('tr', {'data-key': queue},
    cell('Queue', 'name', h('a', {href: `/tasks?${new URLSearchParams({queue})}`}, queue)),
    cell('Processed', 'number', count(ended[queue])),
    cell('Actions', 'acts', worker.is_alive ? button('Cancel consumer', {role: 'admin', danger: true, key: `cancel ${queue}`, run: () => cancel(queue)}) : null)));
  const box = table('Queues that it consumes', [['Queue'], ['Processed', 'number'], ['Actions']], h('tbody', {}, rows));
  box.classList.add('cards');
  return panel('Queues', rows.length ? box : h('div', {class: 'empty'}, h('p', {}, 'It consumes no queue.')),
    h('p', {class: 'acts'}, worker.is_alive ? button('Add consumer…', {role: 'admin', run: add}) : null));
}

/* How many of each task have ended, and how long they took on average. */
export function tasksOf(worker) {
  const rows = Object.entries(object(worker.tasks)).map(([task, sums]) => [task, object(sums)]).map(([task, sums]) => {
    const ended = ['succeeded', 'failed', 'retried'].reduce((sum, end) => sum + (Number(sums[end]) || 0), 0);
    return h('tr', {'data-key': task},
      cell('Task', 'name', task ? h('a', {href: `/tasks?${new URLSearchParams({task})}`}, dotted(task)) : 'unknown here'),
      cell('Processed', 'number', count(ended)), cell('Failed', 'number', count(sums.failed)),
      cell('Retried', 'number', count(sums.retried)),
      cell('Mean run time', 'number', duration(ended ? (Number(sums.runtime_sum_us) || 0) / ended / 1e6 : null)));
  });
  const box = table('Processed tasks', [['Task'], ['Processed', 'number'], ['Failed', 'number'], ['Retried', 'number'], ['Mean run time', 'number']], h('tbody', {}, rows));
  box.classList.add('cards');
  return panel('Tasks', rows.length ? box : h('div', {class: 'empty'}, h('p', {}, 'It has run no task yet.')));
}

const USED = [['utime', 'CPU time, own'], ['stime', 'CPU time, kernel'], ['minflt', 'Page faults, minor'], ['majflt', 'Page faults, major'],
  ['inblock', 'Blocks read'], ['oublock', 'Blocks written'], ['nvcsw', 'Context switches, voluntary'], ['nivcsw', 'Context switches, forced']];

export function systemOf(worker) {
  const used = object(worker.rusage);
  const value = (name) => (name.endsWith('time') ? duration(Number.isFinite(used[name]) ? used[name] : null) : count(used[name]));
  return panel('System', h('dl', {class: 'fields'},
    USED.flatMap(([name, label]) => [h('dt', {}, label), h('dd', {}, value(name))]),
    h('dt', {}, 'Load of its machine'), h('dd', {}, load(worker))));
}

export function configOf(worker) {
  const settings = Object.entries(object(worker.settings));
  return panel('Config', settings.length
    ? h('dl', {class: 'fields'}, settings.flatMap(([key, value]) => [h('dt', {}, h('code', {}, key)), h('dd', {}, value === '' ? h('span', {class: 'dim'}, 'empty') : String(value))]))
    : h('div', {class: 'empty'}, h('p', {}, 'It has told no settings.')));
}
