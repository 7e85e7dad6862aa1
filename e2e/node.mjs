// A real stentor process for one test: started in a folder of its own, waited for by its own words, stopped by its own
// process id.
//
// Knows the command line, the readiness lines on standard error and the folder. It knows nothing of WAMP, and it never
// sleeps: whatever is awaited is awaited by an event with a deadline.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** How long a start, a stop or a single expectation may take before the test says so. */
export const DEADLINE_MS = 20_000;

/** The server under test; told by the runner, never guessed, so that no other build is tested by accident. */
export function binary() {
  const file = process.env.STENTOR_BIN;
  if (!file) throw new Error('STENTOR_BIN is not set: run these tests with `cargo xtask e2e`');
  return file;
}

/** Where pictures go that a person may want to look at afterwards. */
export async function outFolder() {
  const folder = process.env.E2E_OUT ?? path.join(tmpdir(), 'stentor-e2e');
  await mkdir(folder, { recursive: true });
  return folder;
}

/** Waits for a promise, and fails with a sentence if that takes too long. */
export async function within(promise, what, milliseconds = DEADLINE_MS) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** A queue between callbacks and a test: `push` from the callback, `await next()` in the test. */
export class Inbox {
  #items = [];
  #waiting = [];

  constructor(name) {
    this.name = name;
  }

  push(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  async next() {
    if (this.#items.length > 0) return this.#items.shift();
    return within(new Promise((resolve) => this.#waiting.push(resolve)), this.name);
  }

  /** What has come and was not asked for. */
  get rest() {
    return [...this.#items];
  }
}

/** Runs `stentor` to its end and gives what it said. */
export async function run(args, { cwd }) {
  const child = spawn(binary(), args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  const [code] = await within(once(child, 'close'), `stentor ${args.join(' ')}`);
  if (code !== 0) throw new Error(`stentor ${args.join(' ')} ended with ${code}:\n${output}`);
  return output;
}

export class Node {
  #child;
  #log = [];
  #listening = [];

  /** Writes the configuration into a fresh node directory and starts the server on it. */
  static async start(config) {
    const folder = await mkdtemp(path.join(tmpdir(), 'stentor-'));
    await mkdir(path.join(folder, '.stentor'));
    await writeFile(path.join(folder, '.stentor', 'config.json'), JSON.stringify(config, null, 2));
    const transports = config.workers.flatMap((worker) => worker.transports ?? []).length;
    return Node.startIn(folder, transports);
  }

  /** Starts the server in a folder that has a node directory, and waits for that many transports. */
  static async startIn(folder, transports) {
    const node = new Node(folder);
    try {
      await within(node.#spawn(transports), `${transports} transport(s) to listen`);
    } catch (error) {
      await node.stop().catch(() => {});
      throw new Error(`${error.message}\n--- the server said:\n${node.log}`);
    }
    return node;
  }

  constructor(folder) {
    this.folder = folder;
  }

  #spawn(transports) {
    const args = ['start', '--cbdir', path.join(this.folder, '.stentor'), '--log-format', 'json'];
    this.#child = spawn(binary(), args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    return new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('exit', (code, signal) => reject(new Error(`stentor ended with ${code ?? signal}`)));
      createInterface({ input: this.#child.stderr }).on('line', (line) => {
        this.#log.push(line);
        const fields = parse(line);
        if (fields?.message !== 'listening') return;
        this.#listening.push(fields);
        if (this.#listening.length === transports) resolve();
      });
    });
  }

  /** The address of the first transport whose URL has this scheme, as `http://127.0.0.1:43211`, without a slash. */
  url(scheme) {
    const found = this.#listening.find((fields) => fields.url?.startsWith(`${scheme}://`));
    if (!found) throw new Error(`no transport listens on ${scheme}: ${JSON.stringify(this.#listening)}`);
    // A node that listens on all interfaces is reached on the loopback.
    return `${scheme}://${found.address.replace('0.0.0.0', '127.0.0.1')}`;
  }

  /** The WebSocket path of a web transport. */
  ws(pathname = '/ws') {
    return this.url('http').replace('http', 'ws') + pathname;
  }

  get log() {
    return this.#log.join('\n');
  }

  /** SIGTERM to our own child, and its exit code. The folder goes with it. */
  async stop() {
    const child = this.#child;
    try {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      const [code] = await within(exit, 'the server to stop after SIGTERM');
      return code;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      await rm(this.folder, { recursive: true, force: true });
    }
  }
}

/** The fields of a structured log line, flat or under `fields`; nothing for a line of another kind. */
function parse(line) {
  try {
    const object = JSON.parse(line);
    return { ...object, ...object.fields };
  } catch {
    return undefined;
  }
}

/** Posts an event, and gives status and parsed body. */
export async function post(url, event) {
  const response = await within(
    fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(event),
    }),
    `POST ${url}`,
  );
  return { status: response.status, body: await response.json() };
}
