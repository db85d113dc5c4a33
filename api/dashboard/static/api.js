/* SPDX-License-Identifier: MIT
 *
 * Reading from the server, and the mark that says whether what is shown is fresh.
 */
import {prefix} from './dom.js';
import {setServerTime} from './format.js';

const INTERVAL_MS = 2000;
const TIMEOUT_MS = 8000;
const ORDER_TIMEOUT_MS = 20000;

const button = document.getElementById('live');
const text = document.getElementById('live-text');

let paused = false;
let loops = 0; /* counts the pages shown; only the loops of the last one go on */
let wake = [];

function mark(state, words) {
  if (button.dataset.state === state && text.textContent === words) return;
  button.dataset.state = state;
  text.textContent = words;
  button.title = state === 'paused' ? 'Click to go on' : 'Click to pause';
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

export async function get(path, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) if (value) query.set(name, value);
  const url = query.size ? `${prefix}${path}?${query}` : prefix + path;
  const answer = await fetch(url, {
    headers: {Accept: 'application/json', ...(asksItself ? MAX_AGE : {})}, cache: 'no-store',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  setServerTime(answer.headers.get('Date'));
  return read(answer);
}

async function read(answer) {
  const body = await answer.json().catch(() => null);
  if (answer.status === 401 && !location.pathname.endsWith('/login')) {
    location.assign(`${prefix}/login?${new URLSearchParams({next: location.pathname.slice(prefix.length) + location.search})}`);
  }
  if (!answer.ok) throw new ApiError(answer.status, body?.detail ?? `The server answered ${answer.status}.`, body);
  return body;
}

/* An order. It is never repeated by itself: whether it was carried out is not known after a failure. */
export async function post(path, body) {
  const answer = await fetch(prefix + path, {
    method: 'POST', cache: 'no-store', signal: AbortSignal.timeout(ORDER_TIMEOUT_MS),
    headers: {Accept: 'application/json', 'Content-Type': 'application/json'}, body: JSON.stringify(body ?? {}),
  });
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
        if (error instanceof ApiError && error.status < 500) {
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

button.addEventListener('click', () => setPaused(!paused));
document.addEventListener('visibilitychange', () => wake.splice(0).forEach((go) => go()));
