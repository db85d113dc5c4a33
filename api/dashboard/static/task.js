/* SPDX-License-Identifier: MIT
 *
 * One task: every field, and each attempt with what became of it.
 */
import {follow, get, post} from './api.js';
import {ask, button, order, tell} from './desk.js';
import {dotted, h, update} from './dom.js';
import {age, badge, bytes, count, duration, exactTime, plural, time} from './format.js';
import {parseExactly} from './json.js';

function field(label, ...children) {
  return [h('dt', {}, label), h('dd', {}, ...children)];
}

function moment(text) {
  return text ? h('span', {}, time(text), h('span', {class: 'sub'}, exactTime(text))) : h('span', {class: 'dim'}, '–');
}

function copyButton(text, what) {
  return h('button', {type: 'button', class: 'small', 'aria-label': `Copy ${what}`, on: {click: async ({currentTarget: button}) => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not allowed';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }}}, 'Copy');
}

function block(title, text, size) {
  if (text === null || text === undefined || text === '') return null;
  return h('section', {class: 'panel', 'data-key': title},
    h('div', {class: 'panel-head'}, h('h2', {}, title), size ? h('span', {class: 'dim'}, bytes(size)) : null, copyButton(text, title)),
    h('pre', {tabindex: '0', 'aria-label': title}, text));
}

const pretty = (json) => (json === null || json === undefined ? null : JSON.stringify(json, null, 2));

const OUTCOMES = {
  failed: ['failure', 'failed'], running: ['started', 'running'],
  succeeded: ['success', 'succeeded'], revoked: ['revoked', 'revoked'],
};

function seconds(from, to) {
  return from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}

function attemptItem(attempt, i, {length}) {
  const [kind, words] = OUTCOMES[attempt.outcome];
  const took = seconds(attempt.started_at, attempt.ended_at);
  return h('li', {class: kind, 'data-key': `attempt ${attempt.attempt}`},
    h('div', {class: 'step'}, h('strong', {}, `Attempt ${attempt.attempt} ${words}`),
      took !== null ? h('span', {class: 'dim'}, `after ${duration(took)}`) : null,
      attempt.worker ? h('a', {href: `/worker/${encodeURIComponent(attempt.worker)}`}, attempt.worker) : null),
    h('div', {class: 'sub'}, attempt.started_at ? h('span', {}, 'started ', time(attempt.started_at)) : null,
      attempt.ended_at ? h('span', {}, attempt.started_at ? ' · ended ' : 'ended ', time(attempt.ended_at)) : null),
    attempt.error ? h('p', {class: 'error'}, attempt.error) : null,
    attempt.detail ? h('details', {open: i === length - 1}, h('summary', {}, 'Detail'), h('pre', {}, attempt.detail)) : null);
}

function plainItem(kind, words, at, why) {
  return h('li', {class: kind}, h('div', {class: 'step'}, h('strong', {}, words)), at ? h('div', {class: 'sub'}, time(at)) : null, why);
}

/* Why what is ready has not begun: what is known of its queue. */
function whyReady(queue) {
  if (!queue) return null;
  if (queue.paused_at) return h('p', {class: 'why'}, h('span', {class: 'badge retry'}, 'PAUSED'), ' ', time(queue.paused_at), ': nothing of its ', h('a', {href: '/queues'}, 'queue'), ' begins.');
  if (queue.consumers === 0) return h('p', {class: 'why'}, h('span', {class: 'badge failure'}, 'NO WORKER'), ' None that takes work reads its queue: see ', h('a', {href: '/workers'}, 'workers'), '.');
  return h('p', {class: 'why sub'}, queue.depth > 0 ? `${count(queue.depth)} of its queue wait in the stream.` : 'A worker has got it, and begins it when a slot is free.',
    queue.limit ? ` Of its queue at most ${[queue.limit.concurrency ? `${count(queue.limit.concurrency)} run at once` : null, queue.limit.rate ? `${queue.limit.rate} begin` : null].filter(Boolean).join(', and ')}.` : null);
}

const isReady = (task) => (task.state === 'PENDING' || task.state === 'RETRY') && Boolean(task.enqueued_at);

function timeline(task, queue) {
  const items = [plainItem('', 'Enqueued', task.created_at), ...task.attempts.map(attemptItem)];
  const waiting = task.state === 'PENDING' || task.state === 'RETRY';
  if (waiting && task.waits) items.push(plainItem('pending', 'Waits for others of its flow', task.created_at));
  else if (waiting && task.parked_on) items.push(plainItem('pending', 'Waits for a place or its turn under a limit', null,
    h('p', {class: 'why sub'}, 'It is tried again when there is one, ', time(task.scheduled_at), ' at the latest.')));
  else if (waiting && !task.enqueued_at) items.push(plainItem('pending', `Attempt ${task.attempt + 1} is due`, task.scheduled_at));
  else if (waiting) items.push(plainItem('pending', 'Waits for a worker since', task.enqueued_at, whyReady(queue)));
  if (task.state === 'FAILURE') items.push(plainItem('failure', 'Dead: it is not tried again', task.finished_at));
  if (task.state === 'REVOKED') items.push(plainItem('revoked', 'Revoked', task.finished_at));
  return h('ol', {class: 'timeline'}, items);
}

function large(task, name) {
  return pretty(task[name]) ?? (task[`${name}_bytes`] > 0 ? `${bytes(task[`${name}_bytes`])}` : null);
}

/* The JSON of a field; throws which field is wrong, and why. */
function parsed(label, text) {
  try {
    return parseExactly(text);
  } catch (error) {
    throw new Error(`${label}: this is no JSON: ${error.message}`);
  }
}

/* Runs it again with args that can be changed. What is hidden, or too long to be shown, stays as it was. */
async function runAgain(task, go) {
  const area = (name, label) => (task[name] === null
    ? h('p', {class: 'dim'}, `${label} as they are: ${bytes(task[`${name}_bytes`])} are too many to be edited here.`)
    : h('label', {for: `edit-${name}`}, label,
      h('textarea', {id: `edit-${name}`, name, rows: '7', class: 'code', spellcheck: 'false', autocomplete: 'off'}, JSON.stringify(task[name], null, 2))));
  await ask({title: 'Run again with other args', yes: 'Run as a new task',
    text: 'A new task is made; this one stays as it is. Values shown as [redacted] are taken from this one.',
    fields: [area('args', 'Args (a JSON array)'), area('kwargs', 'Kwargs (a JSON object)')],
    act: async ({args, kwargs}) => {
      const {id} = await post(`/api/v1/tasks/${task.id}/replay`,
        {args: args === undefined ? undefined : parsed('Args', args), kwargs: kwargs === undefined ? undefined : parsed('Kwargs', kwargs)});
      tell('A new task runs.');
      go(`/task/${id}`);
    }});
}

function actions(task, go) {
  const path = `/api/v1/tasks/${task.id}`;
  const waits = task.state === 'PENDING' || task.state === 'RETRY';
  const sure = async (title, text, yes, verb, words) => {
    if (await ask({title, text, yes, danger: true})) await order(`${path}/${verb}`, {}, words);
  };
  const forItsTime = waits && !task.enqueued_at && !task.waits && !task.parked_on;
  return h('div', {class: 'acts'}, ...[
    forItsTime ? button('Run now', {title: 'It does not wait for its time any more', run: () => order(`${path}/run`, {}, 'It runs now.')}) : null,
    waits ? button('Revoke', {danger: true, run: () => sure('Revoke this task?', 'It will not run.', 'Revoke', 'revoke', 'Revoked.')}) : null,
    task.state === 'STARTED' || task.still_runs ? button('Terminate', {danger: true, run: () => sure('Terminate this task?',
      'Nothing of this attempt is committed to the database. What it did elsewhere is not undone. If it has not ended after some seconds, its process is ended.', 'Terminate', 'terminate', 'Terminated.')}) : null,
    (task.state === 'FAILURE' || task.state === 'REVOKED') && !task.payload
      ? button('Retry', {run: () => order(`${path}/retry`, {}, ({waits_for: first}) => (first ? `It does not run yet: it waits for ${first}.` : 'It will run again.'))}) : null,
    task.payload ? null : button('Run again with other args…', {run: () => runAgain(task, go)}),
    task.state === 'FAILURE' ? button('Delete', {role: 'admin', danger: true, run: () => sure('Delete this task?',
      'It and its errors are gone then; this cannot be undone.', 'Delete for ever', 'delete', 'Deleted.')}) : null,
  ].filter(Boolean));
}

function lineage(task) {
  const link = (id) => h('a', {href: `/task/${id}`, class: 'code'}, id);
  return [
    task.parent_id ? field('Made from', link(task.parent_id), h('span', {class: 'sub'}, `by ${task.made_by}`)) : [],
    task.root_id && task.root_id !== task.parent_id ? field('First of all', link(task.root_id)) : [],
    task.replays?.length ? field('Run again as', ...task.replays.flatMap((id) => [link(id), ' '])) : [],
  ].flat();
}

function options(task) {
  return [
    task.checkpoint === null ? [] : field(task.state === 'SUCCESS' ? 'Last checkpoint' : 'Goes on from', h('code', {}, JSON.stringify(task.checkpoint))),
    task.flow ? field('Flow', h('a', {href: `/flow/${task.flow}`, class: 'code'}, task.flow), h('span', {class: 'sub'}, `step ${task.flow_step}${task.waits ? ', waits for those before it' : ''}`)) : [],
    task.expires_at ? field('Expires', moment(task.expires_at)) : [],
    task.parked_on ? field('Waits for', 'a place or its turn under the ', h('a', {href: '/limits'}, 'limit'), ' of ', h('code', {}, task.parked_on)) : [],
    task.limit_key ? field('Limit key', h('code', {}, task.limit_key)) : [],
    task.unique_key ? field('Unique key', h('code', {}, task.unique_key)) : [],
    task.traceparent ? field('Trace', h('code', {}, task.traceparent)) : [],
    ...Object.entries(task.headers ?? {}).map(([name, value]) => field(`Header ${name}`, String(value))),
  ].flat();
}

/* How far it says that it is. */
function progress({progress: said}) {
  if (!said) return null;
  const words = said.total ? `${said.done} of ${said.total}` : String(said.done);
  return h('section', {class: 'panel', 'data-key': 'Progress', 'aria-label': 'Progress'}, h('h2', {}, 'Progress'), h('p', {class: 'progress'},
    h('progress', said.total ? {max: String(said.total), value: String(Math.min(said.done, said.total)), 'aria-label': words} : {'aria-label': words}),
    h('span', {}, words, said.text ? ` · ${said.text}` : ''), time(said.updated_at)));
}

/* The lines that it has said; those of former attempts are told apart. */
function logs(lines) {
  if (!lines.length) return null;
  return h('section', {class: 'panel', 'data-key': 'Log'}, h('div', {class: 'panel-head'}, h('h2', {}, 'Log'), h('span', {class: 'dim'}, plural(lines.length, 'line'))),
    h('ol', {class: 'log', tabindex: '0', 'aria-label': 'Log'}, lines.map((line) => h('li', {class: line.level},
      h('span', {class: 'dim nowrap'}, exactTime(line.at).slice(11, 23)), h('span', {class: 'level'}, `#${line.attempt} ${line.level}`), h('span', {}, line.text)))));
}

function draw(root, {task, lines, queue}, go) {
  update(root, [
    h('p', {class: 'crumb'}, h('a', {href: '/tasks'}, 'Tasks'), ' / ', h('a', {href: `/tasks?${new URLSearchParams({task: task.task})}`}, task.task)),
    h('div', {class: 'title'}, h('h1', {}, dotted(task.task)), badge(task.state), actions(task, go)),
    h('p', {class: 'ident'}, h('code', {}, task.id), copyButton(task.id, 'UUID')),
    h('div', {class: 'columns'},
      h('section', {class: 'panel', 'aria-label': 'Fields'}, h('h2', {}, 'Fields'), h('dl', {class: 'fields'},
        field('State', badge(task.state), task.still_runs ? h('span', {class: 'sub'}, 'its worker still runs it') : null),
        field('Queue', h('a', {href: `/tasks?${new URLSearchParams({queue: task.queue})}`}, task.queue)),
        field('Priority', task.priority),
        field('Attempt', `${task.attempt} of ${task.max_attempts}`),
        field('Worker', task.worker ? h('a', {href: `/worker/${encodeURIComponent(task.worker)}`}, task.worker) : h('span', {class: 'dim'}, '–')),
        field('Received', moment(task.created_at)),
        field(task.parked_on ? 'Tried again' : 'Not before', moment(task.scheduled_at)),
        field('Ready', moment(task.enqueued_at)),
        field('Started', moment(task.started_at)),
        field('Finished', moment(task.finished_at)),
        field('Runtime', task.state === 'STARTED' ? age(task.started_at) : duration(task.runtime)),
        ...options(task), ...lineage(task),
        field('Stream entry', task.delivery ? h('code', {}, task.delivery) : h('span', {class: 'dim'}, '–')))),
      h('section', {class: 'panel', 'aria-label': 'Timeline'}, h('h2', {}, 'Timeline'), timeline(task, queue))),
    ...[
      progress(task), logs(lines),
      task.state === 'SUCCESS' ? null : block('Error', task.error),
      block('Result', large(task, 'result'), task.result_bytes),
      block('Args', large(task, 'args'), task.args_bytes),
      block('Kwargs', large(task, 'kwargs'), task.kwargs_bytes),
      block('Undecodable payload', task.payload),
    ],
  ]);
}

export function showTask(root, [id], go) {
  const lines = [];
  let queue = null; /* its own, while it is ready */
  let rounds = 0;
  let last = '';
  follow(async () => {
    const task = await get(`/api/v1/tasks/${encodeURIComponent(id)}`);
    const added = await get(`/api/v1/tasks/${encodeURIComponent(id)}/logs`, {after: lines.at(-1)?.number});
    lines.push(...added.lines);
    /* Seldom: it costs more than the task does. */
    if (isReady(task) && rounds++ % 3 === 0) queue = (await get('/api/v1/queues')).queues.find(({name}) => name === task.queue) ?? null;
    const text = JSON.stringify([task, lines.length, queue]);
    if (text !== last) {
      const log = root.querySelector('.log');
      const isAtEnd = log && log.scrollHeight > log.clientHeight && log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
      draw(root, {task, lines, queue}, go);
      if (isAtEnd) log.scrollTop = log.scrollHeight;
    }
    last = text;
    if (root.isConnected) document.title = `${task.task} · Till`;
  }, (error) => root.replaceChildren(
    h('h1', {}, error.status === 404 ? 'No such task' : 'Task'),
    h('p', {class: 'notice bad', role: 'alert'}, error.status === 404 ? `There is no task ${id}. It may have been pruned.` : error.message),
    h('p', {}, h('a', {href: '/tasks'}, 'To all tasks'))));
}
