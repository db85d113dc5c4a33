/* SPDX-License-Identifier: MIT
 *
 * Throughput, latency and depth over time, as lines drawn in SVG. Each chart says in words what it
 * shows, and has its figures as a table.
 */
import {follow, get} from './api.js';
import {h, table, update} from './dom.js';
import {count, duration, exactTime, now as serverNow} from './format.js';

const RANGES = [['hour', 'Last hour'], ['day', 'Last day'], ['week', 'Last week']];
const HEIGHT = 180;
const BOTTOM = 22;
const TOP = 10;
const RIGHT = 8;
const LETTER = 7; /* a letter of the axes is no wider */

function s(tag, attributes, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/* One point for each step of the range, with noughts where nothing was written, and how many minutes it has
   had so far. A minute is there when it is over, a longer step while it goes on. */
function fill({minutes, step, points}) {
  const width = step * 60000;
  const now = serverNow();
  const last = Math.floor(now / width) * width - (step === 1 ? width : 0);
  const held = new Map(points.map((point) => [Date.parse(point.at), point]));
  return Array.from({length: minutes / step}, (_, i) => {
    const at = last - (minutes / step - 1 - i) * width;
    return {...held.get(at), at, minutes: Math.max(1, Math.min(step, (now - at) / 60000))};
  });
}

/* A round number not below the largest value; of seconds one that is round in minutes, hours, days, as its half is. */
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

const LONG = [60, 120, 240, 600, 1200, 3600, 7200, 14400, 43200, 86400, 172800];

function ceilingOfTime(value) {
  if (value <= 50) return ceiling(value);
  return LONG.find((n) => n >= value) ?? 172800 * ceiling(value / 172800);
}

/* For an axis: "2 min", not "2 min 0 s". */
const roundTime = (value) => (value ? duration(value).replace(/ 0 (s|min|h)$/, '') : '0');

/* A line for each run of minutes that have a value; one that stands alone is a dot, of some length: of none it is
   not drawn where the line is dashed. */
function path(points, value, x, y) {
  let out = '';
  let pen = 'M';
  points.forEach((point, i) => {
    const v = value(point);
    if (v === null || v === undefined) {
      pen = 'M';
      return;
    }
    out += `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}${pen === 'M' ? 'h.1' : ''}`;
    pen = 'L';
  });
  return out;
}

const clock = new Intl.DateTimeFormat('en', {hour: '2-digit', minute: '2-digit', hour12: false});
const day = new Intl.DateTimeFormat('en', {weekday: 'short', hour: '2-digit', hour12: false});

/* `kind` says how its values are shown; `width` is in pixels, as wide as it will be: text is not scaled. */
function chart(title, points, series, kind, range, width) {
  const {show} = kind;
  const all = points.flatMap((point) => series.map((one) => one.value(point) ?? 0));
  const top = kind.ceiling(Math.max(...all));
  const labels = [0, 0.5, 1].map((part) => kind.mark(top * part));
  const left = 10 + LETTER * Math.max(...labels.map((label) => label.length));
  const x = (i) => left + (i / Math.max(1, points.length - 1)) * (width - left - RIGHT);
  const y = (v) => TOP + (1 - v / top) * (HEIGHT - TOP - BOTTOM);
  const marks = [0, 0.5, 1].map((part, i) => s('g', {},
    s('line', {x1: left, x2: width - RIGHT, y1: y(top * part), y2: y(top * part), class: 'grid'}),
    s('text', {x: left - 6, y: y(top * part) + 4, class: 'axis', 'text-anchor': 'end'}, labels[i])));
  const format = range === 'week' ? day : clock;
  const times = [0, Math.floor((points.length - 1) / 2), points.length - 1].map((i, n) =>
    s('text', {x: x(i), y: HEIGHT - 5, class: 'axis', 'text-anchor': ['start', 'middle', 'end'][n]}, format.format(points[i].at)));
  const lines = series.map((one) => s('path', {d: path(points, one.value, x, y), class: `line ${one.kind}`}));
  const words = series.map((one) => {
    const values = points.map(one.value).filter((v) => v !== null && v !== undefined);
    return values.length ? `${one.label}: at most ${show(Math.max(...values))}, last ${show(values.at(-1))}` : `${one.label}: nothing`;
  }).join('; ');
  const rows = points.filter((point) => series.some((one) => one.value(point)));
  return h('figure', {class: 'panel chart'},
    h('figcaption', {class: 'panel-head'}, h('h2', {}, title),
      h('span', {class: 'keys'}, series.map((one) => h('span', {class: `key ${one.kind}`}, one.label)))),
    s('svg', {viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': `${title}. ${words}.`}, ...marks, ...times, ...lines),
    h('details', {}, h('summary', {}, 'As a table'),
      table(title, [['Time'], ...series.map((one) => [one.label, 'number'])], h('tbody', {}, rows.map((point) =>
        h('tr', {'data-key': String(point.at)}, h('td', {class: 'nowrap'}, exactTime(new Date(point.at).toISOString()).slice(0, 16)),
          series.map((one) => h('td', {class: 'number'}, show(one.value(point) ?? 0)))))))));
}

const rates = {show: (v) => count(Math.round(v * 10) / 10), ceiling};
rates.mark = rates.show;
const whole = {show: (v) => count(Math.round(v)), ceiling: (v) => Math.max(2, ceiling(v))};
whole.mark = whole.show;
const times = {show: duration, mark: roundTime, ceiling: ceilingOfTime};

/* The width of one of them, which the style decides. */
function widthIn(content) {
  const one = content.querySelector('svg');
  return Math.max(200, Math.round(one?.clientWidth || 640));
}

function draw(content, answer) {
  const width = widthIn(content);
  const points = fill(answer);
  const rate = (name) => (point) => (point[name] ?? 0) / point.minutes;
  const of = (name) => (point) => point[name] ?? null;
  /* What becomes of them is counted for all queues together. */
  const ended = answer.queue
    ? [{label: 'ended', kind: 'good', value: rate('ended')}]
    : [{label: 'succeeded', kind: 'good', value: rate('succeeded')}, {label: 'retried', kind: 'warn', value: rate('retried')},
      {label: 'failed', kind: 'bad', value: rate('failed')}];
  const line = (title, series, kind) => chart(title, points, series, kind, answer.range, width);
  update(content, [
    line('Tasks ended a minute', ended, rates),
    line('Waiting for a worker', [{label: 'tasks', kind: 'info', value: (point) => point.waiting ?? 0}], whole),
    line('Time from ready to begun', [{label: 'half', kind: 'info', value: of('wait_p50')}, {label: '95 %', kind: 'warn', value: of('wait_p95')}], times),
    line('Run time', [{label: 'half', kind: 'info', value: of('run_p50')}, {label: '95 %', kind: 'warn', value: of('run_p95')}], times)]);
  if (Math.abs(widthIn(content) - width) > 1) draw(content, answer);
}

/* The address of these charts with another range or queue. */
function address(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, text] of Object.entries(changes)) {
    if (text) query.set(name, text);
    else query.delete(name);
  }
  return query.size ? `/charts?${query}` : '/charts';
}

function queueChoice(queue, go) {
  const select = h('select', {id: 'c-queue', on: {change: () => go(address({queue: select.value}))}},
    h('option', {value: ''}, 'All together'), queue ? h('option', {value: queue}, queue) : null);
  select.value = queue;
  get('/api/v1/queues').then(({queues}) => {
    select.append(...queues.filter(({name}) => name !== queue).map(({name}) => h('option', {value: name}, name)));
  }, () => null);
  return h('label', {for: 'c-queue'}, 'Queue', select);
}

export function showCharts(root, _, go) {
  const query = new URLSearchParams(location.search);
  const range = query.get('range') ?? 'hour';
  const queue = query.get('queue') ?? '';
  const content = h('div', {class: 'charts'});
  const empty = h('div', {class: 'empty', hidden: true},
    h('p', {}, queue ? 'Nothing has waited or ended in this queue in this time.' : 'There are no figures yet.'),
    h('p', {}, 'The leading scheduler writes them once a minute: ', h('code', {}, 'till-scheduler')));
  let last = '';
  let shown = null;
  /* Another width is another drawing: one that is stretched has letters that nobody can read. */
  new ResizeObserver(() => {
    const drawn = content.querySelector('svg')?.viewBox.baseVal.width;
    if (shown && drawn && Math.abs(widthIn(content) - drawn) > 1) draw(content, shown);
  }).observe(content);
  root.append(h('h1', {}, queue ? `Charts of ${queue}` : 'Charts'),
    h('nav', {class: 'states', 'aria-label': 'Range'}, RANGES.map(([name, label]) =>
      h('a', {href: address({range: name}), 'aria-current': name === range ? 'true' : null}, label))),
    h('div', {class: 'filters'}, queueChoice(queue, go)), empty, content);
  follow(async () => {
    const answer = await get('/api/v1/charts', {range, queue});
    const text = JSON.stringify(answer) + Math.floor(serverNow() / 60000);
    if (text === last) return;
    last = text;
    empty.hidden = answer.points.length > 0;
    content.hidden = answer.points.length === 0;
    shown = answer.points.length ? answer : null;
    if (shown) draw(content, shown);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
