// Debian's Chromium, driven for one test.

import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

// A browser under test talks to the server under test and to nobody else: no updates, no field trials, no QUIC.
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts the browser with an empty profile. */
export async function launch() {
  const executablePath = process.env.E2E_CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(`no browser at ${executablePath}: \`apt-get install chromium\`, or name one in E2E_CHROMIUM`);
  }
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}
