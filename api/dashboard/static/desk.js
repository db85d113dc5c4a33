/* SPDX-License-Identifier: MIT
 *
 * Giving orders: buttons that only those see who may, questions before what cannot be undone, and one
 * line that tells what came of it.
 */
import {post} from './api.js';
import {h} from './dom.js';
import {now, plural} from './format.js';

/* Filled before the first page: {name, role, read_only, logged_in}. */
export const me = {};

const RANKS = ['viewer', 'operator', 'admin'];

export const may = (role) => !me.read_only && RANKS.indexOf(me.role) >= RANKS.indexOf(role);

const told = document.getElementById('told');
let clearing = 0;

export function tell(words, kind = 'good') {
  clearTimeout(clearing);
  told.textContent = words;
  told.dataset.kind = kind;
  told.classList.add('shown');
  clearing = setTimeout(() => told.classList.remove('shown'), kind === 'bad' ? 12000 : 5000);
}

/* Asks in a dialog; resolves to the form's values, or null. `fields` are nodes with names. Where `act` is given, it
 * gets the values, and what it throws is said in the dialog, which stays as it is: nothing that was typed is lost. */
export function ask({title, text, yes, danger, fields = [], act}) {
  return new Promise((resolve) => {
    let values = null;
    const problem = h('p', {class: 'notice bad', role: 'alert', hidden: true});
    const enter = h('button', {type: 'submit', class: danger ? 'danger' : 'primary'}, yes);
    const submit = async (event) => {
      event.preventDefault();
      if (enter.getAttribute('aria-disabled')) return;
      enter.setAttribute('aria-disabled', 'true');
      const given = Object.fromEntries(new FormData(form));
      try {
        await act?.(given);
        values = given;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
      }
      enter.removeAttribute('aria-disabled');
    };
    const form = h('form', {on: {submit}},
      h('h2', {id: 'ask-title'}, title), text ? h('p', {}, text) : null, ...fields, problem,
      h('div', {class: 'buttons'}, h('button', {type: 'button', on: {click: () => dialog.close()}}, 'Cancel'), enter));
    const dialog = h('dialog', {class: 'ask', 'aria-labelledby': 'ask-title'}, form);
    const before = document.activeElement;
    dialog.addEventListener('close', () => {
      dialog.remove();
      if (before?.isConnected) before.focus({preventScroll: true});
      resolve(values);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/* Leaves the questions of a page that is not shown any more unanswered. */
export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog.ask')) dialog.close();
}

/* Carries an order out and tells of it; throws why it could not. `words` gets the answer. */
export async function give(path, body, words) {
  const done = await post(path, body);
  tell(typeof words === 'function' ? words(done) : words);
  return done;
}

/* The same, and tells of what went wrong, too. */
export async function order(path, body, words) {
  try {
    return await give(path, body, words);
  } catch (error) {
    tell(error.message, 'bad');
    return null;
  }
}

const SKIPPED = {gone: 'gone meanwhile', unfinished: 'not over yet', unreadable: 'never decoded', done: 'run again by this order already'};

/* Why some were left out, ' 2 left out: …', or nothing. */
function leftOut(skipped) {
  const reasons = Object.entries(skipped ?? {}).map(([why, number]) => `${number.toLocaleString('en')} ${SKIPPED[why] ?? why}`);
  return reasons.length ? ` Left out: ${reasons.join(', ')}.` : '';
}

const stillWait = (number) => (number ? ` ${number.toLocaleString('en')} of them still wait for others of their flow.` : '');

export const cameOf = ({changed, skipped, waiting}, what, asked) =>
  `${asked ? `${changed.toLocaleString('en')} of ${asked.toLocaleString('en')}` : plural(changed, 'task')} ${what}.${stillWait(waiting)}${leftOut(skipped)}`;

/* The same for what is done in parts: asks again until nothing is left. Whether all of it was done. */
export async function orderAll(path, body, what) {
  const total = {changed: 0, waiting: 0, skipped: {}};
  let rest = body;
  try {
    for (;;) {
      const done = await post(path, rest);
      total.changed += done.changed;
      total.waiting += done.waiting ?? 0;
      for (const [why, number] of Object.entries(done.skipped ?? {})) total.skipped[why] = (total.skipped[why] ?? 0) + number;
      if (!done.next && !done.more) break;
      tell(`${plural(total.changed, 'task')} ${what} so far …`);
      rest = {...body, cursor: done.next ?? undefined};
    }
    tell(cameOf(total, what));
    return true;
  } catch (error) {
    tell(`${plural(total.changed, 'task')} ${what}, then: ${error.message}`, 'bad');
    return false;
  }
}

function uuid(bytes, version) {
  bytes[6] = (bytes[6] & 0x0f) | (version << 4);
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/* Not randomUUID(), which is there only where there is TLS. */
const random = () => crypto.getRandomValues(new Uint8Array(16));

/* The name of an order that makes something: given again, it makes nothing twice. */
export const orderName = () => uuid(random(), 4);

/* The id of a new task: of version 7, so that it sorts by time. */
export function timeId() {
  const bytes = random();
  for (let i = 5, at = now(); i >= 0; i--, at = Math.floor(at / 256)) bytes[i] = at % 256;
  return uuid(bytes, 7);
}

/* A button for an order, or nothing for those who may not. */
export function button(label, {role = 'operator', key, danger, title, run}) {
  if (!may(role)) return null;
  return h('button', {type: 'button', class: danger ? 'small danger' : 'small', title, 'data-key': key ?? label, on: {
    click: async (event) => {
      /* Not disabled: that would take the focus away. */
      const node = event.currentTarget;
      if (node.getAttribute('aria-disabled')) return;
      node.setAttribute('aria-disabled', 'true');
      try {
        await run();
      } finally {
        node.removeAttribute('aria-disabled');
      }
    },
  }}, label);
}
