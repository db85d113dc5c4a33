/* SPDX-License-Identifier: MIT
 *
 * JSON of tasks without a digit lost: 9007199254740993 is no number of JavaScript's, and 1.0 would come back as 1.
 * Such a number is kept as it was written, and JSON.stringify() writes it so.
 */

/* What people and their programs have written; all other members are ours, and are counted with. */
const THEIRS = new Set(['args', 'kwargs', 'result', 'checkpoint']);

/* Whether a text may have such a number; ours have fewer digits, or a point before them. */
const MAY_LOSE = /(?<![\d.])\d{16}|\d\.0(?!\d)/;

const keep = (_, value, context) => (Number.isInteger(value) && JSON.rawJSON && context && String(value) !== context.source
  ? JSON.rawJSON(context.source) : value);

export const parseExactly = (text) => JSON.parse(text, keep);

function graft(plain, exact) {
  if (plain === null || typeof plain !== 'object') return;
  for (const name of Object.keys(plain)) {
    if (THEIRS.has(name) && !Array.isArray(plain)) plain[name] = exact[name];
    else graft(plain[name], exact[name]);
  }
}

/* An answer of the server, in which what is theirs is exact. */
export function parseAnswer(text) {
  const answer = JSON.parse(text);
  if (MAY_LOSE.test(text)) graft(answer, parseExactly(text));
  return answer;
}
