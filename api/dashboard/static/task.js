/* SPDX-License-Identifier: MIT
 *
 * One task: every field, and each attempt with what became of it.
 */
import {follow, get} from './api.js';
import {dotted, h} from './dom.js';
import {badge, bytes, duration, exactTime, time} from './format.js';

function field(label, ...children) {
  return [h('dt', {}, label), h('dd', {}, ...children)];
}

function moment(text) {
  return text ? h('span', {}, time(text), h('span', {class: 'sub'}, exactTime(text))) : h('span', {class: 'dim'}, '–');
}

function copyButton(text, what) {
  const button = h('button', {type: 'button', class: 'small', 'aria-label': `Copy ${what}`, on: {click: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Not allowed';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }}}, 'Copy');
  return button;
}

function block(title, text, size) {
  if (text === null || text === undefined || text === '') return null;
  return h('section', {class: 'panel'},
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

function attemptItem(attempt) {
  const [kind, words] = OUTCOMES[attempt.outcome];
  const took = seconds(attempt.started_at, attempt.ended_at);
  return h('li', {class: kind},
    h('div', {class: 'step'}, h('strong', {}, `Attempt ${attempt.attempt} ${words}`),
      took !== null ? h('span', {class: 'dim'}, `after ${duration(took)}`) : null,
      attempt.worker ? h('a', {href: `/worker/${encodeURIComponent(attempt.worker)}`}, attempt.worker) : null),
    h('div', {class: 'sub'}, attempt.started_at ? h('span', {}, 'started ', time(attempt.started_at)) : null,
      attempt.ended_at ? h('span', {}, attempt.started_at ? ' · ended ' : 'ended ', time(attempt.ended_at)) : null),
    attempt.error ? h('p', {class: 'error'}, attempt.error) : null,
    attempt.detail ? h('details', {}, h('summary', {}, 'Detail'), h('pre', {}, attempt.detail)) : null);
}

function plainItem(kind, words, at) {
  return h('li', {class: kind}, h('div', {class: 'step'}, h('strong', {}, words)), h('div', {class: 'sub'}, time(at)));
}

function timeline(task) {
  const items = [plainItem('', 'Enqueued', task.created_at), ...task.attempts.map(attemptItem)];
  const waiting = task.state === 'PENDING' || task.state === 'RETRY';
  if (waiting && !task.enqueued_at) items.push(plainItem('pending', `Attempt ${task.attempt + 1} is due`, task.scheduled_at));
  else if (waiting) items.push(plainItem('pending', 'Waits for a worker since', task.enqueued_at));
  if (task.state === 'FAILURE') items.push(plainItem('failure', 'Dead: it is not tried again', task.finished_at));
  if (task.state === 'REVOKED') items.push(plainItem('revoked', 'Revoked', task.finished_at));
  return h('ol', {class: 'timeline'}, items);
}

function large(task, name) {
  return pretty(task[name]) ?? (task[`${name}_bytes`] > 0 ? `${bytes(task[`${name}_bytes`])}` : null);
}

function draw(root, task) {
  const open = [...root.querySelectorAll('details')].map((node) => node.open);
  root.replaceChildren(
    h('p', {class: 'crumb'}, h('a', {href: '/tasks'}, 'Tasks'), ' / ', h('a', {href: `/tasks?${new URLSearchParams({task: task.task})}`}, task.task)),
    h('div', {class: 'title'}, h('h1', {}, dotted(task.task)), badge(task.state)),
    h('p', {class: 'ident'}, h('code', {}, task.id), copyButton(task.id, 'UUID')),
    h('div', {class: 'columns'},
      h('section', {class: 'panel', 'aria-label': 'Fields'}, h('h2', {}, 'Fields'), h('dl', {class: 'fields'},
        field('State', badge(task.state)),
        field('Queue', h('a', {href: `/tasks?${new URLSearchParams({queue: task.queue})}`}, task.queue)),
        field('Priority', task.priority),
        field('Attempt', `${task.attempt} of ${task.max_attempts}`),
        field('Worker', task.worker ? h('a', {href: `/worker/${encodeURIComponent(task.worker)}`}, task.worker) : h('span', {class: 'dim'}, '–')),
        field('Received', moment(task.created_at)),
        field('Not before', moment(task.scheduled_at)),
        field('Ready', moment(task.enqueued_at)),
        field('Started', moment(task.started_at)),
        field('Finished', moment(task.finished_at)),
        field('Runtime', duration(task.runtime)),
        field('Stream entry', task.delivery ? h('code', {}, task.delivery) : h('span', {class: 'dim'}, '–')))),
      h('section', {class: 'panel', 'aria-label': 'Timeline'}, h('h2', {}, 'Timeline'), timeline(task))),
    ...[
      task.state === 'SUCCESS' ? null : block('Error', task.error),
      block('Result', large(task, 'result'), task.result_bytes),
      block('Args', large(task, 'args'), task.args_bytes),
      block('Kwargs', large(task, 'kwargs'), task.kwargs_bytes),
      block('Undecodable payload', task.payload),
    ].filter(Boolean));
  root.querySelectorAll('details').forEach((node, i) => { node.open = open[i] ?? i === open.length - 1; });
}

export function showTask(root, [id]) {
  let last = '';
  follow(async () => {
    const task = await get(`/api/v1/tasks/${encodeURIComponent(id)}`);
    const text = JSON.stringify(task);
    /* Redrawing would take focus and selection away for nothing. */
    if (text !== last) draw(root, task);
    last = text;
    document.title = `${task.task} · Till`;
  }, (error) => root.replaceChildren(
    h('h1', {}, error.status === 404 ? 'No such task' : 'Task'),
    h('p', {class: 'notice bad', role: 'alert'}, error.status === 404 ? `There is no task ${id}. It may have been pruned.` : error.message),
    h('p', {}, h('a', {href: '/tasks'}, 'To all tasks'))));
}
