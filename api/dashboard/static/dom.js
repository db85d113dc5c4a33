/* SPDX-License-Identifier: MIT
 *
 * Making elements. Whatever comes from a job becomes a text node or an attribute's value, never
 * markup: there is no innerHTML anywhere in the dashboard.
 */

/* Where a proxy shows the dashboard: what stands before /static/ in this file's own address. */
export const prefix = new URL('..', import.meta.url).pathname.replace(/\/$/, '');

/* h('a', {href: '/', class: 'x'}, 'text', node, null): attributes that are null or false are left
 * out; `on` holds listeners. */
export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      const own = name === 'href' && String(value).startsWith('/') ? prefix : '';
      node.setAttribute(name, value === true ? '' : own + String(value));
    }
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/* Makes the children of `parent` be `wanted`, in order, moving only what is not in place: focus and
 * selection in the others survive. */
export function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((child, i) => {
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null);
  });
}

/* Calls `draw`, which makes the content anew, and gives the focus back to what has the same data-key. */
export function redraw(root, draw) {
  const key = root.contains(document.activeElement) ? document.activeElement.closest('[data-key]')?.dataset.key : null;
  draw();
  if (key) [...root.querySelectorAll('[data-key]')].find((node) => node.dataset.key === key)?.focus({preventScroll: true});
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
