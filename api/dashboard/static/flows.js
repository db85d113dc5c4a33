/* SPDX-License-Identifier: MIT
 *
 * Flows: how far each is, and one with its members in their order.
 */
import {follow, get} from './api.js';
import {ask, button, orderAll} from './desk.js';
import {cell, dotted, h, table, update} from './dom.js';
import {badge, count, duration, time} from './format.js';

const done = (flow) => ['SUCCESS', 'FAILURE', 'REVOKED'].reduce((sum, state) => sum + (flow.counts[state] ?? 0), 0);

/* Of a flow that has lost jobs, some may be open again behind its end. */
const isOpen = (flow) => ['PENDING', 'STARTED', 'RETRY'].some((state) => flow.counts[state]);

/* How much of it is over, as a bar and in words. */
function progress(flow) {
  return h('span', {class: 'progress'},
    h('progress', {max: String(Math.max(1, flow.total)), value: String(done(flow)), 'aria-label': `${done(flow)} of ${flow.total} are over`}),
    h('span', {class: 'sub'}, `${count(done(flow))} of ${count(flow.total)}`, flow.counts.FAILURE ? `, ${count(flow.counts.FAILURE)} dead` : ''));
}

const label = (flow) => flow.name ?? flow.id;

function row(flow) {
  return h('tr', {'data-key': flow.id},
    cell('Flow', 'name', h('a', {href: `/flow/${flow.id}`}, label(flow))),
    cell('State', 'state', badge(flow.state)),
    cell('Progress', '', progress(flow)),
    cell('Begun', 'nowrap', time(flow.created_at)),
    cell('Finished', 'nowrap', time(flow.finished_at)));
}

export function showFlows(root) {
  const query = new URLSearchParams(location.search);
  const cursor = query.get('cursor') ?? '';
  const content = h('div', {});
  let last = '';
  root.append(h('h1', {}, 'Flows'), content);
  follow(async () => {
    const answer = await get('/api/v1/flows', {cursor});
    const text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    const box = table('Flows', [['Flow'], ['State'], ['Progress'], ['Begun'], ['Finished']], h('tbody', {}, answer.flows.map(row)));
    box.classList.add('cards');
    update(content, [answer.flows.length ? box
      : h('div', {class: 'empty'}, h('p', {}, 'There is no flow yet.'), h('p', {}, 'A flow is a chain of tasks, or a group with a callback: see common/PROTOCOL.md.')),
    h('nav', {class: 'pager', 'aria-label': 'Further pages'},
      cursor ? h('a', {class: 'button', href: '/flows'}, 'Newest') : null,
      answer.next ? h('a', {class: 'button', rel: 'next', href: `/flows?${new URLSearchParams({cursor: answer.next})}`}, 'Older') : null)]);
  }, (error) => content.replaceChildren(h('p', {class: 'notice bad', role: 'alert'}, error.message)));
}

/* Why a member is not even ready. */
function waitsFor(member) {
  if (member.state !== 'PENDING' || !member.waits) return null;
  return h('span', {class: 'sub'}, member.waits_for ? `waits for ${member.waits_for}: retry that one` : 'waits for others');
}

function memberRow(member) {
  const took = member.started_at && member.finished_at ? (Date.parse(member.finished_at) - Date.parse(member.started_at)) / 1000 : null;
  return h('tr', {'data-key': member.id},
    cell('Step', 'number', String(member.step)),
    cell('Task', 'name', h('a', {href: `/task/${member.id}`}, dotted(member.task)), member.on_completion ? h('span', {class: 'sub'}, 'runs however those before it end') : null),
    cell('State', 'state', badge(member.state), waitsFor(member)),
    cell('Attempt', 'number', `${member.attempt} of ${member.max_attempts}`),
    cell('Started', 'nowrap', time(member.started_at)),
    cell('Runtime', 'number', duration(took)),
    cell('Error', 'reason bad', member.waits_for ? '' : member.error ?? ''));
}

async function cancel(flow) {
  const sure = await ask({title: 'Cancel this flow?', danger: true, yes: 'Cancel the flow', text: 'What waits or runs of it is revoked; what has ended stays as it is.'});
  if (sure) await orderAll(`/api/v1/flows/${flow.id}/cancel`, {}, 'revoked');
}

/* All members or those of one state, of which there may be one among thousands. */
function stateLinks(flow, chosen) {
  const link = (state, text, number) => h('a', {href: `/flow/${flow.id}${state ? `?${new URLSearchParams({state})}` : ''}`, class: state.toLowerCase(), 'data-key': state || 'ALL', 'aria-current': state === chosen ? 'true' : null},
    text, h('span', {class: 'n'}, count(number)));
  const states = Object.entries(flow.counts).filter(([state, number]) => number || state === chosen);
  return h('nav', {class: 'states', 'aria-label': 'State'}, link('', 'All', flow.total),
    ...states.map(([state, number]) => link(state, state[0] + state.slice(1).toLowerCase(), number)));
}

function pager(flow, members, {state, after}, hasMore) {
  const href = (place) => `/flow/${flow.id}?${new URLSearchParams({...(state ? {state} : {}), ...place})}`;
  return h('nav', {class: 'pager', 'aria-label': 'Further members'},
    after ? h('a', {class: 'button', href: href({})}, 'First members') : null,
    hasMore ? h('a', {class: 'button', rel: 'next', href: href({after: members.at(-1).step})}, 'Further members') : null);
}

export function showFlow(root, [id]) {
  const query = new URLSearchParams(location.search);
  const of = {state: query.get('state') ?? '', after: query.get('after') ?? ''};
  let last = '';
  follow(async () => {
    const answer = await get(`/api/v1/flows/${encodeURIComponent(id)}`, of);
    const text = JSON.stringify(answer);
    if (text === last) return;
    last = text;
    const {flow, members} = answer;
    const box = table('Members', [['Step', 'number'], ['Task'], ['State'], ['Attempt', 'number'], ['Started'], ['Runtime', 'number'], ['Error']], h('tbody', {}, members.map(memberRow)));
    box.classList.add('cards');
    update(root, [
      h('p', {class: 'crumb'}, h('a', {href: '/flows'}, 'Flows'), ' / ', label(flow)),
      h('div', {class: 'title'}, h('h1', {}, label(flow)), badge(flow.state),
        h('div', {class: 'acts'}, ...[flow.finished_at && !isOpen(flow) ? null : button('Cancel', {danger: true, run: () => cancel(flow)})].filter(Boolean))),
      h('p', {}, progress(flow)),
      flow.counts.FAILURE ? h('p', {class: 'dim'}, 'Retry the dead tasks, each on its page: what they have stopped goes on then.') : '',
      stateLinks(flow, of.state), box, pager(flow, members, of, answer.has_more)]);
  }, (error) => root.replaceChildren(
    h('h1', {}, error.status === 404 ? 'No such flow' : 'Flow'),
    h('p', {class: 'notice bad', role: 'alert'}, error.status === 404 ? `There is no flow ${id}. It may have been pruned.` : error.message),
    h('p', {}, h('a', {href: '/flows'}, 'To all flows'))));
}
