/* SPDX-License-Identifier: MIT
 *
 * A new task by hand. The server checks it as it does for every producer, and names the field that is wrong.
 */
import {ApiError, follow, get, post} from './api.js';
import {may, tell, timeId} from './desk.js';
import {h} from './dom.js';
import {parseExactly} from './json.js';

const PATH = '/api/v1/enqueue';

/* A member of the request with its control, and where its error stands. */
function field(name, label, control, hint) {
  const problem = h('span', {class: 'problem', id: `p-${name}`, hidden: true});
  control.id = `e-${name}`;
  control.name = name;
  control.setAttribute('aria-describedby', `p-${name}${hint ? ` h-${name}` : ''}`);
  const node = h('div', {class: 'field'}, h('label', {for: control.id}, label), hint ? h('span', {class: 'sub', id: `h-${name}`}, hint) : null, control, problem);
  const show = (text) => {
    problem.textContent = text ?? '';
    problem.hidden = !text;
    if (text) control.setAttribute('aria-invalid', 'true');
    else control.removeAttribute('aria-invalid');
  };
  return {name, node, control, show};
}

const plain = {autocomplete: 'off', spellcheck: 'false'};
const text = (more) => h('input', {type: 'text', ...plain, ...more});
const number = (more) => h('input', {type: 'number', min: '0', step: 'any', ...more});
const json = (value, rows) => h('textarea', {rows, class: 'code', ...plain}, value);
const choice = (options) => h('select', {}, options.map(([value, label]) => h('option', {value}, label)));

function fieldsOf(task) {
  const known = h('datalist', {id: 'known-tasks'});
  const queues = h('datalist', {id: 'known-queues'});
  const offer = (list, names) => {
    if (names.length !== list.children.length) list.replaceChildren(...names.map((name) => h('option', {value: name})));
  };
  follow(async () => {
    if (!known.children.length) offer(known, (await get('/api/task/types'))['task-types']);
    offer(queues, (await get('/api/v1/queues')).queues.map(({name}) => name));
  }, () => null);
  const main = [
    field('task', 'Task', text({list: 'known-tasks', value: task, required: true, maxlength: '200'})),
    field('args', 'Args', json('[]', '3'), 'a JSON array'),
    field('kwargs', 'Kwargs', json('{}', '3'), 'a JSON object'),
    field('queue', 'Queue', text({list: 'known-queues', maxlength: '200'}), 'as the task declares when it is empty'),
    field('priority', 'Priority', choice([['normal', 'normal'], ['high', 'high'], ['low', 'low']])),
    field('countdown', 'Runs after', number(), 'seconds from now; empty: at once'),
    field('eta', 'or not before', h('input', {type: 'datetime-local', step: '1'}), 'by the clock of this browser'),
  ];
  const more = [
    field('expires', 'Expires after', number(), 'seconds from now; no attempt begins after that'),
    field('max_retries', 'Retries', number({step: '1', max: '1000'}), 'as the task declares when it is empty'),
    field('unique_key', 'Unique key', text({maxlength: '200'}), 'at most one unfinished task has it'),
    field('on_conflict', 'When another has that key', choice([['', 'keep the other one'], ['replace', 'replace the other one, while it waits'], ['refuse', 'refuse this one']])),
    field('unique_ttl', 'Gives the key up after', number({step: '1', min: '1'}), 'seconds; empty: when it is finished'),
    field('limit_key', 'Limit key', text({maxlength: '200'}), 'what limits of keys count it by'),
    field('retention', 'Kept for', number({step: '1', min: '1'}), 'seconds after its end; as the task declares when it is empty'),
    field('headers', 'Headers', json('{}', '2'), 'a JSON object of texts'),
  ];
  return {main, more, lists: [known, queues]};
}

const NUMBERS = ['countdown', 'expires', 'max_retries', 'unique_ttl', 'retention'];
const JSONS = ['args', 'kwargs', 'headers'];

/* The member's value; throws what is wrong with it. Undefined: it is not given. */
function valueOf(name, said) {
  if (said === '') return undefined;
  if (JSONS.includes(name)) return parseExactly(said);
  if (NUMBERS.includes(name)) return Number(said);
  return name === 'eta' ? new Date(said).toISOString() : said;
}

function read(fields) {
  const body = {};
  const wrong = {};
  for (const {name, control} of fields) {
    if (name === 'task') continue;
    try {
      if (control.validity.badInput) throw new Error(name === 'eta' ? 'this is no time' : 'this is no number');
      body[name] = valueOf(name, control.value.trim());
    } catch (error) {
      wrong[name] = error instanceof SyntaxError ? `this is no JSON: ${error.message}` : error.message;
    }
  }
  if (body.countdown !== undefined && body.eta !== undefined) wrong.eta = 'either so many seconds from now, or a time';
  if (body.headers && !Object.keys(body.headers).length) delete body.headers;
  return {body, wrong};
}

const OUTCOMES = {
  added: 'The task is enqueued.',
  kept: 'Nothing was enqueued: this task has the unique key.',
  replaced: 'This task had the unique key, and now says what the new one said.',
};

export function showEnqueue(root, _, go) {
  if (!may('operator')) {
    root.append(h('h1', {}, 'New task'), h('p', {class: 'notice bad', role: 'alert'}, 'This needs the role operator.'));
    return;
  }
  const {main, more, lists} = fieldsOf(new URLSearchParams(location.search).get('task') ?? '');
  const fields = [...main, ...more];
  const problem = h('p', {class: 'notice bad', role: 'alert', hidden: true});
  const enter = h('button', {type: 'submit', class: 'primary'}, 'Enqueue');
  const options = h('details', {class: 'more'}, h('summary', {}, 'More options'), h('div', {class: 'fields-grid'}, more.map(({node}) => node)));
  let id = timeId(); /* of one order: given again after a lost answer, it makes no second task */
  let lost = false;

  /* What is wrong, beside its field, and the first of these has the focus. */
  const complain = (wrong, rest) => {
    for (const one of fields) one.show(wrong[one.name]);
    const first = fields.find(({name}) => wrong[name]);
    problem.textContent = rest ?? (first ? 'Not enqueued: see the fields that are marked.' : '');
    problem.hidden = !problem.textContent;
    if (first && more.includes(first)) options.open = true;
    first?.control.focus();
  };
  const done = (made, words) => {
    tell(words);
    go(`/task/${made}`);
  };
  const place = async (task, body) => {
    try {
      const answer = await post(`${PATH}/${encodeURIComponent(task)}`, {...body, task_id: id});
      done(answer.id, OUTCOMES[answer.id === id ? 'added' : answer.outcome]);
    } catch (error) {
      if (lost && error.status === 409 && (error.body?.field === 'task_id' || error.message.includes(id))) {
        done(id, OUTCOMES.added);
        return;
      }
      lost = !(error instanceof ApiError);
      if (!lost) id = timeId();
      const name = fields.some((one) => one.name === error.body?.field) ? error.body.field : null;
      complain(name ? {[name]: error.message} : {}, name ? null : lost ? 'No answer has come. Enqueue again: it makes no second task.' : error.message);
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    if (enter.getAttribute('aria-disabled')) return;
    const task = main[0].control.value.trim();
    const {body, wrong} = read(fields);
    if (!task) wrong.task = 'which task?';
    complain(wrong);
    if (Object.keys(wrong).length) return;
    enter.setAttribute('aria-disabled', 'true');
    await place(task, body);
    enter.removeAttribute('aria-disabled');
  };
  /* Anything else than what was sent is another order. */
  const form = h('form', {class: 'panel enqueue', novalidate: true, on: {submit, input: () => { if (lost) { lost = false; id = timeId(); } }}},
    problem, ...lists, h('div', {class: 'fields-grid'}, main.map(({node}) => node)), options, h('div', {class: 'buttons'}, h('a', {class: 'button', href: '/tasks'}, 'Cancel'), enter));
  root.append(h('p', {class: 'crumb'}, h('a', {href: '/tasks'}, 'Tasks'), ' / New'), h('h1', {}, 'New task'), form);
}
