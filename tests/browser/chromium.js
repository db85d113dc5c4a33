// SPDX-License-Identifier: MIT
//
// Chromium for the tests of a file, and its pages. Facts come as JSON in TILL_FACTS.
import assert from 'node:assert/strict';
import {after, before} from 'node:test';
import {chromium} from 'playwright-core';

export const facts = JSON.parse(process.env.TILL_FACTS);
export const WAIT = {timeout: 60000}; // as wait_for() of the others does, for a machine that is busy
let browser;

export function launch(...more) {
  return chromium.launch({
    executablePath: process.env.TILL_CHROMIUM ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', ...more],
  });
}

before(async () => {
  browser = await launch();
});
after(() => browser.close());

// A page whose complaints and requests to others are kept; `check` ends the test with them.
export async function open(options = {}) {
  const context = await browser.newContext({viewport: {width: 1440, height: 900}, ...options});
  context.setDefaultTimeout(WAIT.timeout);
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== facts.url) complaints.push(`request to ${request.url()}`);
  });
  const check = async () => {
    assert.deepEqual(complaints, []);
    await context.close();
  };
  return {page, check, complaints};
}

export async function visit(page, path) {
  await page.goto(facts.url + path);
  await page.waitForSelector('#live[data-state="live"]', WAIT);
}

export const rows = (page) => page.locator('table tbody tr');
export const names = (page) => page.locator('tbody td.name').allTextContents();
