/* SPDX-License-Identifier: MIT
 *
 * The broker: where Redis is, how it is, and what stands in it.
 */
import {follow, get} from './api.js';
import {cell, h, table, update} from './dom.js';
import {age, bytes, count, duration, time} from './format.js';

const COLUMNS = [['Queue'], ['Messages', 'number'], ['Unacked', 'number'], ['Ready', 'number'], ['Consumers', 'number'], ['Oldest waits', 'number'], ['Idle since']];

const AWAY = 'Redis does not answer. New tasks are kept in PostgreSQL and delivered once it is back.';

function field(label, ...children) {
  return [h('dt', {}, label), h('dd', {}, ...children)];
}

/* Both are in the stream until they are acknowledged. */
const messages = (queue) => (Number.isFinite(queue.depth) ? queue.depth + queue.pending : null);

function row(queue) {
  return h('tr', {'data-key': queue.name},
    cell('Queue', 'name', h('a', {href: `/tasks?${new URLSearchParams({queue: queue.name})}`}, queue.name)),
    cell('Messages', 'number', count(messages(queue))),
    cell('Unacked', 'number', count(queue.pending)),
    cell('Ready', 'number', count(queue.depth)),
    cell('Consumers', 'number', queue.consumers === 0 && messages(queue) ? h('span', {class: 'bad'}, '0') : count(queue.consumers)),
    cell('Oldest waits', 'number', age(queue.stream_oldest_at)),
    cell('Idle since', 'nowrap', time(queue.idle_since)));
}

function memory(server) {
  return server.memory_max_bytes ? `${bytes(server.memory_bytes)} of ${bytes(server.memory_max_bytes)}` : bytes(server.memory_bytes);
}

function facts(url, server) {
  return h('section', {class: 'panel', 'aria-label': 'Server'}, h('h2', {}, 'Server'), h('dl', {class: 'fields'},
    field('URL', h('code', {}, url)),
    ...(server ? [
      field('Redis', `${server.version} (${server.mode}, ${server.role})`), field('Up for', duration(server.uptime_seconds)),
      field('Memory', memory(server)), field('When memory is full', server.eviction || '–'),
      field('Clients', `${count(server.clients)}, of which ${count(server.blocked_clients)} wait`),
      field('Commands', `${count(server.commands_per_second)} a second`),
      field('Append-only file', server.appends ? 'yes' : 'no'), field('Last snapshot', time(server.saved_at)),
    ] : [])));
}

export function showBroker(root) {
  const content = h('div', {});
  let last = '';
  root.append(h('h1', {}, 'Broker'), content);
  follow(async () => {
    const answer = await get('/api/v1/broker');
    const text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    const {redis, server, queues, url} = answer;
    const box = table('Queues in Redis', COLUMNS, h('tbody', {}, queues.map(row)));
    box.classList.add('cards');
    update(content, [
      redis ? null : h('p', {class: 'notice warn', role: 'alert'}, AWAY),
      server && server.eviction && server.eviction !== 'noeviction'
        ? h('p', {class: 'notice warn', role: 'alert'}, `Redis drops keys when its memory is full (${server.eviction}). Set maxmemory-policy to noeviction.`) : null,
      facts(url, server), h('h2', {}, 'Queues'),
      queues.length ? box : h('div', {class: 'empty'}, h('p', {}, 'There is no queue yet.')),
    ]);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}
