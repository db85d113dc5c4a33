/* SPDX-License-Identifier: MIT
 *
 * The login page. Where it leads is an address of the dashboard and nothing else.
 */
import {h, prefix} from './dom.js';
import {get, post} from './api.js';

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
