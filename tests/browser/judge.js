// SPDX-License-Identifier: MIT
//
// What is wrong with how a page looks, or with what a screen reader makes of it.
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';

// Contrast of every text with what is behind it, by WCAG 2's formula.
export function poorContrasts() {
  const canvas = document.createElement('canvas');
  const brush = canvas.getContext('2d', {willReadFrequently: true});
  const rgba = (color) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = color;
    brush.fillRect(0, 0, 1, 1);
    return brush.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const owner = node.parentElement;
    if (!node.textContent.trim() || !owner.checkVisibility() || owner.closest('.unseen, .skip, noscript, option')) continue;
    let behind = owner;
    while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const back = light(behind ? rgba(getComputedStyle(behind).backgroundColor) : [255, 255, 255]);
    const front = light(rgba(getComputedStyle(owner).color));
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${owner.className} ${node.textContent.slice(0, 30)}`);
  }
  return poor;
}

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// What axe finds on the page as it is, one line a finding.
export async function findings(page) {
  await page.evaluate(axe);
  return page.evaluate(async () => (await window.axe.run(document, {resultTypes: ['violations']})).violations
    .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`));
}

// Labels of cards, which stand left of their values where there is no room for a table, that are longer than their place.
export function longLabels() {
  const brush = document.createElement('canvas').getContext('2d');
  return [...new Set([...document.querySelectorAll('.cards td[data-label]')].filter((cell) => {
    const before = getComputedStyle(cell, '::before');
    brush.font = before.font;
    return before.position === 'absolute' && before.display !== 'none' && brush.measureText(cell.dataset.label).width > parseFloat(getComputedStyle(cell).paddingLeft);
  }).map((cell) => cell.dataset.label))];
}
