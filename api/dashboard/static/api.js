/* SPDX-License-Identifier: MIT
 *
 * Reading from the server, and the mark that says whether what is shown is fresh.
 */
import {prefix} from './dom.js';
import {setServerTime} from './format.js';
import {parseAnswer} from './json.js';

const INTERVAL_MS = 2000;
const TIMEOUT_MS = 8000;
const ORDER_TIMEOUT_MS = 20000;
const PRESSED_MS = 30000;

const button = document.getElementById('live');
const text = document.getElementById('live-text');

let paused = false;
let ended = false; /* the page has been told that there is nothing to follow */
let loops = 0; /* counts the pages shown; only the loops of the last one go on */
let wake = [];

function mark(state, words) {
  if (button.dataset.state === state && text.textContent === words) return;
  button.dataset.state = state;
  text.textContent = words;
  button.title = ended ? 'Click to try again' : state === 'paused' ? 'Click to go on' : 'Click to pause';
}

export class ApiError extends Error {
  constructor(status, words, body) {
    super(words);
    this.status = status;
    this.body = body;
  }
}

let asksItself = false; /* the page looks again without anybody having told it to */

/* What a page asks again and again is read once for all that are open: it may be some seconds old. */
const MAX_AGE = {'Cache-Control': 'max-age=10'};

export const ORDER_HEADERS = {Accept: 'application/json', 'Content-Type': 'application/json'};

/* Nothing is drawn while a button of the mouse is down: what is pressed or selected must not go away before it is let go. */
let pressed = null;
let pressing;

function press({button: which, target}) {
  if (which !== 0 || pressed || target.closest?.('select')) return;
  pressed = Promise.withResolvers();
  pressing = setTimeout(letGo, PRESSED_MS); /* should its end not be told */
}

function letGo() {
  const one = pressed;
  pressed = null;
  clearTimeout(pressing);
  if (one) setTimeout(one.resolve); /* once the click has been heard */
}

addEventListener('pointerdown', press, true);
for (const end of ['pointerup', 'pointercancel', 'dragend', 'blur']) addEventListener(end, letGo, true);

/* Resolves once somebody is logged in again, and with what was typed still there; else the page goes to the login. */
let logInAgain = () => {
  location.assign(`${prefix}/login?${new URLSearchParams({next: location.pathname.slice(prefix.length) + location.search})}`);
  return new Promise(() => {});
};

export function whenLoggedOut(ask) {
  const leave = logInAgain;
  logInAgain = async () => {
    mark('lost', 'Logged out');
    if (!await ask()) await leave();
  };
}

/* What is refused for want of a login has not been done: it is sent again after it. */
async function send(path, timeout, options) {
  for (;;) {
    const answer = await fetch(prefix + path, {...options, cache: 'no-store', signal: AbortSignal.timeout(timeout)});
    if (answer.status !== 401 || location.pathname.endsWith('/login')) return answer;
    await logInAgain();
  }
}

export async function get(path, parameters) {
  const byItself = asksItself;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) if (value) query.set(name, value);
  const answer = await send(query.size ? `${path}?${query}` : path, TIMEOUT_MS, {headers: {Accept: 'application/json', ...(byItself ? MAX_AGE : {})}});
  setServerTime(answer.headers.get('Date'));
  const body = await read(answer);
  if (byItself) await pressed?.promise;
  return body;
}

export async function read(answer) {
  const body = await answer.text().then(parseAnswer).catch(() => null);
  if (!answer.ok) throw new ApiError(answer.status, body?.detail ?? `The server answered ${answer.status}.`, body);
  return body;
}

/* An order. It is never repeated by itself: whether it was carried out is not known after a failure. */
export async function post(path, body) {
  const answer = await send(path, ORDER_TIMEOUT_MS, {method: 'POST', headers: ORDER_HEADERS, body: JSON.stringify(body ?? {})});
  const done = await read(answer);
  refresh();
  return done;
}

/* Looks at once instead of after the interval. */
export function refresh() {
  wake.splice(0).forEach((go) => go());
}

/* Ends every loop of the page that was shown before. */
export function leavePage() {
  loops++;
  ended = false;
  asksItself = false;
  wake.splice(0).forEach((go) => go());
}

/* Resolves to true after the interval, or to false when something has happened that makes waiting
 * pointless. */
function rest(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), milliseconds);
    wake.push(() => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}

/* Refusals that are over by themselves: of a proxy that has had enough, as of a server that is down. */
const PASSING = [408, 425, 429];

const isFinal = (error) => error instanceof ApiError && error.status < 500 && !PASSING.includes(error.status);

/* Calls `read` now and every two seconds until the page is left, but not while it is paused or
 * hidden. `fail` gets the error of the first call; later ones only turn the mark red, and the last
 * good state stays to be seen. */
export async function follow(read, fail) {
  const mine = loops;
  let shown = false;
  let byItself = false;
  while (mine === loops) {
    if ((!paused && !document.hidden) || !shown) {
      try {
        asksItself = shown && byItself;
        await read();
        shown = true;
        if (mine === loops && !paused) mark('live', 'Live');
      } catch (error) {
        if (mine !== loops) return;
        if (isFinal(error)) {
          ended = true;
          mark('lost', 'No data');
          fail(error);
          return;
        }
        mark('lost', 'Feed lost, retrying');
        if (!shown) fail(error);
      }
    }
    if (mine === loops) asksItself = false;
    wake = [];
    byItself = await rest(INTERVAL_MS);
  }
}

function setPaused(value) {
  paused = value;
  if (paused) mark('paused', 'Paused');
  else mark('wait', 'Connecting');
  wake.splice(0).forEach((go) => go());
}

button.addEventListener('click', () => {
  if (ended) location.reload();
  else setPaused(!paused);
});
document.addEventListener('visibilitychange', () => wake.splice(0).forEach((go) => go()));
