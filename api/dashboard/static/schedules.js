/* SPDX-License-Identifier: MIT
 *
 * Schedules: what comes when, in words, with its last and next run; and the history of one.
 */
import {follow, get} from './api.js';
import {button, order} from './desk.js';
import {cell, dotted, h, table, update} from './dom.js';
import {badge, duration, exactTime, time} from './format.js';
import {chooser} from './many.js';

const KINDS = {fired: 'success', skipped: 'retry', missed: 'failure', waiting: 'pending'};

function actions(schedule) {
  const path = `/api/v1/schedules/${encodeURIComponent(schedule.name)}`;
  if (schedule.removed_at) return [button('Forget its pause', {key: `turn ${schedule.name}`, run: () => order(`${path}/resume`, {}, `The pause of ${schedule.name} is forgotten.`)})];
  return [
    button('Run now', {key: `run ${schedule.name}`, run: () => order(`${path}/run`, {}, `${schedule.name} runs now.`)}),
    schedule.paused_at
      ? button('Resume', {key: `turn ${schedule.name}`, run: () => order(`${path}/resume`, {}, `${schedule.name} goes on.`)})
      : button('Pause', {key: `turn ${schedule.name}`, run: () => order(`${path}/pause`, {}, `${schedule.name} is paused.`)}),
  ].filter(Boolean);
}

function status(schedule) {
  if (schedule.problem) return [h('span', {class: 'badge failure'}, 'BROKEN'), h('span', {class: 'sub bad'}, schedule.problem)];
  if (schedule.removed_at) {
    return [h('span', {class: 'badge retry'}, 'REMOVED'), h('span', {class: 'sub'}, 'paused ', time(schedule.paused_at), schedule.paused_by ? ` by ${schedule.paused_by}` : '',
      '; not in the file any more, and paused when it comes back')];
  }
  if (schedule.paused_at) return [h('span', {class: 'badge retry'}, 'PAUSED'), h('span', {class: 'sub'}, time(schedule.paused_at), schedule.paused_by ? ` by ${schedule.paused_by}` : '')];
  return [h('span', {class: 'badge success'}, 'ON')];
}

/* As a person has set it: "1 h", not "60 min 0 s". */
function setting(seconds) {
  for (const [length, unit] of [[86400, 'd'], [3600, 'h'], [60, 'min']]) if (seconds % length === 0) return `${seconds / length} ${unit}`;
  return duration(seconds);
}

function when(schedule) {
  return [h('span', {}, schedule.words ?? schedule.cron), h('span', {class: 'sub'}, h('code', {}, schedule.cron), ` ${schedule.zone}`,
    schedule.jitter_s ? ` · jitter ${setting(schedule.jitter_s)}` : '')];
}

/* When it really comes; beneath, the tick, where its jitter makes it come later. */
function next(schedule, isExact) {
  const run = schedule.next_run_at ?? schedule.next_at;
  if (schedule.paused_at || !run) return [time(null)];
  const later = (Date.parse(run) - Date.parse(schedule.next_at)) / 1000;
  return [time(run), isExact ? h('span', {class: 'sub'}, exactTime(run)) : null,
    later > 0 ? h('span', {class: 'sub'}, 'tick ', isExact ? exactTime(schedule.next_at) : time(schedule.next_at), ` + ${duration(later)}`) : null];
}

function catchUp({catch_up_runs: runs, catch_up_s: seconds}) {
  if (!runs || !seconds) return 'what was missed is not made up for';
  return `${runs === 1 ? 'the last run' : `the last ${runs} runs`} of the past ${setting(seconds)}`;
}

function row(schedule) {
  return h('tr', {'data-key': schedule.name},
    cell('Schedule', 'name', h('a', {href: `/schedule/${encodeURIComponent(schedule.name)}`}, schedule.name), h('span', {class: 'sub'}, dotted(schedule.task)),
      schedule.queue ? h('span', {class: 'sub'}, 'queue ', schedule.queue) : null),
    cell('When', 'reason', ...when(schedule)),
    cell('State', 'state', ...status(schedule)),
    cell('Next', 'nowrap', ...next(schedule, false)),
    cell('Last', 'nowrap', schedule.last_job ? h('a', {href: `/task/${schedule.last_job}`}, time(schedule.last_run_at)) : time(schedule.last_run_at),
      schedule.last_state ? h('span', {class: 'sub'}, badge(schedule.last_state)) : null),
    cell('Actions', 'acts', ...actions(schedule)));
}

const COLUMNS = [['Schedule'], ['When'], ['State'], ['Next'], ['Last'], ['Actions']];

export function showSchedules(root) {
  const content = h('div', {});
  let last = '';
  let schedules = null;
  const chosen = chooser('Schedule', () => schedules && draw());
  const draw = () => {
    const {shown, note} = chosen.choose(schedules);
    const box = table('Schedules', COLUMNS, h('tbody', {}, shown.map(row)));
    box.classList.add('cards');
    update(content, [shown.length ? box : '', note,
      schedules.length ? '' : h('div', {class: 'empty'}, h('p', {}, 'There is no schedule yet.'),
        h('p', {}, 'The scheduler reads them from the file that ', h('code', {}, 'TILL_SCHEDULES_FILE'), ' names.'))]);
  };
  root.append(h('h1', {}, 'Schedules'), chosen.node, content);
  follow(async () => {
    ({schedules} = await get('/api/v1/schedules'));
    const text = JSON.stringify(schedules);
    if (text === last) return;
    last = text;
    draw();
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}

function runRow(run) {
  return h('tr', {'data-key': run.job ?? run.tick_at},
    cell('Tick', 'nowrap', time(run.tick_at), run.by_hand ? h('span', {class: 'sub'}, 'by hand') : null),
    cell('Outcome', '', h('span', {class: `badge ${KINDS[run.outcome] ?? 'pending'}`}, run.outcome), run.ticks > 1 ? h('span', {class: 'sub'}, `${run.ticks} ticks`) : null),
    cell('Task', 'target', run.job ? h('a', {href: `/task/${run.job}`, class: 'code'}, run.job) : '', run.state ? h('span', {class: 'sub'}, badge(run.state)) : null),
    cell('Finished', 'nowrap', time(run.finished_at)),
    cell('Reason', 'dim', run.reason ?? ''));
}

export function showSchedule(root, [name]) {
  let last = '';
  follow(async () => {
    const answer = await get(`/api/v1/schedules/${encodeURIComponent(name)}`);
    const text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    const {schedule, runs} = answer;
    const box = table('Runs', [['Tick'], ['Outcome'], ['Task'], ['Finished'], ['Reason']], h('tbody', {}, runs.map(runRow)));
    box.classList.add('cards');
    update(root, [
      h('p', {class: 'crumb'}, h('a', {href: '/schedules'}, 'Schedules'), ' / ', name),
      h('div', {class: 'title'}, h('h1', {}, name), ...status(schedule), h('div', {class: 'acts'}, ...actions(schedule))),
      h('section', {class: 'panel'}, h('dl', {class: 'fields'},
        h('dt', {}, 'When'), h('dd', {}, ...when(schedule)),
        h('dt', {}, 'Next'), h('dd', {}, ...next(schedule, true)),
        h('dt', {}, 'Jitter'), h('dd', {}, schedule.jitter_s ? `up to ${setting(schedule.jitter_s)} after its tick, always the same` : 'none'),
        h('dt', {}, 'After a downtime'), h('dd', {}, catchUp(schedule)),
        h('dt', {}, 'Queue'), h('dd', {}, schedule.queue ? h('a', {href: `/tasks?${new URLSearchParams({queue: schedule.queue})}`}, schedule.queue) : 'as its task declares'),
        h('dt', {}, 'Task'), h('dd', {}, h('a', {href: `/tasks?${new URLSearchParams({task: schedule.task})}`}, schedule.task)),
        h('dt', {}, 'Args'), h('dd', {class: 'code'}, JSON.stringify(schedule.args)),
        h('dt', {}, 'Kwargs'), h('dd', {class: 'code'}, JSON.stringify(schedule.kwargs)),
        h('dt', {}, 'While one runs'), h('dd', {}, {skip: 'the next is skipped', queue: 'one waits', allow: 'they run side by side'}[schedule.overlap]))),
      h('h2', {}, 'Runs'), runs.length ? box : h('div', {class: 'empty'}, h('p', {}, 'It has not run yet.'))]);
  }, (error) => root.replaceChildren(
    h('h1', {}, error.status === 404 ? 'No such schedule' : 'Schedule'),
    h('p', {class: 'notice bad', role: 'alert'}, error.status === 404 ? `There is no schedule ${name}.` : error.message),
    h('p', {}, h('a', {href: '/schedules'}, 'To all schedules'))));
}
