/* SPDX-License-Identifier: MIT
 *
 * Long lists: a field that chooses by name, which stands in the address, and no more rows at a time than a
 * browser draws at once.
 */
import {h} from './dom.js';
import {count} from './format.js';

const FEW = 20; /* are seen at a glance */
const MANY = 200;

/* Of a list of things with names. `changed` is called when others are to be shown. */
export function chooser(label, changed) {
  let limit = MANY;
  const input = h('input', {id: 'f-name', type: 'search', autocomplete: 'off', spellcheck: 'false', on: {input: () => {
    const query = new URLSearchParams(location.search);
    if (input.value) query.set('name', input.value);
    else query.delete('name');
    history.replaceState(history.state, '', query.size ? `?${query}` : location.pathname);
    limit = MANY;
    changed();
  }}});
  const node = h('div', {class: 'filters', hidden: true}, h('label', {for: 'f-name', class: 'wide'}, label, input));
  const rest = (shown, found) => h('div', {class: 'rest'}, `The first ${count(shown)} of ${count(found)}.`,
    h('button', {type: 'button', class: 'small', 'data-key': 'more rows', on: {click: () => {
      limit += MANY;
      changed();
    }}}, 'Show more'));
  input.value = new URLSearchParams(location.search).get('name') ?? '';
  return {
    node,
    /* Those to be shown, and what says that there are others: an element, or ''. */
    choose(all) {
      const wanted = input.value.trim().toLowerCase();
      const found = all.filter(({name}) => String(name).toLowerCase().includes(wanted));
      node.hidden = all.length <= FEW && !input.value;
      if (all.length && !found.length) return {shown: [], note: h('div', {class: 'empty'}, h('p', {}, 'No name has that in it.'))};
      return {shown: found.slice(0, limit), note: found.length > limit ? rest(limit, found.length) : ''};
    },
  };
}
