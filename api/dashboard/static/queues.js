/* SPDX-License-Identifier: MIT
 *
 * Queues: how deep, how old, how many dead.
 */
import {follow, get} from './api.js';
import {ask, button, order, orderAll} from './desk.js';
import {cell, h, table, update} from './dom.js';
import {age, atLeast, count, time} from './format.js';
import {chooser} from './many.js';

const COLUMNS = [
  ['Queue'], ['In stream', 'number'], ['Delivered', 'number'], ['Oldest waits', 'number'],
  ['Waiting', 'number'], ['Parked', 'number'], ['Scheduled', 'number'], ['Running', 'number'], ['Dead', 'number'], ['By priority'], ['Actions'],
];

const WITHOUT_REDIS = 'Redis does not answer: the streams cannot be read. Waiting, scheduled, running and dead come from PostgreSQL and are true; new tasks are delivered once Redis is back.';

const tasks = (queue, state) => `/tasks?${new URLSearchParams({state, queue})}`;

function linked(queue, name, state, value) {
  return cell(name, 'number', value.count ? h('a', {href: tasks(queue, state), class: state === 'FAILURE' ? 'bad' : null}, atLeast(value)) : atLeast(value));
}

function priorities(streams) {
  const used = Object.entries(streams ?? {}).filter(([, stream]) => stream.depth || stream.pending);
  return used.map(([name, stream]) => `${name} ${count(stream.depth)}${stream.pending ? ` + ${count(stream.pending)}` : ''}`).join(' · ');
}

/* Since when the oldest one waits, wherever it does. */
function oldest(queue) {
  return [queue.stream_oldest_at, queue.oldest_at].filter(Boolean).sort()[0] ?? null;
}

async function purge(queue) {
  const sure = await ask({title: `Purge ${queue.name}?`, danger: true, yes: 'Revoke them all',
    text: 'Every task of this queue that waits for a worker is revoked. They can be retried one by one afterwards.',
    fields: [h('label', {class: 'check'}, h('input', {type: 'checkbox', name: 'scheduled'}), 'also those that wait for their time')]});
  if (sure) await orderAll(`/api/v1/queues/${encodeURIComponent(queue.name)}/purge`, {scheduled: sure.scheduled === 'on'}, 'revoked');
}

function actions(queue) {
  const path = `/api/v1/queues/${encodeURIComponent(queue.name)}`;
  return cell('Actions', 'acts',
    queue.paused_at
      ? button('Resume', {key: `turn ${queue.name}`, run: () => order(`${path}/resume`, {}, `${queue.name} goes on.`)})
      : button('Pause', {key: `turn ${queue.name}`, run: () => order(`${path}/pause`, {}, `${queue.name} is paused.`)}),
    button('Purge', {key: `purge ${queue.name}`, role: 'admin', danger: true, run: () => purge(queue)}));
}

/* What an admin has set for it. */
function limit({concurrency, rate}) {
  const words = [concurrency ? `${count(concurrency)} at once` : null, rate].filter(Boolean).join(', ');
  return h('span', {class: 'sub'}, h('a', {href: '/limits'}, `at most ${words}`));
}

function row(queue) {
  return h('tr', {'data-key': queue.name},
    cell('Queue', 'name', h('a', {href: `/tasks?${new URLSearchParams({queue: queue.name})}`}, queue.name),
      queue.limit ? limit(queue.limit) : null,
      h('span', {class: 'sub'}, h('a', {href: `/charts?${new URLSearchParams({queue: queue.name})}`, 'aria-label': `Charts of ${queue.name}`}, 'charts')),
      queue.consumers === 0 && (queue.depth || queue.waiting.count) ? h('span', {class: 'sub'}, h('span', {class: 'badge failure', title: 'No worker that takes work reads this queue'}, 'NO WORKER')) : null,
      queue.paused_at ? h('span', {class: 'sub'}, h('span', {class: 'badge retry'}, 'PAUSED'), ' ', time(queue.paused_at)) : null),
    cell('In stream', 'number', count(queue.depth)),
    cell('Delivered', 'number', count(queue.pending)),
    cell('Oldest waits', 'number', age(oldest(queue))),
    linked(queue.name, 'Waiting', 'PENDING', queue.waiting),
    linked(queue.name, 'Parked', 'PENDING', queue.parked),
    cell('Scheduled', 'number', queue.scheduled.count ? h('a', {href: `/tasks?${new URLSearchParams({queue: queue.name, order: 'due'})}`}, atLeast(queue.scheduled)) : atLeast(queue.scheduled)),
    linked(queue.name, 'Running', 'STARTED', queue.started),
    linked(queue.name, 'Dead', 'FAILURE', queue.dead),
    cell('By priority', 'dim', priorities(queue.streams)),
    actions(queue));
}

export function showQueues(root) {
  const content = h('div', {});
  let last = '';
  let held = null;
  const chosen = chooser('Queue', () => held && draw());
  const draw = () => {
    const {redis, queues} = held;
    const {shown, note} = chosen.choose(queues);
    const box = table('Queues', COLUMNS, h('tbody', {}, shown.map(row)));
    box.classList.add('cards');
    update(content, [
      ...(redis ? [] : [h('p', {class: 'notice warn', role: 'alert'}, WITHOUT_REDIS)]),
      shown.length ? box : '', note,
      queues.length ? '' : h('div', {class: 'empty'}, h('p', {}, 'There is no queue yet.'),
        h('p', {}, 'A queue appears with its first task or worker: ', h('code', {}, 'till enqueue till.tasks.noop'))),
      h('dl', {class: 'legend'},
        h('dt', {}, 'In stream'), h('dd', {}, 'entries in Redis that no worker has got'),
        h('dt', {}, 'Delivered'), h('dd', {}, 'handed to a worker, not yet acknowledged'),
        h('dt', {}, 'Waiting'), h('dd', {}, 'ready, by PostgreSQL'),
        h('dt', {}, 'Parked'), h('dd', {}, 'for a place under a limit of their task or key'),
        h('dt', {}, 'Scheduled'), h('dd', {}, 'for later, retries among them'),
        h('dt', {}, 'Dead'), h('dd', {}, 'failed for good'),
        h('dt', {}, 'No worker'), h('dd', {}, 'none that takes work reads this queue, in which something waits'))]);
  };
  root.append(h('div', {class: 'title'}, h('h1', {}, 'Queues'), h('a', {href: '/broker'}, 'Broker')), chosen.node, content);
  follow(async () => {
    held = await get('/api/v1/queues');
    const text = JSON.stringify([held.redis, held.queues]);
    if (text === last) return;
    last = text;
    draw();
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
