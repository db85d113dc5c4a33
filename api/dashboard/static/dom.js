/* SPDX-License-Identifier: MIT
 *
 * Making elements. Whatever comes from a job becomes a text node or an attribute's value, never
 * markup: there is no innerHTML anywhere in the dashboard.
 */

/* Where a proxy shows the dashboard: what stands before /static/ in this file's own address. */
export const prefix = new URL('..', import.meta.url).pathname.replace(/\/$/, '');

/* Marks that turn the direction of what follows make a text say something else than it has: they are shown as they are
 * written in JSON. */
const shown = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, (mark) => `\\u${mark.charCodeAt(0).toString(16)}`);

const isShown = (name) => name === 'title' || name === 'aria-label';

/* What an element does, by event. It is looked up when something happens, so that update() can give an element
 * that stays what its successor would have done. */
const listeners = new WeakMap();

function hear(event) {
  return listeners.get(event.currentTarget)?.[event.type]?.(event);
}

function listen(node, on) {
  listeners.set(node, on);
  for (const event of Object.keys(on)) node.addEventListener(event, hear);
}

/* h('a', {href: '/', class: 'x'}, 'text', node, null): attributes that are null or false are left
 * out; `on` holds listeners. */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'on') listen(node, value);
    else if (value !== null && value !== undefined && value !== false) {
      const own = name === 'href' && String(value).startsWith('/') ? prefix : '';
      node.setAttribute(name, value === true ? '' : isShown(name) ? shown(String(value)) : own + String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : shown(String(child)))));
  return node;
}

/* Makes the children of `parent` be `wanted`, in order, moving only what is not in place: focus and
 * selection in the others survive. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, i) => {
    if (parent.childNodes[i] !== child) parent.insertBefore(child, parent.childNodes[i] ?? null);
  });
}

/* ---- drawing again ---- */

/* An element is found again by its kind and its data-key. */
const kindOf = (node) => `${node.nodeName} ${node.dataset?.key ?? ''}`;

/* Set by people, or while an order is on its way: not a matter of what is drawn. */
const isTheirs = (node, name) => name === 'aria-disabled' || (name === 'open' && node.nodeName === 'DETAILS');

function takeAttributes(node, fresh) {
  for (const {name} of [...node.attributes]) if (!fresh.hasAttribute(name) && !isTheirs(node, name)) node.removeAttribute(name);
  for (const {name, value} of fresh.attributes) if (node.getAttribute(name) !== value && !isTheirs(node, name)) node.setAttribute(name, value);
}

/* Makes `node` look and do like `fresh`, which is of its kind and not used any more. */
export function become(node, fresh) {
  if (node.nodeType !== Node.ELEMENT_NODE) {
    if (node.data !== fresh.data) node.data = fresh.data;
    return node;
  }
  takeAttributes(node, fresh);
  if (listeners.has(fresh)) listen(node, listeners.get(fresh));
  update(node, [...fresh.childNodes]);
  return node;
}

/* Makes the children of `parent` look like `fresh`, nodes and texts. What is there already stays the same element:
 * what is being pressed, focused, selected, scrolled or opened stays so. It is found again by its data-key, else
 * by its place among those of its kind. */
export function update(parent, fresh) {
  const held = new Map();
  for (const node of parent.childNodes) {
    if (held.has(kindOf(node))) held.get(kindOf(node)).push(node);
    else held.set(kindOf(node), [node]);
  }
  const focused = document.activeElement;
  const wanted = fresh.filter((node) => node !== '' && node !== null).map((node) => (node instanceof Node ? node : document.createTextNode(shown(String(node)))));
  arrange(parent, wanted.map((node) => {
    const old = held.get(kindOf(node))?.shift();
    return old ? become(old, node) : node;
  }));
  /* What had to be moved has lost it. */
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({preventScroll: true});
}

/* A table in its own scrolling box. `columns` are [label, class]. */
export function table(caption, columns, ...bodies) {
  return h('div', {class: 'table-box', tabindex: '0', role: 'region', 'aria-label': caption},
    h('table', {},
      h('caption', {class: 'unseen'}, caption),
      h('thead', {}, h('tr', {}, columns.map(([label, kind]) => h('th', {scope: 'col', class: kind}, label)))),
      ...bodies));
}

/* A cell that tells its column where rows are shown as cards. */
export function cell(label, kind, ...children) {
  return h('td', {'data-label': label, class: kind}, ...children);
}

/* The name of a task, which may be broken after its dots and underscores and nowhere else. */
export function dotted(name) {
  return name.split(/(?<=[._])/).flatMap((part, i) => (i ? [document.createElement('wbr'), part] : [part]));
}
