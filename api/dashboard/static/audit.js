/* SPDX-License-Identifier: MIT
 *
 * The audit log: who did what, when, to what, and what came of it.
 */
import {follow, get} from './api.js';
import {cell, h, table, update} from './dom.js';
import {time} from './format.js';

const COLUMNS = [['When'], ['Who'], ['Action'], ['Target'], ['Outcome'], ['Detail'], ['From']];
const FILTERS = ['actor', 'action', 'target', 'cursor'];
const KINDS = {done: 'success', nothing: 'pending', refused: 'retry', failed: 'failure'};
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const current = () => {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? '']));
};

function address(changes) {
  const query = new URLSearchParams();
  for (const [name, text] of Object.entries({...current(), cursor: '', ...changes})) if (text) query.set(name, text);
  return query.size ? `/audit?${query}` : '/audit';
}

function target(entry) {
  if (ID.test(entry.target)) return h('a', {href: `/task/${entry.target}`, class: 'code'}, entry.target);
  return entry.target || h('span', {class: 'dim'}, '–');
}

function row(entry) {
  const detail = Object.entries(entry.detail ?? {}).map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`).join(' · ');
  return h('tr', {},
    cell('When', 'nowrap', time(entry.at)),
    cell('Who', '', h('a', {href: address({actor: entry.actor})}, entry.actor), h('span', {class: 'sub'}, entry.role)),
    cell('Action', 'nowrap', h('a', {href: address({action: entry.action})}, entry.action)),
    cell('Target', 'target', target(entry)),
    cell('Outcome', '', h('span', {class: `badge ${KINDS[entry.outcome]}`}, entry.outcome)),
    cell('Detail', 'dim', detail),
    cell('From', 'dim nowrap', entry.remote));
}

export function showAudit(root) {
  const filter = current();
  const content = h('div', {});
  let last = '';
  root.append(h('h1', {}, 'Audit log'),
    h('div', {class: 'filters'}, ...FILTERS.filter((name) => name !== 'cursor' && filter[name]).map((name) =>
      h('a', {class: 'chip', href: address({[name]: ''}), 'aria-label': `Remove the filter ${name} ${filter[name]}`},
        `${name}: ${filter[name]}`, h('span', {'aria-hidden': 'true'}, '×')))), content);
  follow(async () => {
    const answer = await get('/api/v1/audit', filter);
    const text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    const box = table('Audit log', COLUMNS, h('tbody', {}, answer.entries.map(row)));
    box.classList.add('cards');
    update(content, [answer.entries.length ? box
      : h('div', {class: 'empty'}, h('p', {}, 'Nobody has done anything here yet.'), h('p', {}, 'Each retry, revoke, pause or order will be listed, with who gave it.')),
    h('nav', {class: 'pager', 'aria-label': 'Further pages'},
      filter.cursor ? h('a', {class: 'button', href: address({})}, 'Newest') : null,
      answer.next ? h('a', {class: 'button', rel: 'next', href: address({cursor: String(answer.next)})}, 'Older') : null)]);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
