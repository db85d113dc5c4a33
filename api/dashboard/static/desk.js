/* SPDX-License-Identifier: MIT
 *
 * Giving orders: buttons that only those see who may, questions before what cannot be undone, and one
 * line that tells what came of it.
 */
import {post} from './api.js';
import {h} from './dom.js';

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

/* Asks in a dialog; resolves to the form's values, or null. `fields` are nodes with names. */
export function ask({title, text, yes, danger, fields = []}) {
  return new Promise((resolve) => {
    const form = h('form', {method: 'dialog'},
      h('h2', {id: 'ask-title'}, title), text ? h('p', {}, text) : null, ...fields,
      h('div', {class: 'buttons'},
        h('button', {type: 'submit', value: 'no', formnovalidate: true}, 'Cancel'),
        h('button', {type: 'submit', value: 'yes', class: danger ? 'danger' : 'primary'}, yes)));
    const dialog = h('dialog', {'aria-labelledby': 'ask-title'}, form);
    const before = document.activeElement;
    dialog.addEventListener('close', () => {
      const values = dialog.returnValue === 'yes' ? Object.fromEntries(new FormData(form)) : null;
      dialog.remove();
      if (before?.isConnected) before.focus({preventScroll: true});
      resolve(values);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const plural = (count, one) => `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;

/* Carries an order out and tells of it. `words` gets the answer. */
export async function order(path, body, words) {
  try {
    const done = await post(path, body);
    tell(typeof words === 'function' ? words(done) : words);
    return done;
  } catch (error) {
    tell(error.message, 'bad');
    return null;
  }
}

/* The same for what is done in parts: asks again until nothing is left. */
export async function orderAll(path, body, what) {
  let changed = 0;
  let rest = body;
  try {
    for (;;) {
      const done = await post(path, rest);
      changed += done.changed;
      if (!done.next && !done.more) break;
      tell(`${plural(changed, 'task')} ${what} so far …`);
      rest = {...body, cursor: done.next ?? undefined};
    }
    tell(`${plural(changed, 'task')} ${what}.`);
  } catch (error) {
    tell(`${plural(changed, 'task')} ${what}, then: ${error.message}`, 'bad');
  }
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
