/* SPDX-License-Identifier: MIT
 *
 * Workers: all of them with their sums, and one with what it is doing.
 */
import {follow, get} from './api.js';
import {ask, button, give as carryOut, order} from './desk.js';
import {cell, dotted, h, table, update} from './dom.js';
import {age, badge, bytes, count, time} from './format.js';
import {chooser} from './many.js';
import {configOf, load, queuesOf, systemOf, tasksOf} from './worker_parts.js';

const COLUMNS = [
  ['Worker'], ['Status'], ['Active', 'number'], ['Processed', 'number'], ['Failed', 'number'],
  ['Succeeded', 'number'], ['Retried', 'number'], ['Load average', 'number'], ['Memory', 'number'], ['Queues'], ['Last beat'],
];

const WITHOUT_REDIS = 'Redis does not answer: heartbeats cannot be read. What is shown is what PostgreSQL knows of running tasks.';

function status(worker) {
  if (worker.is_alive === null) return h('span', {class: 'badge pending'}, 'UNKNOWN');
  if (!worker.is_alive) return h('span', {class: 'badge failure'}, 'OFFLINE');
  if (worker.state === 'quiet' || worker.state === 'stopping') return h('span', {class: 'badge retry'}, worker.state.toUpperCase());
  return h('span', {class: 'badge success'}, 'ONLINE');
}

const link = (worker) => h('a', {href: `/worker/${encodeURIComponent(worker.name)}`}, worker.name);

/* Reports come from Redis, where anybody may have written: a list is one, or empty. */
const list = (value) => (Array.isArray(value) ? value : []);

/* What it has begun: its own word, else PostgreSQL's. */
const active = (worker) => (worker.is_alive ? worker.busy ?? worker.started_jobs : worker.started_jobs);

function row(worker) {
  return h('tr', {'data-key': worker.name, class: worker.is_alive === false ? 'off' : null},
    cell('Worker', 'name', link(worker)),
    cell('Status', '', status(worker)),
    cell('Active', 'number', count(active(worker)), worker.concurrency ? h('span', {class: 'dim'}, ` / ${count(worker.concurrency)}`) : null),
    cell('Processed', 'number', count(worker.processed)),
    cell('Failed', 'number', count(worker.failed)),
    cell('Succeeded', 'number', count(worker.succeeded)),
    cell('Retried', 'number', count(worker.retried)),
    cell('Load average', 'number nowrap', worker.is_alive ? load(worker) : '–'),
    cell('Memory', 'number', bytes(worker.rss_bytes)),
    cell('Queues', '', list(worker.queues).join(', ')),
    cell('Last beat', 'nowrap', time(worker.beat_at)));
}

/* Of what only workers themselves tell there is no sum when none of them is heard: that is not 0. */
function total(workers, name) {
  const known = workers.filter((worker) => worker[name] !== undefined && worker[name] !== null);
  return workers.length && !known.length ? null : known.reduce((sum, worker) => sum + worker[name], 0);
}

function card(label, text, href, kind) {
  const inner = [h('span', {class: 'figure'}, text), h('span', {class: 'label'}, label)];
  return href ? h('a', {class: `card ${kind ?? ''}`, href}, inner) : h('div', {class: `card ${kind ?? ''}`}, inner);
}

function cards(workers, redis) {
  const online = redis ? workers.filter((worker) => worker.is_alive).length : null;
  const sum = (name) => (redis ? total(workers, name) : null);
  const failed = sum('failed');
  return h('div', {class: 'cards-row'},
    card('Online', count(online), null, online === null ? '' : online ? 'good' : 'bad'),
    card('Active', count(workers.reduce((sum, worker) => sum + (active(worker) ?? 0), 0)), '/tasks?state=STARTED'),
    card('Processed', count(sum('processed')), '/tasks'),
    card('Succeeded', count(sum('succeeded')), '/tasks?state=SUCCESS'),
    card('Failed', count(failed), '/tasks?state=FAILURE', failed ? 'bad' : ''),
    card('Retried', count(sum('retried')), '/tasks?state=RETRY'));
}

function totals(workers, shown) {
  const sum = (name) => count(total(workers, name));
  return h('tfoot', {}, h('tr', {},
    h('th', {scope: 'row'}, shown < workers.length ? 'Total of all' : 'Total'), h('td', {}),
    h('td', {class: 'number'}, count(workers.reduce((all, worker) => all + (active(worker) ?? 0), 0))),
    h('td', {class: 'number'}, sum('processed')), h('td', {class: 'number'}, sum('failed')),
    h('td', {class: 'number'}, sum('succeeded')), h('td', {class: 'number'}, sum('retried')), h('td', {}),
    h('td', {class: 'number'}, bytes(total(workers, 'rss_bytes'))), h('td', {}), h('td', {})));
}

export function showWorkers(root) {
  const content = h('div', {});
  const sums = h('div', {});
  let last = '';
  let held = null;
  const chosen = chooser('Worker', () => held && draw());
  const draw = () => {
    const {redis, workers} = held;
    const {shown, note} = chosen.choose(workers);
    const box = table('Workers', COLUMNS, h('tbody', {}, shown.map(row)), workers.length > 1 ? totals(workers, shown.length) : '');
    box.classList.add('cards');
    update(sums, [
      ...(redis ? [] : [h('p', {class: 'notice warn', role: 'alert'}, WITHOUT_REDIS)]),
      cards(workers, redis)]);
    update(content, [
      shown.length ? box : '', note,
      workers.length || !redis ? '' : h('div', {class: 'empty'}, h('p', {}, 'No worker has reported within the last day.'),
        h('p', {}, 'Start one: ', h('code', {}, 'till-worker')))]);
  };
  root.append(h('h1', {}, 'Workers'), sums, chosen.node, content);
  follow(async () => {
    held = await get('/api/v1/workers');
    const text = JSON.stringify([held.redis, held.workers]);
    if (text === last) return;
    last = text;
    draw();
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}

function field(label, ...children) {
  return [h('dt', {}, label), h('dd', {}, ...children)];
}

function running(worker) {
  const jobs = list(worker.jobs);
  if (!jobs.length) return h('div', {class: 'empty'}, h('p', {}, 'It is running no task.'));
  const box = table('Running tasks', [['Name'], ['UUID'], ['Started'], ['Running for', 'number']],
    h('tbody', {}, jobs.map((job) => h('tr', {'data-key': String(job.id)},
      cell('Name', 'name', h('a', {href: `/task/${encodeURIComponent(job.id)}`}, dotted(String(job.task ?? '–')))),
      cell('UUID', 'code', job.id),
      cell('Started', 'nowrap', time(job.started_at)),
      cell('Running for', 'number', age(job.started_at))))));
  box.classList.add('cards');
  return box;
}

/* Orders are kept and heard at once; what came of them is seen with the next heartbeat. */
function actions(name, worker) {
  const path = `/api/v1/workers/${encodeURIComponent(name)}`;
  const give = (body, words) => order(path, body, words);
  const number = (label, field, value) => h('label', {for: `n-${field}`}, label,
    h('input', {id: `n-${field}`, name: field, type: 'number', min: '1', max: '256', required: true, value: String(value)}));
  const sure = async (title, text, yes, body, words) => {
    if (await ask({title, text, yes, danger: true})) await give(body, words);
  };
  const autoscale = async () => {
    await ask({title: 'Autoscale', text: 'It finds its size itself within these, by the age of what waits.', yes: 'Autoscale',
      fields: [number('At least', 'min', 1), number('At most', 'max', worker.concurrency ?? 8)],
      act: (values) => carryOut(path, {order: 'autoscale', min: Number(values.min), max: Number(values.max)}, 'Ordered: autoscale.')});
  };
  return h('div', {class: 'acts'}, ...[
    worker.state === 'quiet'
      ? button('Resume', {role: 'admin', run: () => give({order: 'resume'}, 'Ordered: take work again.')})
      : button('Quiet', {role: 'admin', title: 'Takes no more work and finishes what it has', run: () => give({order: 'quiet'}, 'Ordered: quiet.')}),
    button('Grow', {role: 'admin', title: 'One slot more', run: () => give({order: 'grow', n: 1}, 'Ordered: one slot more.')}),
    button('Shrink', {role: 'admin', title: 'One slot fewer', run: () => give({order: 'shrink', n: 1}, 'Ordered: one slot fewer.')}),
    button('Autoscale…', {role: 'admin', run: autoscale}),
    button('Restart', {role: 'admin', run: () => sure('Restart this worker?', 'It finishes what it has, ends and is replaced.', 'Restart', {order: 'restart'}, 'Ordered: restart.')}),
    button('Stop', {role: 'admin', danger: true, run: () => sure('Stop this worker?', 'It finishes what it can, ends and is not replaced.', 'Stop', {order: 'stop'}, 'Ordered: stop.')}),
  ].filter(Boolean));
}

function draw(root, name, {redis, worker}) {
  const tasks = `/tasks?${new URLSearchParams({worker: name})}`;
  update(root, [
    h('p', {class: 'crumb'}, h('a', {href: '/workers'}, 'Workers'), ' / ', name),
    h('div', {class: 'title'}, h('h1', {}, name), worker ? status(worker) : badge('UNKNOWN'), worker?.is_alive ? actions(name, worker) : null),
    ...(redis ? [] : [h('p', {class: 'notice warn', role: 'alert'}, WITHOUT_REDIS)]),
    worker ? h('div', {class: 'columns'},
      h('section', {class: 'panel', 'aria-label': 'Process'}, h('h2', {}, 'Process'), h('dl', {class: 'fields'},
        field('Host', worker.host ?? '–'), field('PID', worker.pid === undefined ? '–' : String(worker.pid)),
        field('Version', worker.version ?? '–'), field('Up since', time(worker.started_at)),
        field('Last beat', time(worker.beat_at)), field('Memory', bytes(worker.rss_bytes)),
        field('Slots', worker.concurrency === undefined ? '–' : `${count(worker.busy)} of ${count(worker.concurrency)} busy`),
        field('Queues', list(worker.queues).join(', ') || '–'))),
      h('section', {class: 'panel', 'aria-label': 'Sums'}, h('h2', {}, 'Since its start'), h('dl', {class: 'fields'},
        field('Processed', count(worker.processed)), field('Succeeded', count(worker.succeeded)),
        field('Failed', count(worker.failed)), field('Retried', count(worker.retried)),
        field('Started, in PostgreSQL', count(worker.started_jobs))))) : '',
    h('h2', {}, 'Running'), redis && worker ? running(worker) : h('p', {}, h('a', {href: `${tasks}&state=STARTED`}, 'What it has begun, by PostgreSQL')),
    worker ? h('div', {class: 'columns'}, queuesOf(name, worker), tasksOf(worker), systemOf(worker), configOf(worker)) : '',
    h('p', {}, h('a', {href: tasks}, 'All tasks of this worker'))]);
}

export function showWorker(root, [name]) {
  let last = '';
  follow(async () => {
    const answer = await get(`/api/v1/workers/${encodeURIComponent(name)}`);
    const text = JSON.stringify(answer);
    if (text !== last) draw(root, name, answer);
    last = text;
    if (root.isConnected) document.title = `${name} · Till`;
  }, (error) => root.replaceChildren(
    h('h1', {}, error.status === 404 ? 'No such worker' : 'Worker'),
    h('p', {class: 'notice bad', role: 'alert'}, error.status === 404 ? `${name} has not reported within the last day.` : error.message),
    h('p', {}, h('a', {href: '/workers'}, 'To all workers'))));
}
