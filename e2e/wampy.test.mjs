// wampy.js on Node.js with each of its serializers.
//
// Options that its user leaves out are sent as JavaScript's `undefined`, which msgpack carries as an extension and CBOR as
// a simple value. A router must take both for an option that is not there.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import wampy from 'wampy';
import { CborSerializer } from 'wampy/CborSerializer.js';
import { JsonSerializer } from 'wampy/JsonSerializer.js';
import { MsgpackSerializer } from 'wampy/MsgpackSerializer.js';
import WebSocket from 'ws';

import { web } from './config.mjs';
import { Inbox, Node, post, within } from './node.mjs';

const Wampy = wampy.Wampy ?? wampy;

describe('wampy.js', () => {
  let node;
  before(async () => {
    node = await Node.start(web());
  });
  after(async () => {
    assert.equal(await node.stop(), 0);
  });

  for (const [name, Serializer] of [
    ['json', JsonSerializer],
    ['msgpack', MsgpackSerializer],
    ['cbor', CborSerializer],
  ]) {
    const join = async () => {
      const client = new Wampy(node.ws(), { ws: WebSocket, realm: 'realm1', serializer: new Serializer() });
      await within(client.connect(), 'a session');
      return client;
    };

    test(`${name}: subscribe, push, publish and call`, async () => {
      const [one, two] = [await join(), await join()];
      try {
        const inbox = new Inbox('an event');
        await within(one.subscribe('com.myapp.topic1', (event) => inbox.push(event)), 'SUBSCRIBED');

        const answer = await post(`${node.url('http')}/push`, { topic: 'com.myapp.topic1', args: ['posted', 23] });
        assert.equal(answer.status, 200, JSON.stringify(answer.body));
        assert.deepEqual((await inbox.next()).argsList, ['posted', 23]);

        await two.publish('com.myapp.topic1', { argsList: ['published'], argsDict: { key: 'Grüße' } });
        const { argsList, argsDict } = await inbox.next();
        assert.deepEqual([argsList, { ...argsDict }], [['published'], { key: 'Grüße' }]);

        const procedure = `com.myapp.add.${name}`;
        await one.register(procedure, ({ argsList: [a, b] }) => ({ argsList: [a + b] }));
        assert.deepEqual((await within(two.call(procedure, [2, 3]), 'a result')).argsList, [5]);
        await assert.rejects(within(two.call('com.myapp.nothing.here'), 'an error'));
      } finally {
        await Promise.all([one.disconnect(), two.disconnect()]);
      }
    });
  }
});
