// Tests of wamp.js without a network: a WebSocket class that a script plays. Run by `node --test`.

import assert from "node:assert/strict";
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";
import { test } from "node:test";

import autobahn from "./wamp.js";

/** A server that is a few lines of test. It answers HELLO by itself unless told otherwise. */
class FakeSocket {
  static made = [];
  static welcome = [2, 4711, { roles: { broker: { features: { publisher_exclusion: true } } }, authrole: "anonymous" }];

  constructor(url, protocols) {
    if (url === "bad") throw new SyntaxError("bad URL");
    Object.assign(this, { url, protocols, sent: [], protocol: "", closed: null });
    FakeSocket.made.push(this);
  }

  accept(protocol = "wamp.2.json") {
    this.protocol = protocol;
    this.onopen({});
    return this;
  }

  join() {
    this.accept();
    this.receive(FakeSocket.welcome);
    return this;
  }

  receive(message) {
    this.onmessage({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code) {
    this.closed = code === undefined ? "no code" : code;
  }

  drop() {
    this.onclose({ wasClean: false, code: 1006 });
  }

  get last() {
    return this.sent[this.sent.length - 1];
  }
}

/** Timers stand still and are fired by hand; the dice always show the middle. */
function setUp(context, options = {}) {
  FakeSocket.made = [];
  context.mock.timers.enable({ apis: ["setTimeout"] });
  context.mock.method(Math, "random", () => 0.5);
  const failures = [];
  const connection = new autobahn.Connection({
    url: "ws://a/ws",
    realm: "realm1",
    WebSocket: FakeSocket,
    on_user_error: (error, where) => failures.push([where, error]),
    ...options,
  });
  const closes = [];
  let session = null;
  connection.onopen = (opened) => (session = opened);
  connection.onclose = (reason, details) => {
    const { reason: uri, ...rest } = details;
    closes.push({ reason, uri, ...rest });
  };
  return { connection, closes, failures, session: () => session, socket: () => FakeSocket.made[FakeSocket.made.length - 1] };
}

function joined(context, options) {
  const all = setUp(context, options);
  all.connection.open();
  const socket = all.socket().join();
  return { ...all, socket, session: all.session(), sockets: all.socket };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("HELLO and WELCOME", (context) => {
  const { connection, socket, session } = joined(context, { authid: "joe", authmethods: ["wampcra"] });
  assert.deepEqual([socket.url, socket.protocols], ["ws://a/ws", ["wamp.2.json"]]);
  const [code, realm, details] = socket.sent[0];
  assert.deepEqual([code, realm, details.authid, details.authmethods], [1, "realm1", "joe", ["wampcra"]]);
  assert.deepEqual(Object.keys(details.roles), ["publisher", "subscriber", "caller", "callee"]);
  assert.deepEqual([session.id, session.isOpen, connection.isOpen, connection.isConnected], [4711, true, true, true]);
  assert.equal(session.features.broker.publisher_exclusion, true);
});

test("publish leaves out what is empty", (context) => {
  const { socket, session } = joined(context);
  const check = (expected, ...args) => {
    assert.equal(session.publish(...args), undefined);
    assert.deepEqual(socket.last, expected);
  };
  check([16, 1, {}, "t"], "t");
  check([16, 2, {}, "t"], "t", [], {});
  check([16, 3, {}, "t", [1]], "t", [1]);
  check([16, 4, {}, "t", [], { a: 1 }], "t", null, { a: 1 });
  check([16, 5, { exclude_me: false }, "t", [1], { a: 1 }], "t", [1], { a: 1 }, { exclude_me: false });
  session.prefix("my", "com.myapp");
  check([16, 6, {}, "com.myapp.topic1"], "my:topic1");
  check([16, 7, {}, "http://x"], "http://x");
  assert.throws(() => session.publish("t", "text"), /args must be an array/);
  assert.throws(() => session.publish(""), /topic must be/);
});

test("publish with acknowledgement", async (context) => {
  const { socket, session } = joined(context);
  const done = session.publish("t", [1], {}, { acknowledge: true });
  socket.receive([17, 1, 99]);
  assert.equal((await done).id, 99);
  const refused = session.publish("t", [1], {}, { acknowledge: true });
  socket.receive([8, 16, 2, {}, "wamp.error.not_authorized", ["no"], { k: 1 }]);
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof autobahn.Error && error instanceof Error);
    assert.deepEqual([error.error, error.args, error.kwargs], ["wamp.error.not_authorized", ["no"], { k: 1 }]);
    return true;
  });
});

test("subscribe, events, unsubscribe", async (context) => {
  const { socket, session, failures } = joined(context);
  const seen = [];
  const first = session.subscribe("t", (args, kwargs, details) => seen.push([args, kwargs, details.publication, details.topic]));
  assert.deepEqual(socket.last, [32, 1, {}, "t"]);
  const second = session.subscribe("t", () => {
    throw new Error("oops");
  });
  socket.receive([33, 1, 7]);
  socket.receive([33, 2, 7]);
  const [one, two] = [await first, await second];
  socket.receive([36, 7, 100, {}]);
  socket.receive([36, 7, 101, { topic: "t.x" }, ["a"], { b: 1 }]);
  assert.deepEqual(seen, [
    [[], {}, 100, "t"],
    [["a"], { b: 1 }, 101, "t.x"],
  ]);
  assert.deepEqual(failures.map(([where, error]) => [where, error.message]), [
    ["handler of t", "oops"],
    ["handler of t", "oops"],
  ]);
  // The subscription is shared: the router hears of the last handler only.
  assert.equal(await two.unsubscribe(), false);
  const done = one.unsubscribe();
  assert.deepEqual(socket.last, [34, 3, 7]);
  socket.receive([36, 7, 102, {}]);
  socket.receive([35, 3]);
  assert.equal(await done, true);
  socket.receive([36, 7, 103, {}]);
  assert.equal(seen.length, 3);
  assert.throws(() => one.unsubscribe(), /not active/);
  assert.equal(socket.closed, null);
});

test("call results in the three shapes", async (context) => {
  const { socket, session } = joined(context);
  const check = async (tail, expected) => {
    const done = session.call("p", [1], { a: 2 });
    const request = socket.last[1];
    assert.deepEqual(socket.last, [48, request, {}, "p", [1], { a: 2 }]);
    socket.receive([50, request, {}, ...tail]);
    assert.deepEqual(await done, expected);
  };
  await check([], null);
  await check([["x"]], "x");
  await check([["x", "y"]], new autobahn.Result(["x", "y"], {}));
  await check([["x"], { k: 1 }], new autobahn.Result(["x"], { k: 1 }));
  await check([[], {}], null);
});

test("register and answer", async (context) => {
  const { socket, session, failures } = joined(context);
  const answers = {
    value: () => 23,
    nothing: () => undefined,
    later: () => Promise.resolve("x"),
    many: () => new autobahn.Result([1, 2], { k: 3 }),
    refuse: () => {
      throw new autobahn.Error("com.myapp.error", ["why"], { k: 1 });
    },
    break: () => {
      throw new TypeError("broken");
    },
    odd: () => 10n,
  };
  const done = session.register("p", (args, kwargs, details) => answers[args[0]](kwargs, details));
  assert.deepEqual(socket.last, [64, 1, {}, "p"]);
  socket.receive([65, 1, 5]);
  const registration = await done;
  const check = async (args, expected) => {
    socket.receive([68, 900, 5, {}, args]);
    await turn();
    assert.deepEqual(socket.last, expected);
  };
  await check(["value"], [70, 900, {}, [23]]);
  await check(["nothing"], [70, 900, {}, [null]]);
  await check(["later"], [70, 900, {}, ["x"]]);
  await check(["many"], [70, 900, {}, [1, 2], { k: 3 }]);
  await check(["refuse"], [8, 68, 900, {}, "com.myapp.error", ["why"], { k: 1 }]);
  assert.equal(failures.length, 0);
  await check(["break"], [8, 68, 900, {}, "wamp.error.runtime_error", ["broken"]]);
  assert.equal(failures.length, 1);
  socket.receive([68, 901, 5, {}, ["odd"]]);
  await turn();
  assert.deepEqual(socket.last.slice(0, 5), [8, 68, 901, {}, "wamp.error.runtime_error"]);
  const gone = registration.unregister();
  assert.deepEqual(socket.last, [66, 2, 5]);
  socket.receive([67, 2]);
  assert.equal(await gone, true);
  await check(["value"], [8, 68, 900, {}, "wamp.error.no_such_registration"]);
});

test("the router may end subscriptions and registrations", async (context) => {
  const { socket, session } = joined(context);
  const one = session.subscribe("t", () => assert.fail("no event any more"));
  socket.receive([33, 1, 7]);
  const two = session.register("p", () => 1);
  socket.receive([65, 2, 8]);
  socket.receive([35, 0, { subscription: 7 }]);
  socket.receive([67, 0, { registration: 8 }]);
  socket.receive([36, 7, 1, {}]);
  assert.deepEqual([(await one).active, (await two).active, socket.closed], [false, false, null]);
});

test("lost connection: pending requests fail, backoff grows, a new session resets it", async (context) => {
  const { connection, session, closes, sockets, socket } = joined(context, { max_retry_delay: 3 });
  const waiting = session.call("p");
  socket.drop();
  await assert.rejects(waiting, { error: "wamp.error.network_failure" });
  assert.throws(() => session.publish("t"), /session not open/);
  assert.deepEqual([connection.session, connection.isRetrying, connection.isConnected], [null, true, false]);
  for (const [delay, count] of [[1.5, 1], [2.25, 2], [3, 3], [3, 4]]) {
    assert.deepEqual(closes.pop(), {
      reason: "lost",
      uri: null,
      message: "",
      retry_delay: delay,
      retry_count: count,
      will_retry: true,
    });
    const before = FakeSocket.made.length;
    context.mock.timers.tick(delay * 1000 - 1);
    assert.equal(FakeSocket.made.length, before);
    context.mock.timers.tick(1);
    assert.equal(FakeSocket.made.length, before + 1);
    sockets().drop();
  }
  context.mock.timers.tick(3000);
  sockets().join().drop();
  assert.equal(closes.pop().retry_delay, 1.5);
});

test("unreachable: gives up after max_retries", (context) => {
  const { connection, closes, socket } = setUp(context, { max_retries: 2, url: ["ws://a", "ws://b"] });
  connection.open();
  for (let i = 0; i < 3; i += 1) {
    socket().drop();
    context.mock.timers.tick(10000);
  }
  assert.deepEqual(closes.map((one) => [one.reason, one.will_retry]), [
    ["unreachable", true],
    ["unreachable", true],
    ["unreachable", false],
  ]);
  assert.deepEqual(FakeSocket.made.map((one) => one.url), ["ws://a", "ws://b", "ws://a"]);
  connection.open();
  assert.equal(FakeSocket.made.length, 4);
});

test("returning true from onclose stops", (context) => {
  const { connection, socket } = joined(context);
  connection.onclose = () => true;
  socket.drop();
  context.mock.timers.tick(1e6);
  assert.deepEqual([FakeSocket.made.length, connection.isRetrying], [1, false]);
});

test("other ways to fail at the start", (context) => {
  const check = (options, reason, message) => {
    context.mock.timers.reset();
    const { connection, closes } = setUp(context, { retry_if_unreachable: false, ...options });
    connection.open();
    context.mock.timers.tick(1);
    assert.deepEqual([closes.length, closes[0].reason, closes[0].will_retry], [1, reason, false]);
    assert.match(closes[0].message, message);
  };
  check({ url: undefined }, "unsupported", /no WebSocket URL/);
  check({ WebSocket: "none" }, "unsupported", /no WebSocket here/);
  check({ url: "bad" }, "unreachable", /bad URL/);
  assert.throws(() => new autobahn.Connection({ url: "ws://a" }), /realm/);
  assert.throws(() => new autobahn.Connection(), /options/);
});

test("addresses may come as transports", (context) => {
  const transports = [{ type: "longpoll", url: "http://a" }, { type: "websocket", url: "ws://b" }];
  const { connection, socket } = setUp(context, { url: undefined, transports });
  connection.open();
  assert.equal(socket().url, "ws://b");
});

test("a server without the subprotocol is left", (context) => {
  const { connection, closes, socket } = setUp(context);
  connection.open();
  socket().accept("");
  assert.equal(socket().sent.length, 0);
  socket().drop();
  assert.match(closes[0].message, /wamp\.2\.json/);
  assert.equal(closes[0].reason, "unreachable");
});

test("close says goodbye", (context) => {
  const { connection, closes, socket } = joined(context);
  connection.close();
  assert.deepEqual(socket.last, [6, {}, "wamp.close.normal"]);
  assert.equal(socket.closed, null);
  socket.receive([6, {}, "wamp.close.goodbye_and_out"]);
  assert.equal(socket.closed, 1000);
  socket.drop();
  assert.deepEqual(closes.map((one) => [one.reason, one.uri, one.will_retry]), [
    ["closed", "wamp.close.goodbye_and_out", false],
  ]);
  assert.throws(() => connection.close(), /already closed/);
  connection.open();
  assert.throws(() => connection.open(), /already open/);
});

test("close does not wait for ever, and works while waiting to retry", (context) => {
  const { connection, socket } = joined(context);
  connection.close();
  context.mock.timers.tick(5000);
  assert.equal(socket.closed, 1000);
  socket.drop();
  connection.open();
  FakeSocket.made[1].drop();
  connection.close();
  context.mock.timers.tick(1e6);
  assert.equal(FakeSocket.made.length, 2);
});

test("what the router's goodbye means for retries", (context) => {
  const check = (message, reply, retry) => {
    context.mock.timers.reset();
    const { socket, closes } = joined(context);
    socket.receive(message);
    assert.deepEqual(socket.last.slice(0, 1), reply);
    socket.drop();
    const { reason, uri, message: sentence, will_retry } = closes[0];
    assert.deepEqual([reason, uri, sentence, will_retry], ["closed", message[2], message[1].message || "", retry]);
  };
  check([6, { message: "bye" }, "wamp.close.system_shutdown"], [6], true);
  check([6, {}, "wamp.close.killed"], [6], false);
  check([3, { message: "no" }, "wamp.error.protocol_violation"], [1], false);
});

test("a refused HELLO is final", (context) => {
  const { connection, closes, socket } = setUp(context);
  connection.open();
  socket().accept().receive([3, { message: "no such realm" }, "wamp.error.no_such_realm"]);
  socket().drop();
  assert.deepEqual(closes.map(({ reason, message, will_retry }) => [reason, message, will_retry]), [
    ["closed", "no such realm", false],
  ]);
});

test("violations of the protocol end the session", (context) => {
  for (const message of ["{", "{}", [2, 1, {}], [17, 5, 1], [33, 9, 1], [8, 48, 3, {}, "x"], [999], [70, 1, {}]]) {
    context.mock.timers.reset();
    const { socket } = joined(context);
    socket.receive(message);
    assert.deepEqual([socket.last[0], socket.last[2], socket.closed], [3, "wamp.error.protocol_violation", 1000]);
  }
});

test("challenge and response", async (context) => {
  const check = async (onchallenge, expected) => {
    context.mock.timers.reset();
    const { connection, socket } = setUp(context, { onchallenge, authid: "joe", authmethods: ["wampcra"] });
    connection.open();
    socket().accept().receive([4, "wampcra", { challenge: "text" }]);
    await turn();
    assert.deepEqual(socket().last.filter((part, i) => i !== 1 || socket().last[0] === 5), expected);
  };
  const signed = createHmac("sha256", "s\u00e9cret").update("text").digest("base64");
  await check((session, method, extra) => autobahn.auth_cra.sign("s\u00e9cret", extra.challenge), [5, signed, {}]);
  await check(async () => "ticket", [5, "ticket", {}]);
  await check(() => ["x", { more: 1 }], [5, "x", { more: 1 }]);
  await check(() => Promise.reject(new Error("no")), [3, "wamp.error.cannot_authenticate"]);
  await check(undefined, [3, "wamp.error.cannot_authenticate"]);
});

test("SHA-256 by hand agrees with the real one", () => {
  for (let length = 0; length < 300; length += 7) {
    const text = "\u00e4".repeat(length);
    const key = "k".repeat(length % 131);
    assert.equal(autobahn.auth_cra.sign(key, text), createHmac("sha256", key).update(text).digest("base64"));
  }
  assert.equal(createHash("sha256").update("").digest("hex").slice(0, 8), "e3b0c442");
  for (const [rounds, length] of [[1, 32], [100, 16], [7, 50]]) {
    const expected = pbkdf2Sync("secret", "salt", rounds, length, "sha256").toString("base64");
    assert.equal(autobahn.auth_cra.derive_key("secret", "salt", rounds, length), expected);
  }
});

test("when.defer", async () => {
  const deferred = autobahn.when.defer();
  deferred.resolve(5);
  assert.equal(await deferred.promise, 5);
});
