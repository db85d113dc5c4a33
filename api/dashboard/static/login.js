/* SPDX-License-Identifier: MIT
 *
 * The login page, which leads to an address of the dashboard and nothing else; and the same over a page that is open
 * while the session ends.
 */
import {h, prefix} from './dom.js';
import {ORDER_HEADERS, get, post, read} from './api.js';

function next() {
  const wanted = new URLSearchParams(location.search).get('next') ?? '/';
  const url = new URL(prefix + wanted, location.origin);
  return wanted.startsWith('/') && url.origin === location.origin && url.pathname.startsWith(prefix || '/') ? url.href : `${prefix}/`;
}

/* A browser keeps a Secure cookie only where nobody can listen; elsewhere each login would lead back here. */
const INSECURE = `Nobody can log in at ${location.origin}: over plain http the browser does not keep the session. Use the address with https, or localhost on the machine itself.`;
const NOT_KEPT = 'The password is right, but the browser has not kept the session. Does it refuse cookies of this address?';

/* Throws what is wrong when the session did not last until the next request. */
async function meet() {
  try {
    await get('/api/v1/me');
  } catch (error) {
    throw error.status === 401 ? new Error(NOT_KEPT) : error;
  }
}

export function showLogin(root) {
  const problem = h('p', {class: 'notice bad', role: 'alert', hidden: isSecureContext}, isSecureContext ? '' : INSECURE);
  const name = h('input', {id: 'login-name', name: 'username', autocomplete: 'username', required: true, autocapitalize: 'none', spellcheck: 'false'});
  const password = h('input', {id: 'login-password', name: 'password', type: 'password', autocomplete: 'current-password', required: true});
  const enter = h('button', {type: 'submit', class: 'primary', disabled: !isSecureContext}, 'Log in');
  const submit = async (event) => {
    event.preventDefault();
    enter.disabled = true;
    problem.hidden = true;
    try {
      await post('/api/v1/login', {username: name.value, password: password.value});
      await meet();
      location.assign(next());
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      enter.disabled = false;
      password.value = '';
      password.focus();
    }
  };
  document.getElementById('live').hidden = true;
  root.append(h('form', {class: 'panel login', on: {submit}}, h('h1', {}, 'Log in'), problem,
    h('label', {for: 'login-name'}, 'Name', name), h('label', {for: 'login-password'}, 'Password', password), enter));
  name.focus();
}

/* ---- over an open page ---- */

/* Past api.js, which would ask for a login itself. */
async function look() {
  const answer = await fetch(`${prefix}/api/v1/me`, {headers: {Accept: 'application/json'}, cache: 'no-store'});
  return answer.ok ? read(answer) : null;
}

async function enterAs(username, password) {
  await read(await fetch(`${prefix}/api/v1/login`, {method: 'POST', headers: ORDER_HEADERS, cache: 'no-store', body: JSON.stringify({username, password})}));
  if (!await look()) throw new Error(NOT_KEPT);
}

let asking = null;

/* Whether the same person is logged in again; false: somebody else is to be asked. Nothing else is shown meanwhile. */
export function logInAgain(me) {
  asking ??= askAgain(me).finally(() => { asking = null; });
  return asking;
}

function askAgain(me) {
  const before = document.activeElement;
  const problem = h('p', {class: 'notice bad', role: 'alert', hidden: true});
  const password = h('input', {id: 'again-password', type: 'password', autocomplete: 'current-password', required: true});
  const name = h('input', {type: 'text', class: 'unseen', autocomplete: 'username', value: me.name, readonly: true, tabindex: '-1', 'aria-hidden': 'true'});
  return new Promise((resolve) => {
    const end = (isSame) => {
      removeEventListener('focus', lookAgain);
      dialog.remove();
      document.body.classList.toggle('away', !isSame);
      if (isSame && before?.isConnected) before.focus({preventScroll: true});
      resolve(isSame);
    };
    /* In another tab, perhaps; as somebody else it is another page. */
    const lookAgain = async () => {
      const now = await look().catch(() => null);
      if (!now || !dialog.isConnected) return;
      if (now.name === me.name && now.role === me.role) end(true);
      else location.reload();
    };
    const submit = async (event) => {
      event.preventDefault();
      problem.hidden = true;
      try {
        await enterAs(me.name, password.value);
        await lookAgain();
      } catch (error) {
        problem.textContent = error.message;
        problem.hidden = false;
        password.value = '';
        password.focus();
      }
    };
    const form = h('form', {on: {submit}}, h('h2', {id: 'again-title'}, 'Your session has ended'),
      h('p', {}, 'Log in again as ', h('strong', {}, me.name), ' to go on where you are.'), problem, name,
      h('label', {for: 'again-password'}, 'Password', password),
      h('div', {class: 'buttons'}, h('button', {type: 'button', on: {click: () => end(false)}}, 'As somebody else'), h('button', {type: 'submit', class: 'primary'}, 'Log in')));
    const dialog = h('dialog', {class: 'again', 'aria-labelledby': 'again-title', on: {cancel: (event) => event.preventDefault(), close: () => { if (dialog.isConnected) dialog.showModal(); }}}, form);
    document.body.classList.add('away');
    document.body.append(dialog);
    dialog.showModal();
    password.focus();
    addEventListener('focus', lookAgain);
  });
}
