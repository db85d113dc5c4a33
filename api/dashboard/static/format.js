/* SPDX-License-Identifier: MIT
 *
 * Numbers, times and values as people read them. Relative times are kept up to date by tick().
 */
import {h} from './dom.js';

const number = new Intl.NumberFormat('en');
const exact = new Intl.DateTimeFormat('sv-SE', {
  year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit',
  fractionalSecondDigits: 3, timeZoneName: 'short',
});

const YEAR = 365.25 * 86400; /* seconds */

let skew = 0; /* of this machine's clock against the server's, ms */

export function setServerTime(date) {
  const server = Date.parse(date);
  /* The header has whole seconds: less than two says nothing. */
  if (!Number.isNaN(server)) skew = Math.abs(server - Date.now()) > 2000 ? server - Date.now() : 0;
}

export const now = () => Date.now() + skew;

export const count = (value) => (Number.isFinite(value) ? number.format(value) : '–');

export const plural = (value, one) => `${count(value)} ${one}${value === 1 ? '' : 's'}`;

/* {count, is_exact}: counting stops at 10,000; beyond a hundred thousand it is an estimate. */
export function sum(value) {
  if (!value) return '–';
  if (value.is_exact) return count(value.count);
  return value.count === 10000 ? `${count(value.count)}+` : `≈ ${count(value.count)}`;
}

/* A sum of one queue: what is not exact is at least so many. */
export const atLeast = (value) => (value && !value.is_exact ? `${count(value.count)}+` : sum(value));

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  if (seconds < 0.001) return '< 1 ms';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(2)} s`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 60 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

function distance(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  if (seconds < 2 * YEAR) return `${Math.floor(seconds / 86400)} d`;
  return `${Math.floor(seconds / YEAR)} years`;
}

function relative(time) {
  const seconds = (now() - time) / 1000;
  if (Math.abs(seconds) < 1) return 'now';
  return seconds > 0 ? `${distance(seconds)} ago` : `in ${distance(-seconds)}`;
}

function waited(time) {
  const seconds = Math.max(0, Math.floor((now() - time) / 1000));
  return seconds < 120 ? `${seconds} s` : duration(seconds);
}

const instant = (text) => Date.parse(String(text).replace(/(\.\d{3})\d*Z$/, '$1Z'));

const isTime = (text) => Boolean(text) && !Number.isNaN(instant(text));

export function exactTime(text) {
  return exact.format(instant(text)).replace(',', '.');
}

/* <time>: relative, the exact one on hover; or a dash. */
export function time(text) {
  if (!isTime(text)) return h('span', {class: 'dim'}, '–');
  return h('time', {datetime: text, title: `${exactTime(text)}\n${text}`}, relative(instant(text)));
}

/* How long ago, without "ago": the age of what waits. */
export function age(text) {
  if (!isTime(text)) return h('span', {class: 'dim'}, '–');
  return h('time', {datetime: text, title: `since ${exactTime(text)}`, 'data-age': ''},
    waited(instant(text)));
}

/* Brings every relative time on the page up to date. */
export function tick() {
  for (const node of document.querySelectorAll('time[datetime]')) {
    const at = instant(node.getAttribute('datetime'));
    const text = node.hasAttribute('data-age')
      ? waited(at) : relative(at);
    if (node.textContent !== text) node.textContent = text;
  }
}

export function bytes(value) {
  if (!Number.isFinite(value)) return '–';
  if (value < 1024) return `${value} B`;
  if (value < 1024 ** 2) return `${(value / 1024).toFixed(1)} KiB`;
  if (value < 1024 ** 3) return `${(value / 1024 ** 2).toFixed(1)} MiB`;
  return `${(value / 1024 ** 3).toFixed(2)} GiB`;
}

/* A JSON value on one line; the size when the list has left it out. */
export function value(json, size) {
  if (json === null || json === undefined) return size > 0 ? `… ${bytes(size)}` : '';
  return JSON.stringify(json);
}

/* What a state means, in a badge: colour is never the only sign. */
export function badge(state) {
  return h('span', {class: `badge ${state.toLowerCase()}`}, state);
}
