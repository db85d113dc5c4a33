/* SPDX-License-Identifier: MIT
 *
 * Light or dark before the first paint: the visitor's choice, else the system's.
 */
(() => {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try {
    chosen = localStorage.getItem('till-theme');
  } catch { /* storage is switched off: the system's choice then */ }

  const show = () => {
    root.dataset.theme = chosen === 'light' || chosen === 'dark' ? chosen : dark.matches ? 'dark' : 'light';
  };
  dark.addEventListener('change', show);
  show();

  addEventListener('DOMContentLoaded', () => {
    document.getElementById('theme').addEventListener('click', () => {
      chosen = root.dataset.theme === 'dark' ? 'light' : 'dark';
      try {
        localStorage.setItem('till-theme', chosen);
      } catch { /* it holds for this page then */ }
      show();
    });
  });
})();
