// pubsubhubbub on Node.js: a subscriber of version 0.4, which still says how it wants to be verified.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import pubsubhubbub from 'pubsubhubbub';

import { web } from './config.mjs';
import { Inbox, Node, within } from './node.mjs';

const TOPIC = 'https://example.com/feed?of=pubsubhubbub';

const hub = {
  type: 'websub-hub',
  options: {
    authenticator: { type: 'allow-all' },
    publish: {},
    allow_private_networks: true,
    retry_delay_base: 20,
    retry_delay_min: 5,
    retry_delay_max: 100,
  },
};

/** A subscriber of the library that listens, with what it has heard. */
async function subscriber(options) {
  const server = pubsubhubbub.createServer({ callbackUrl: 'http://127.0.0.1/', ...options });
  const said = Object.fromEntries(['subscribe', 'unsubscribe', 'denied', 'feed'].map((name) => [name, new Inbox(name)]));
  for (const [name, inbox] of Object.entries(said)) server.on(name, (data) => inbox.push(data));
  server.listen(0, '127.0.0.1');
  await within(once(server, 'listen'), 'the subscriber to listen');
  server.callbackUrl = `http://127.0.0.1:${server.server.address().port}/`;
  const ask = (mode, url) => within(promisify(server.setSubscription.bind(server))(mode, TOPIC, url), mode);
  const close = () => {
    server.server.closeAllConnections();
    server.server.close();
  };
  return { server, said, ask, close };
}

async function publish(url, content) {
  const target = `${url}?${new URLSearchParams({ topic: TOPIC })}`;
  const headers = { 'content-type': 'application/atom+xml' };
  const response = await within(fetch(target, { method: 'POST', headers, body: content }), 'an answer');
  assert.equal(response.status, 202, await response.text());
}

/** Publishes until the confirmed subscription is in force, and gives what comes first. */
async function heard(url, inbox, content) {
  // One wait for all attempts: each of its own would leave its place in the line to what comes for the next.
  const first = inbox.next();
  for (let attempt = 0; attempt < 50; attempt += 1) {
    await publish(url, content);
    const found = await within(first, 'a feed', 200).catch(() => undefined);
    if (found) return found;
  }
  return first;
}

describe('pubsubhubbub', () => {
  let node;
  let url;
  before(async () => {
    node = await Node.start({ ...web({ paths: { hub } }), store: { type: 'memory' } });
    url = `${node.url('http')}/hub`;
  });
  after(async () => {
    assert.equal(await node.stop(), 0);
  });

  test('subscribes, hears, renews and unsubscribes', async () => {
    const { said, ask, close } = await subscriber({ leaseSeconds: 3600 });
    try {
      const begin = Math.floor(Date.now() / 1000);
      await ask('subscribe', url);
      const { topic, hub, lease } = await said.subscribe.next();
      assert.deepEqual([topic, hub], [TOPIC, url]);
      assert.ok(lease >= begin + 3599 && lease <= begin + 3600 + 60, `${lease}`);

      const { topic: of, hub: from, feed, headers } = await heard(url, said.feed, '<feed/>');
      assert.deepEqual([of, from, feed.toString()], [TOPIC, url, '<feed/>']);
      assert.equal(headers['content-type'], 'application/atom+xml');

      await ask('subscribe', url);
      assert.equal((await said.subscribe.next()).topic, TOPIC);
      await ask('unsubscribe', url);
      assert.equal((await said.unsubscribe.next()).topic, TOPIC);
      assert.deepEqual(said.denied.rest, []);
    } finally {
      close();
    }
  });

  test('what is signed is signed with the secret that was sent', async () => {
    // This version sends a secret made of its own and the topic, and then compares with its own: it takes nothing that is
    // signed as it asked for. So what reaches it is looked at before the library does.
    const { server, said, ask, close } = await subscriber({ secret: 'of ours' });
    const inbox = new Inbox('a delivery');
    server.server.prependListener('request', (request) => {
      if (request.method !== 'POST') return;
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => inbox.push({ headers: request.headers, body: Buffer.concat(chunks) }));
    });
    try {
      await ask('subscribe', url);
      await said.subscribe.next();
      const { headers, body } = await heard(url, inbox, '<signed/>');
      const sent = createHmac('sha1', 'of ours').update(TOPIC).digest('hex');
      const [method, signature] = headers['x-hub-signature'].split('=');
      assert.equal(signature, createHmac(method, sent).update(body).digest('hex'));
      assert.equal(body.toString(), '<signed/>');
      await ask('unsubscribe', url);
      await said.unsubscribe.next();
    } finally {
      close();
    }
  });

  test('a request that makes no sense is answered with an error', async () => {
    const { server, close } = await subscriber();
    try {
      const asked = promisify(server.setSubscription.bind(server))('nonsense', TOPIC, url);
      await assert.rejects(within(asked, 'an answer'), /Invalid response status 400/);
    } finally {
      close();
    }
  });
});
