/*
 * A small WAMP client for browsers: publish, subscribe, call and register over WebSocket with JSON.
 *
 * It offers the interface of AutobahnJS under the same name (`autobahn`), as far as pages commonly use it, so that a page
 * works with either file. Knows WAMP v2, Basic Profile, subprotocol `wamp.2.json`. Deliberately absent: other serializers and
 * transports, cryptosign and SCRAM, progressive results, call cancelling. Plain ES2017, no dependencies, no build step.
 *
 * Licence: MIT or Apache-2.0.
 */
(function (root, make) {
  "use strict";
  if (typeof module === "object" && module.exports) {
    module.exports = make(root);
  } else {
    root.autobahn = make(root);
  }
})(typeof self !== "undefined" ? self : globalThis, function (root) {
  "use strict";

  const SUBPROTOCOL = "wamp.2.json";

  // Message codes, WAMP section "Message Codes".
  const [HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR] = [1, 2, 3, 4, 5, 6, 8];
  const [PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, EVENT] = [16, 17, 32, 33, 34, 35, 36];
  const [CALL, RESULT, REGISTER, REGISTERED, UNREGISTER, UNREGISTERED] = [48, 50, 64, 65, 66, 67];
  const [INVOCATION, YIELD] = [68, 70];

  // What this client really does, and nothing more: a router relies on it.
  const role = (...features) => ({ features: Object.assign({}, ...features.map((name) => ({ [name]: true }))) });
  const ROLES = {
    publisher: role("publisher_identification", "publisher_exclusion", "subscriber_blackwhite_listing"),
    subscriber: role("publisher_identification", "pattern_based_subscription", "subscription_revocation"),
    caller: role("caller_identification", "call_timeout"),
    callee: role("caller_identification", "pattern_based_registration", "shared_registration", "registration_revocation"),
  };

  // A router that does not answer GOODBYE must not keep the page from leaving. Milliseconds.
  const GOODBYE_TIMEOUT = 5000;

  /** An error with a URI, from the router or another client; an endpoint throws one to answer with it. */
  class WampError extends Error {
    constructor(error, args, kwargs) {
      const sentence = Array.isArray(args) && typeof args[0] === "string" ? ": " + args[0] : "";
      super(error + sentence);
      this.name = "autobahn.Error";
      this.error = error;
      this.args = args || [];
      this.kwargs = kwargs || {};
    }
  }

  /** A result that is not exactly one value. */
  class Result {
    constructor(args, kwargs, details) {
      this.args = args || [];
      this.kwargs = kwargs || {};
      this.details = details || {};
    }
  }

  /** What a handler learns about an event besides its payload: the router's details, and always `publication` and `topic`. */
  class Event {
    constructor(publication, topic, details) {
      Object.assign(this, details, { publication: publication, topic: details.topic || topic });
    }
  }

  /** What an endpoint learns about a call besides its payload. */
  class Invocation {
    constructor(procedure, details) {
      Object.assign(this, details, { procedure: details.procedure || procedure });
    }
  }

  class Publication {
    constructor(id) {
      this.id = id;
    }
  }

  class Subscription {
    constructor(session, topic, handler, options, id) {
      Object.assign(this, { session: session, topic: topic, handler: handler, options: options, id: id, active: true });
    }

    unsubscribe() {
      return this.session.unsubscribe(this);
    }
  }

  class Registration {
    constructor(session, procedure, endpoint, options, id) {
      Object.assign(this, { session: session, procedure: procedure, endpoint: endpoint, options: options, id: id });
      this.active = true;
    }

    unregister() {
      return this.session.unregister(this);
    }
  }

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  const isId = (value) => Number.isInteger(value) && value >= 0;

  /** The payload as it goes at the end of a message: what is empty is left out, as the specification asks. */
  function payload(args, kwargs) {
    if (args !== undefined && args !== null && !Array.isArray(args)) {
      throw new TypeError("args must be an array");
    }
    if (kwargs !== undefined && kwargs !== null && !isObject(kwargs)) {
      throw new TypeError("kwargs must be an object");
    }
    if (kwargs && Object.keys(kwargs).length > 0) {
      return [args || [], kwargs];
    }
    return args && args.length > 0 ? [args] : [];
  }

  function needString(value, name) {
    if (typeof value !== "string" || value === "") {
      throw new TypeError(name + " must be a non-empty string");
    }
  }

  function needFunction(value, name) {
    if (typeof value !== "function") {
      throw new TypeError(name + " must be a function");
    }
  }

  /** A message that this session must not receive: it ends the session, as the specification demands. */
  class ProtocolViolation extends Error {}

  function expect(condition, sentence) {
    if (!condition) {
      throw new ProtocolViolation(sentence);
    }
  }

  /**
   * One WAMP session. It turns calls into messages and messages into settled promises, and knows nothing of sockets: `link`
   * has `send(message)`, `opened(details)`, `left(reason, message, mayRetry)` and `failed(error, where)`.
   */
  class Session {
    constructor(link, options) {
      this._link = link;
      this._options = options;
      this._state = "joining"; // joining -> open -> leaving -> closed
      this._lastRequest = 0;
      this._pending = new Map(); // request id -> {code, resolve, reject, ...}
      this._subscriptions = new Map(); // subscription id -> [Subscription]
      this._registrations = new Map(); // registration id -> Registration
      this._prefixes = new Map();
      this.id = null;
      this.realm = options.realm;
      this.features = {};
    }

    get isOpen() {
      return this._state === "open";
    }

    /** Lets `name:rest` stand for `uri.rest` from now on. */
    prefix(name, uri) {
      needString(name, "prefix");
      if (uri) {
        this._prefixes.set(name, uri);
      } else {
        this._prefixes.delete(name);
      }
    }

    resolve(curie) {
      const colon = curie.indexOf(":");
      const uri = colon < 0 ? undefined : this._prefixes.get(curie.slice(0, colon));
      return uri === undefined ? curie : uri + "." + curie.slice(colon + 1);
    }

    publish(topic, args, kwargs, options) {
      needString(topic, "topic");
      const tail = payload(args, kwargs);
      const request = this._next();
      this._link.send([PUBLISH, request, options || {}, this.resolve(topic)].concat(tail));
      // Without acknowledgement nothing ever comes back, so there is nothing to promise.
      return options && options.acknowledge ? this._wait(PUBLISH, request, {}) : undefined;
    }

    subscribe(topic, handler, options) {
      needString(topic, "topic");
      needFunction(handler, "handler");
      const uri = this.resolve(topic);
      return this._ask(SUBSCRIBE, [options || {}, uri], { uri: uri, target: handler, options: options || {} });
    }

    /** Resolves to true once the router has let go, to false at once while other handlers share the subscription. */
    unsubscribe(subscription) {
      const handlers = this._subscriptions.get(subscription.id) || [];
      if (!subscription.active || !handlers.includes(subscription)) {
        throw new Error("subscription is not active");
      }
      if (handlers.length > 1) {
        this._needOpen();
        subscription.active = false;
        handlers.splice(handlers.indexOf(subscription), 1);
        return Promise.resolve(false);
      }
      return this._ask(UNSUBSCRIBE, [subscription.id], { subscription: subscription });
    }

    call(procedure, args, kwargs, options) {
      needString(procedure, "procedure");
      const tail = payload(args, kwargs);
      return this._ask(CALL, [options || {}, this.resolve(procedure)].concat(tail), {});
    }

    register(procedure, endpoint, options) {
      needString(procedure, "procedure");
      needFunction(endpoint, "endpoint");
      const uri = this.resolve(procedure);
      return this._ask(REGISTER, [options || {}, uri], { uri: uri, target: endpoint, options: options || {} });
    }

    unregister(registration) {
      if (!registration.active || this._registrations.get(registration.id) !== registration) {
        throw new Error("registration is not active");
      }
      return this._ask(UNREGISTER, [registration.id], { registration: registration });
    }

    leave(reason, message) {
      this._needOpen();
      this._state = "leaving";
      this._link.send([GOODBYE, message ? { message: message } : {}, reason || "wamp.close.normal"]);
      this._patience = setTimeout(() => this._end("wamp.close.goodbye_and_out", "the router gave no answer"), GOODBYE_TIMEOUT);
    }

    /** Begins the session: section "Session Establishment". */
    _join() {
      const details = { roles: ROLES };
      for (const name of ["authmethods", "authid", "authextra"]) {
        if (this._options[name] !== undefined) {
          details[name] = this._options[name];
        }
      }
      this._link.send([HELLO, this.realm, details]);
    }

    /** The connection is gone: whoever still waits learns it. Harmless when called again. */
    _close(sentence) {
      this._state = "closed";
      this.id = null;
      clearTimeout(this._patience);
      const waiting = Array.from(this._pending.values());
      this._pending.clear();
      this._subscriptions.forEach((handlers) => handlers.forEach((one) => (one.active = false)));
      this._registrations.forEach((one) => (one.active = false));
      this._subscriptions.clear();
      this._registrations.clear();
      waiting.forEach((one) => one.reject(new WampError("wamp.error.network_failure", [sentence])));
    }

    _needOpen() {
      if (this._state !== "open") {
        throw new Error("session not open");
      }
    }

    _next() {
      this._needOpen();
      // Request ids of a session count up from 1: section "IDs".
      this._lastRequest += 1;
      return this._lastRequest;
    }

    _ask(code, rest, context) {
      const request = this._next();
      // Sent first: a payload that cannot be written as JSON throws here and leaves nothing waiting.
      this._link.send([code, request].concat(rest));
      return this._wait(code, request, context);
    }

    _wait(code, request, context) {
      return new Promise((resolve, reject) => {
        this._pending.set(request, Object.assign(context, { code: code, resolve: resolve, reject: reject }));
      });
    }

    _take(code, request) {
      const waiting = this._pending.get(request);
      expect(waiting !== undefined && waiting.code === code, "an answer to a request that was not made");
      this._pending.delete(request);
      return waiting;
    }

    _end(reason, message, mayRetry) {
      clearTimeout(this._patience);
      this._state = "closed";
      this._link.left(reason, message || "", Boolean(mayRetry));
    }

    _abort(reason, message) {
      this._link.send([ABORT, { message: message }, reason]);
      this._end(reason, message);
    }

    /** One message from the router, as parsed JSON or as `undefined` where it was none. */
    _receive(message) {
      if (this._state === "closed") {
        return; // The socket is on its way down; what still drips out of it has no reader.
      }
      try {
        expect(Array.isArray(message), "a message that is not a JSON array");
        if (this._state === "joining") {
          this._receiveJoining(message);
        } else {
          this._receiveOpen(message);
        }
      } catch (error) {
        if (!(error instanceof ProtocolViolation)) {
          throw error;
        }
        this._abort("wamp.error.protocol_violation", error.message);
      }
    }

    _receiveJoining(message) {
      switch (message[0]) {
        case WELCOME: {
          expect(isId(message[1]) && isObject(message[2]), "a malformed WELCOME");
          this._state = "open";
          this.id = message[1];
          this.realm = message[2].realm || this.realm;
          const roles = message[2].roles || {};
          Object.keys(roles).forEach((role) => (this.features[role] = (roles[role] || {}).features || {}));
          this._link.opened(message[2]);
          break;
        }
        case CHALLENGE:
          this._answerChallenge(String(message[1]), message[2] || {});
          break;
        case ABORT:
          // A router that is going down says so here too; everything else will be the same next time.
          this._end(message[2], (message[1] || {}).message, message[2] === "wamp.close.system_shutdown");
          break;
        default:
          throw new ProtocolViolation("message " + message[0] + " before WELCOME");
      }
    }

    async _answerChallenge(method, extra) {
      let answer;
      try {
        if (typeof this._options.onchallenge !== "function") {
          throw new Error("the router asks for authentication, and there is no onchallenge");
        }
        answer = await this._options.onchallenge(this, method, extra);
      } catch (error) {
        this._link.failed(error, "onchallenge");
        if (this._state === "joining") {
          this._abort("wamp.error.cannot_authenticate", "the client could not answer the challenge");
        }
        return;
      }
      if (this._state === "joining") {
        const [signature, more] = Array.isArray(answer) ? answer : [answer, {}];
        this._link.send([AUTHENTICATE, signature, more || {}]);
      }
    }

    _receiveOpen(message) {
      const [code, request] = message;
      switch (code) {
        case EVENT:
          return this._event(message);
        case RESULT:
          return this._result(message);
        case INVOCATION:
          return this._invocation(message);
        case PUBLISHED:
          return this._take(PUBLISH, request).resolve(new Publication(message[2]));
        case SUBSCRIBED:
          return this._subscribed(this._take(SUBSCRIBE, request), message[2]);
        case UNSUBSCRIBED:
          return this._unsubscribed(request, message[2] || {});
        case REGISTERED:
          return this._registered(this._take(REGISTER, request), message[2]);
        case UNREGISTERED:
          return this._unregistered(request, message[2] || {});
        case ERROR:
          return this._take(message[1], message[2]).reject(new WampError(message[4], message[5], message[6]));
        case GOODBYE:
          return this._goodbye(message);
        case ABORT:
          return this._end(message[2], (message[1] || {}).message, message[2] === "wamp.close.system_shutdown");
        default:
          throw new ProtocolViolation("unexpected message " + code);
      }
    }

    _goodbye(message) {
      const reason = message[2];
      if (this._state === "leaving") {
        return this._end(reason, (message[1] || {}).message);
      }
      this._link.send([GOODBYE, {}, "wamp.close.goodbye_and_out"]);
      // A router that restarts will be back, and the page wants to be with it. Any other goodbye was meant for this session.
      return this._end(reason, (message[1] || {}).message, reason === "wamp.close.system_shutdown");
    }

    _subscribed(waiting, id) {
      expect(isId(id), "a malformed SUBSCRIBED");
      // The router gives one id to all subscriptions of a session to the same topic.
      const subscription = new Subscription(this, waiting.uri, waiting.target, waiting.options, id);
      const handlers = this._subscriptions.get(id) || [];
      handlers.push(subscription);
      this._subscriptions.set(id, handlers);
      waiting.resolve(subscription);
    }

    _unsubscribed(request, details) {
      // Request 0 is the router's own doing: section "Subscription Revocation".
      const waiting = request === 0 ? null : this._take(UNSUBSCRIBE, request);
      const id = waiting ? waiting.subscription.id : details.subscription;
      (this._subscriptions.get(id) || []).forEach((one) => (one.active = false));
      this._subscriptions.delete(id);
      if (waiting) {
        waiting.resolve(true);
      }
    }

    _registered(waiting, id) {
      expect(isId(id), "a malformed REGISTERED");
      const registration = new Registration(this, waiting.uri, waiting.target, waiting.options, id);
      this._registrations.set(id, registration);
      waiting.resolve(registration);
    }

    _unregistered(request, details) {
      const waiting = request === 0 ? null : this._take(UNREGISTER, request);
      const registration = waiting ? waiting.registration : this._registrations.get(details.registration);
      if (registration) {
        registration.active = false;
        this._registrations.delete(registration.id);
      }
      if (waiting) {
        waiting.resolve(true);
      }
    }

    _event([, id, publication, details, args, kwargs]) {
      // No handler is no fault: the event may have crossed an UNSUBSCRIBE on the wire.
      for (const one of (this._subscriptions.get(id) || []).slice()) {
        try {
          const outcome = one.handler(args || [], kwargs || {}, new Event(publication, one.topic, details || {}), one);
          if (outcome && typeof outcome.then === "function") {
            outcome.then(undefined, (error) => this._link.failed(error, "handler of " + one.topic));
          }
        } catch (error) {
          this._link.failed(error, "handler of " + one.topic);
        }
      }
    }

    _result([, request, details, args, kwargs]) {
      const values = args || [];
      const isOne = values.length <= 1 && !(kwargs && Object.keys(kwargs).length > 0);
      const value = isOne ? (values.length === 1 ? values[0] : null) : new Result(values, kwargs, details);
      this._take(CALL, request).resolve(value);
    }

    async _invocation([, request, id, details, args, kwargs]) {
      const registration = this._registrations.get(id);
      if (!registration) {
        // It crossed an UNREGISTER on the wire; the caller shall not wait in vain.
        this._link.send([ERROR, INVOCATION, request, {}, "wamp.error.no_such_registration"]);
        return;
      }
      let reply;
      try {
        const invocation = new Invocation(registration.procedure, details || {});
        const value = await registration.endpoint(args || [], kwargs || {}, invocation, registration);
        const tail = value instanceof Result ? payload(value.args, value.kwargs) : [[value === undefined ? null : value]];
        reply = [YIELD, request, {}].concat(tail);
        JSON.stringify(reply); // A value that has no JSON form is the endpoint's failure, and the caller must learn of it.
      } catch (error) {
        reply = [ERROR, INVOCATION, request, {}].concat(this._asError(error, registration));
      }
      this._reply(reply);
    }

    _asError(error, registration) {
      if (error instanceof WampError) {
        return [error.error].concat(payload(error.args, error.kwargs));
      }
      this._link.failed(error, "endpoint of " + registration.procedure);
      return ["wamp.error.runtime_error", [String((error && error.message) || error)]];
    }

    /** An endpoint may be ready only after the session has ended: then nobody is interested any more. */
    _reply(message) {
      if (this._state === "open") {
        this._link.send(message);
      }
    }
  }

  /** The addresses to try, in order: `url` (one or several), or the WebSocket ones among `transports`. */
  function addresses(options) {
    const list = [].concat(options.url || []);
    for (const transport of options.transports || []) {
      if (transport.type === undefined || transport.type === "websocket") {
        list.push(...[].concat(transport.url || []));
      }
    }
    return list;
  }

  /**
   * Keeps a session: connects, joins, and begins again when the connection is lost.
   *
   * Options: url, realm, authmethods, authid, authextra, onchallenge(session, method, extra), max_retries (15, -1 is for
   * ever), initial_retry_delay (1.5 seconds), max_retry_delay (300), retry_delay_growth (1.5), retry_delay_jitter (0.1),
   * retry_if_unreachable (true), on_user_error(error, where), WebSocket (the class to use).
   */
  class Connection {
    constructor(options) {
      if (!isObject(options)) {
        throw new TypeError("options must be an object");
      }
      needString(options.realm, "realm");
      this._options = Object.assign(
        {
          max_retries: 15,
          initial_retry_delay: 1.5,
          max_retry_delay: 300,
          retry_delay_growth: 1.5,
          retry_delay_jitter: 0.1,
          retry_if_unreachable: true,
        },
        options
      );
      this._urls = addresses(options);
      this._socket = null;
      this._session = null;
      this._timer = null;
      this._wanted = false;
      this.onopen = null;
      this.onclose = null;
    }

    get session() {
      return this._session;
    }

    get isOpen() {
      return Boolean(this._session && this._session.isOpen);
    }

    get isConnected() {
      return this._socket !== null;
    }

    get isRetrying() {
      return this._timer !== null;
    }

    open() {
      if (this._socket || this._timer) {
        throw new Error("connection already open (or opening)");
      }
      this._wanted = true;
      this._attempts = 0;
      this._successes = 0;
      this._resetRetry();
      const Socket = this._options.WebSocket || root.WebSocket;
      if (typeof Socket !== "function" || this._urls.length === 0) {
        const message = this._urls.length === 0 ? "no WebSocket URL given" : "no WebSocket here";
        this._tell("unsupported", { reason: null, message: message, retry_delay: null, retry_count: null, will_retry: false });
        return;
      }
      this._attempt(Socket);
    }

    close(reason, message) {
      if (!this._socket && !this._timer) {
        throw new Error("connection already closed");
      }
      this._wanted = false;
      clearTimeout(this._timer);
      this._timer = null;
      if (this.isOpen) {
        this._session.leave(reason, message);
      } else if (this._socket) {
        this._socket.close();
      }
    }

    _attempt(Socket) {
      const url = this._urls[this._attempts % this._urls.length];
      this._attempts += 1;
      this._left = { reason: null, message: "" };
      let socket;
      try {
        socket = new Socket(url, [SUBPROTOCOL]);
      } catch (error) {
        // A malformed URL, or ws: on a page that came by https:. It is told as every other failure, after open() returned.
        this._left.message = String((error && error.message) || error);
        this._timer = setTimeout(() => this._closed(Socket), 0);
        return;
      }
      this._socket = socket;
      socket.onopen = () => this._begin(socket);
      socket.onmessage = (event) => this._message(event.data);
      socket.onerror = () => undefined; // Browsers say nothing useful here, and `onclose` follows.
      socket.onclose = () => this._closed(Socket);
    }

    _begin(socket) {
      if (socket.protocol !== SUBPROTOCOL) {
        this._left.message = "the server does not speak " + SUBPROTOCOL;
        socket.close();
        return;
      }
      this._successes += 1;
      const session = new Session(
        {
          send: (message) => socket.send(JSON.stringify(message)),
          opened: (details) => this._opened(session, details),
          left: (reason, message, mayRetry) => {
            this._left = { reason: reason, message: message, isFinal: !mayRetry };
            socket.close(1000);
          },
          failed: (error, where) => this._failed(error, where),
        },
        this._options
      );
      this._session = session;
      session._join();
    }

    _message(data) {
      if (!this._session) {
        return;
      }
      let message;
      try {
        message = JSON.parse(data);
      } catch (error) {
        message = undefined; // The session calls it what it is, a violation of the protocol.
      }
      this._session._receive(message);
    }

    _opened(session, details) {
      // Only a session that was let in proves that things are well again; an open socket alone does not.
      this._resetRetry();
      try {
        if (this.onopen) {
          this.onopen(session, details);
        }
      } catch (error) {
        this._failed(error, "onopen");
      }
    }

    _closed(Socket) {
      const left = this._left;
      this._socket = null;
      this._timer = null;
      let reason = "lost";
      if (this._successes === 0) {
        reason = "unreachable";
        this._wanted = this._wanted && this._options.retry_if_unreachable;
      } else if (left.reason !== null || !this._wanted) {
        reason = "closed";
      }
      this._wanted = this._wanted && !left.isFinal;
      const session = this._session;
      this._session = null;
      if (session) {
        session._close(left.message || "the connection was " + reason);
      }
      const retry = this._nextRetry();
      const stop = this._tell(reason, {
        reason: left.reason,
        message: left.message,
        retry_delay: retry.delay,
        retry_count: retry.count,
        will_retry: retry.will,
      });
      // The page may have called open() or close() itself meanwhile: then its word counts.
      if (retry.will && this._wanted && stop !== true && !this._socket && !this._timer) {
        this._timer = setTimeout(() => {
          this._timer = null;
          this._attempt(Socket);
        }, retry.delay * 1000);
      }
    }

    _resetRetry() {
      this._retryCount = 0;
      this._retryDelay = this._options.initial_retry_delay;
    }

    /** Exponential backoff. The jitter keeps a crowd of pages from coming back all at once after a restart. */
    _nextRetry() {
      const options = this._options;
      if (!this._wanted || (options.max_retries >= 0 && this._retryCount >= options.max_retries)) {
        return { will: false, count: null, delay: null };
      }
      this._retryCount += 1;
      const spread = 1 + options.retry_delay_jitter * (2 * Math.random() - 1);
      const delay = Math.min(this._retryDelay * spread, options.max_retry_delay);
      this._retryDelay = Math.min(this._retryDelay * options.retry_delay_growth, options.max_retry_delay);
      return { will: true, count: this._retryCount, delay: delay };
    }

    _tell(reason, details) {
      try {
        return this.onclose ? this.onclose(reason, details) : undefined;
      } catch (error) {
        this._failed(error, "onclose");
        return undefined;
      }
    }

    _failed(error, where) {
      if (typeof this._options.on_user_error === "function") {
        this._options.on_user_error(error, where);
      } else {
        console.error("error in " + where + ":", error);
      }
    }
  }

  // Authentication by challenge and response (WAMP-CRA). The browser's own cryptography works on secure pages only, and a
  // node in the local network is often reached by plain http: hence SHA-256 by hand (FIPS 180-4). It signs challenges; it is
  // not fast, and nothing else should use it.

  /** The first 32 bits of the fractional parts of the roots of the first primes, which is how SHA-256 defines its constants. */
  function rootsOfPrimes(count, exponent) {
    const found = [];
    for (let candidate = 2; found.length < count; candidate += 1) {
      let divisor = 2;
      while (divisor * divisor <= candidate && candidate % divisor !== 0) {
        divisor += 1;
      }
      if (divisor * divisor > candidate) {
        found.push((Math.pow(candidate, exponent) * 4294967296) | 0);
      }
    }
    return found;
  }

  const ROUNDS = rootsOfPrimes(64, 1 / 3);
  const START = rootsOfPrimes(8, 1 / 2);

  const rotate = (word, bits) => (word >>> bits) | (word << (32 - bits));

  function compress(state, view, offset, words) {
    for (let i = 0; i < 64; i += 1) {
      if (i < 16) {
        words[i] = view.getInt32(offset + 4 * i);
      } else {
        const near = words[i - 2];
        const far = words[i - 15];
        const sigma0 = rotate(far, 7) ^ rotate(far, 18) ^ (far >>> 3);
        const sigma1 = rotate(near, 17) ^ rotate(near, 19) ^ (near >>> 10);
        words[i] = words[i - 16] + sigma0 + words[i - 7] + sigma1;
      }
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i += 1) {
      const sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const choice = (e & f) ^ (~e & g);
      const first = (h + sum1 + choice + ROUNDS[i] + words[i]) | 0;
      const sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const majority = (a & b) ^ (a & c) ^ (b & c);
      [h, g, f, e, d, c, b] = [g, f, e, (d + first) | 0, c, b, a];
      a = (first + sum0 + majority) | 0;
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] = (state[i] + word) | 0));
  }

  function sha256(bytes) {
    const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bytes.length / 0x20000000));
    view.setUint32(padded.length - 4, (bytes.length << 3) >>> 0);
    const state = START.slice();
    const words = new Int32Array(64);
    for (let offset = 0; offset < padded.length; offset += 64) {
      compress(state, view, offset, words);
    }
    const digest = new DataView(new ArrayBuffer(32));
    state.forEach((word, i) => digest.setInt32(4 * i, word));
    return new Uint8Array(digest.buffer);
  }

  function joined(first, second) {
    const both = new Uint8Array(first.length + second.length);
    both.set(first);
    both.set(second, first.length);
    return both;
  }

  /** HMAC, RFC 2104. */
  function hmac(key, message) {
    const block = new Uint8Array(64);
    block.set(key.length > 64 ? sha256(key) : key);
    const inner = sha256(joined(block.map((byte) => byte ^ 0x36), message));
    return sha256(joined(block.map((byte) => byte ^ 0x5c), inner));
  }

  const utf8 = (text) => new TextEncoder().encode(text);

  const base64 = (bytes) => btoa(String.fromCharCode.apply(null, bytes));

  const auth_cra = {
    /** The answer to a challenge. */
    sign(secret, challenge) {
      return base64(hmac(utf8(secret), utf8(challenge)));
    },

    /** The secret in the salted form that the router keeps it in: PBKDF2 with SHA-256 (RFC 8018), as Base64. */
    derive_key(secret, salt, iterations, keylen) {
      const rounds = iterations || 1000;
      const length = keylen || 32;
      const key = utf8(secret);
      let derived = new Uint8Array(0);
      for (let index = 1; derived.length < length; index += 1) {
        const count = new Uint8Array([index >>> 24, index >>> 16, index >>> 8, index]);
        let turn = hmac(key, joined(utf8(salt), count));
        const block = turn.slice();
        for (let i = 1; i < rounds; i += 1) {
          turn = hmac(key, turn);
          block.forEach((byte, at) => (block[at] = byte ^ turn[at]));
        }
        derived = joined(derived, block);
      }
      return base64(derived.slice(0, length));
    },
  };

  const when = {
    /** A promise with its handles beside it, for endpoints that answer later. */
    defer() {
      const deferred = {};
      deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve: resolve, reject: reject }));
      return deferred;
    },
  };

  return {
    version: "1.0.0",
    Connection: Connection,
    Session: Session,
    Error: WampError,
    Result: Result,
    Event: Event,
    Invocation: Invocation,
    Publication: Publication,
    Subscription: Subscription,
    Registration: Registration,
    auth_cra: auth_cra,
    when: when,
  };
});
