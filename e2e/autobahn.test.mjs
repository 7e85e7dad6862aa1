// AutobahnJS on Node.js, as its users have it: publish and subscribe, remote calls, patterns, targeted events, retained
// events, meta procedures, authentication, and each of its serializers.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import autobahn from 'autobahn';

import { web } from './config.mjs';
import { Inbox, Node, post, within } from './node.mjs';

const { JSONSerializer, MsgpackSerializer, CBORSerializer } = autobahn.serializer;

// Every close and every raised error is announced on the console, wanted or not; what matters is asserted.
autobahn.log.warn = () => {};
const on_user_error = () => {};

/** Opens a session; a refusal is an error that carries the reason. */
async function join(url, options = {}) {
  const connection = new autobahn.Connection({ url, realm: 'realm1', max_retries: 0, on_user_error, ...options });
  const joined = await within(
    new Promise((resolve, reject) => {
      connection.onopen = (session, details) => resolve({ session, details });
      connection.onclose = (reason, details) => {
        reject(Object.assign(new Error(`closed: ${reason} ${details.reason}`), { reason: details.reason }));
        return true;
      };
      connection.open();
    }),
    `a session on ${url}`,
  );
  return { connection, ...joined };
}

/** Leaves and waits until the transport is gone. */
async function leave({ connection }) {
  const closed = new Promise((resolve) => {
    connection.onclose = () => {
      resolve();
      return true;
    };
  });
  connection.close();
  await within(closed, 'the session to close');
}

/** Runs a test with as many sessions as its function takes after the node. */
async function withSessions(node, count, options, body) {
  const open = [];
  try {
    for (let at = 0; at < count; at += 1) open.push(await join(node.ws(), options));
    await body(...open.map(({ session }) => session));
  } finally {
    await Promise.all(open.map(leave));
  }
}

async function subscribe(session, topic, options) {
  const inbox = new Inbox(`an event on ${topic}`);
  const subscription = await session.subscribe(
    topic,
    (args, kwargs, details) => inbox.push({ args, kwargs, details }),
    options,
  );
  return { inbox, subscription };
}

const ACKNOWLEDGED = { acknowledge: true };

describe('AutobahnJS on Node.js', () => {
  let node;
  before(async () => {
    node = await Node.start(web());
  });
  after(async () => {
    assert.equal(await node.stop(), 0);
  });

  const push = async (event) => {
    const { status, body } = await post(`${node.url('http')}/push`, event);
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(Number.isSafeInteger(body.id), JSON.stringify(body));
    return body.id;
  };

  for (const [name, make] of [
    ['json', () => new JSONSerializer()],
    ['msgpack', () => new MsgpackSerializer()],
    ['cbor', () => new CBORSerializer()],
  ]) {
    test(`${name}: what is posted arrives, with the same publication id`, () =>
      withSessions(node, 1, { serializers: [make()] }, async (session) => {
        const { inbox } = await subscribe(session, 'com.myapp.topic1');
        const event = { args: ['Grüße, 世界 🌍', 23, -1.5, true, null, [1, { a: [] }]], kwargs: { key: 'value' } };
        const id = await push({ topic: 'com.myapp.topic1', ...event });
        const { args, kwargs, details } = await inbox.next();
        assert.deepEqual([args, { ...kwargs }], [event.args, event.kwargs]);
        assert.equal(details.publication, id);
      }));

    test(`${name}: two sessions publish and subscribe, call and register`, () =>
      withSessions(node, 2, { serializers: [make()] }, async (one, two) => {
        const { inbox } = await subscribe(one, 'com.myapp.chat');
        const publication = await two.publish('com.myapp.chat', ['hello'], { from: 'two' }, ACKNOWLEDGED);
        const { args, kwargs, details } = await inbox.next();
        assert.deepEqual([args, { ...kwargs }, details.publication], [['hello'], { from: 'two' }, publication.id]);

        const registration = await one.register('com.myapp.add', ([a, b], { bias }) => a + b + bias);
        assert.equal(await two.call('com.myapp.add', [2, 3], { bias: 10 }), 15);
        await one.unregister(registration);
        await assert.rejects(
          async () => two.call('com.myapp.add', [2, 3]),
          (error) => error.error === 'wamp.error.no_such_procedure',
        );
      }));
  }

  test('events of one publisher arrive in order', () =>
    withSessions(node, 2, {}, async (one, two) => {
      const { inbox } = await subscribe(one, 'com.myapp.order');
      for (let number = 0; number < 200; number += 1) two.publish('com.myapp.order', [number]);
      for (let number = 0; number < 200; number += 1) assert.deepEqual((await inbox.next()).args, [number]);
    }));

  test('an error of the callee reaches the caller as it was raised', () =>
    withSessions(node, 2, {}, async (one, two) => {
      await one.register('com.myapp.fail', () => {
        throw new autobahn.Error('com.myapp.error.broken', ['why'], { code: 7 });
      });
      await assert.rejects(
        async () => two.call('com.myapp.fail'),
        (error) => {
          assert.deepEqual([error.error, error.args, { ...error.kwargs }], ['com.myapp.error.broken', ['why'], { code: 7 }]);
          return true;
        },
      );
    }));

  test('a procedure has one callee', () =>
    withSessions(node, 2, {}, async (one, two) => {
      await one.register('com.myapp.single', () => 1);
      await assert.rejects(
        async () => two.register('com.myapp.single', () => 2),
        (error) => error.error === 'wamp.error.procedure_already_exists',
      );
    }));

  test('prefix and wildcard subscriptions are told the topic', () =>
    withSessions(node, 1, {}, async (session) => {
      const prefix = await subscribe(session, 'com.pattern', { match: 'prefix' });
      const wildcard = await subscribe(session, 'com..created', { match: 'wildcard' });
      await push({ topic: 'com.pattern.created', args: [1] });
      for (const { inbox } of [prefix, wildcard]) {
        const { args, details } = await inbox.next();
        assert.deepEqual([args, details.topic], [[1], 'com.pattern.created']);
      }
      await push({ topic: 'com.other.created', args: [2] });
      assert.deepEqual((await wildcard.inbox.next()).args, [2]);
      await push({ topic: 'com.pattern.last', args: [3] });
      assert.deepEqual((await prefix.inbox.next()).args, [3]);
      assert.deepEqual([prefix.inbox.rest, wildcard.inbox.rest], [[], []]);
    }));

  test('exclude and eligible choose who hears a posted event', () =>
    withSessions(node, 2, {}, async (one, two) => {
      const [first, second] = [await subscribe(one, 'com.myapp.aim'), await subscribe(two, 'com.myapp.aim')];
      await push({ topic: 'com.myapp.aim', args: ['not one'], options: { exclude: [one.id] } });
      await push({ topic: 'com.myapp.aim', args: ['only one'], options: { eligible: [one.id] } });
      await push({ topic: 'com.myapp.aim', args: ['all'] });
      assert.deepEqual([(await first.inbox.next()).args, (await first.inbox.next()).args], [['only one'], ['all']]);
      assert.deepEqual([(await second.inbox.next()).args, (await second.inbox.next()).args], [['not one'], ['all']]);
    }));

  test('a publisher hears itself only where it asks to', () =>
    withSessions(node, 1, {}, async (session) => {
      const { inbox } = await subscribe(session, 'com.myapp.self');
      await session.publish('com.myapp.self', ['silent'], {}, ACKNOWLEDGED);
      await session.publish('com.myapp.self', ['heard'], {}, { acknowledge: true, exclude_me: false });
      assert.deepEqual((await inbox.next()).args, ['heard']);
    }));

  test('a retained event is there for who comes later and asks', () =>
    withSessions(node, 1, {}, async (session) => {
      await push({ topic: 'com.myapp.retained', args: ['old'], options: { retain: true } });
      await push({ topic: 'com.myapp.retained', args: ['last'], options: { retain: true } });
      const { inbox } = await subscribe(session, 'com.myapp.retained', { get_retained: true });
      const { args, details } = await inbox.next();
      assert.deepEqual([args, details.retained], [['last'], true]);
    }));

  test('a subscriber that has left hears nothing, and the others still do', () =>
    withSessions(node, 2, {}, async (one, two) => {
      const [first, second] = [await subscribe(one, 'com.myapp.leave'), await subscribe(two, 'com.myapp.leave')];
      await one.unsubscribe(first.subscription);
      await push({ topic: 'com.myapp.leave', args: [1] });
      assert.deepEqual((await second.inbox.next()).args, [1]);
      assert.deepEqual(first.inbox.rest, []);
    }));

  test('the meta procedures count and list sessions', () =>
    withSessions(node, 2, {}, async (one, two) => {
      // A router may count sessions of its own services too, so what is asserted is the difference that one more makes.
      const count = await one.call('wamp.session.count');
      const list = await one.call('wamp.session.list');
      assert.equal(list.length, count);
      for (const { id } of [one, two]) assert.ok(list.includes(id), `${id} is not in ${list}`);
      await withSessions(node, 1, {}, async (three) => {
        assert.equal(await one.call('wamp.session.count'), count + 1);
        assert.ok((await two.call('wamp.session.list')).includes(three.id));
      });
      assert.equal((await one.call('wamp.session.get', [two.id])).session, two.id);
    }));

  test('an unknown realm is refused with its own reason', () =>
    assert.rejects(join(node.ws(), { realm: 'nowhere' }), { reason: 'wamp.error.no_such_realm' }));
});

describe('AutobahnJS authentication', () => {
  const { auth_cra: cra } = autobahn;
  const auth = {
    wampcra: {
      type: 'static',
      users: {
        joe: { secret: 'secret2', role: 'frontend' },
        // A salted secret stands in the configuration already derived, so that the password itself is nowhere.
        peter: { secret: 'prq7+YkJ1/KlW1X0YczMHw==', role: 'backend', salt: 'salt123', iterations: 100, keylen: 16 },
      },
    },
    ticket: { type: 'static', principals: { amy: { ticket: 'magic-ticket', role: 'frontend' } } },
  };
  const signed = (password) => (_session, _method, extra) =>
    cra.sign(extra.salt ? cra.derive_key(password, extra.salt, extra.iterations, extra.keylen) : password, extra.challenge);

  let node;
  before(async () => {
    node = await Node.start(web({ auth }));
  });
  after(async () => {
    assert.equal(await node.stop(), 0);
  });

  /** What a session is told about itself, or the reason why there is none. */
  async function outcome(authmethods, authid, onchallenge) {
    try {
      const joined = await join(node.ws(), { authmethods, authid, onchallenge });
      const { authid: id, authrole, authmethod } = joined.details;
      await leave(joined);
      return [id, authrole, authmethod];
    } catch (error) {
      return error.reason ?? Promise.reject(error);
    }
  }

  const check = (name, args, expect) => test(name, async () => assert.deepEqual(await outcome(...args), expect));

  check('wampcra', [['wampcra'], 'joe', signed('secret2')], ['joe', 'frontend', 'wampcra']);
  check('wampcra, salted', [['wampcra'], 'peter', signed('secret1')], ['peter', 'backend', 'wampcra']);
  check('ticket', [['ticket'], 'amy', () => 'magic-ticket'], ['amy', 'frontend', 'ticket']);

  for (const [name, args] of [
    ['wampcra with a wrong secret', [['wampcra'], 'joe', signed('wrong')]],
    ['wampcra with an unknown name', [['wampcra'], 'nobody', signed('secret2')]],
    ['ticket with a wrong ticket', [['ticket'], 'amy', () => 'wrong']],
    ['anonymous where it is not configured', [['anonymous'], undefined, undefined]],
  ]) {
    test(`${name} is refused`, async () => {
      const reason = await outcome(...args);
      assert.equal(typeof reason, 'string', JSON.stringify(reason));
      assert.match(reason, /^wamp\.error\./);
    });
  }
});
