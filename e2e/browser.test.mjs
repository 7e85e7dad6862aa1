// The page of the pusher's documentation in a real browser: with AutobahnJS, with our own small library, and as the
// template makes it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { launch } from './browser.mjs';
import { Inbox, Node, outFolder, run, within } from './node.mjs';

const HERE = path.dirname(fileURLToPath(import.meta.url));
const reference = (name) => readFile(path.join(HERE, 'reference', name), 'utf8');

/** The two libraries that define `autobahn` for a page. */
const LIBRARIES = {
  'autobahn.min.js of AutobahnJS': path.join(HERE, 'node_modules', 'autobahn-browser', 'autobahn.min.js'),
  'our wamp.js': path.join(HERE, '..', 'crates', 'server', 'web', 'wamp.js'),
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

/** Serves a page and a script beside it, as any web server would. */
async function serve(page, script) {
  const server = createServer((request, response) => {
    const [type, body] = request.url === '/' ? ['text/html', page] : ['text/javascript', script];
    const found = request.url === '/' || request.url === '/autobahn.min.js';
    response.writeHead(found ? 200 : 404, { 'content-type': `${type}; charset=utf-8` }).end(found ? body : '');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Opens a page; each console line comes as the text that a person would read. */
async function open(url) {
  const page = await browser.newPage();
  const lines = new Inbox(`a line on the console of ${url}`);
  page.on('console', (message) => lines.push(message.text()));
  page.on('pageerror', (error) => lines.push(`error: ${error.message}`));
  await page.goto(url);
  return { page, lines };
}

/** Reads the console up to a line that starts so. */
async function read(lines, start) {
  for (;;) {
    const line = await lines.next();
    if (line.startsWith(start)) return line;
    assert.ok(!line.startsWith('error:') && !line.startsWith('Connection lost'), line);
  }
}

/** The documented command line, its address replaced. The answer is the publication's id. */
async function curl(url) {
  const args = ['-sS', '-H', 'Content-Type: application/json', '-d', '{"topic": "com.myapp.topic1", "args": ["Hello, world"]}', url];
  const { stdout } = await promisify(execFile)('curl', args);
  assert.ok(Number.isSafeInteger(JSON.parse(stdout).id), stdout);
}

describe('the documented page on the documented standalone configuration', () => {
  let node;
  before(async () => {
    const config = (await reference('standalone.json')).replace('9000', '0').replace('8080', '0');
    node = await Node.start(JSON.parse(config));
  });
  after(async () => {
    assert.equal(await node?.stop(), 0);
  });

  for (const [name, file] of Object.entries(LIBRARIES)) {
    test(`hears a posted event with ${name}`, async () => {
      assert.ok(existsSync(file), `${file} is missing: \`npm ci\` in e2e brings AutobahnJS, wamp.js is our own`);
      const page = (await reference('standalone.html')).replace('ws://127.0.0.1:9000', node.url('ws'));
      const site = await serve(page, await readFile(file));
      const tab = await open(site.url);
      try {
        await read(tab.lines, 'Connected');
        // The page subscribes after it has said so and says nothing more, so the event is posted until it is heard.
        const heard = read(tab.lines, 'Got event:');
        await until(heard, () => curl(`${node.url('http')}/`));
        assert.match(await heard, /^Got event: \[Hello, world\]/);
      } finally {
        await tab.page.close();
        site.close();
      }
    });
  }
});

/** Repeats an action, each time after the last one has ended, until a promise is settled. */
async function until(promise, action) {
  let settled = false;
  const end = promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  while (!settled) {
    await action();
    await Promise.race([end, new Promise((resolve) => setImmediate(resolve))]);
  }
}

describe('the page of the template', () => {
  let node;
  before(async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'stentor-'));
    await run(['init', '--template', 'pusher'], { cwd: folder });
    const file = path.join(folder, '.stentor', 'config.json');
    await writeFile(file, (await readFile(file, 'utf8')).replace('8080', '0'));
    node = await Node.startIn(folder, 1);
  });
  after(async () => {
    assert.equal(await node?.stop(), 0);
  });

  test('says that it is connected and shows what is posted', async () => {
    const { page, lines } = await open(`${node.url('http')}/`);
    try {
      await read(lines, 'Connected');
      const shown = page.locator('#events li', { hasText: 'Hello, world' }).first().waitFor();
      await until(shown, () => curl(`${node.url('http')}/push`));
      await within(shown, 'the event in the page');
      await read(lines, 'Got event:');
      await page.screenshot({ path: path.join(await outFolder(), 'template-pusher.png'), fullPage: true });
    } finally {
      await page.close();
    }
  });
});
