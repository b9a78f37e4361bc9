import { connect } from '../index.js';

const QUICK = { backoff: { firstMs: 1, maxMs: 5 } };
export const URL_ = 'ws://fanlight.test/ws';

/** A client whose server the test plays, and what it says of events, states and errors. */
export function start(context, options = {}) {
  const server = fakeServer();
  const client = connect({
    url: URL_,
    ...(options.getToken ? {} : { token: 't' }),
    WebSocket: server.WebSocket,
    ...QUICK,
    ...options,
  });
  context.after(() => client.close());
  const seen = [];
  const states = [];
  const errors = [];
  client.on('*', ({ seq }) => seen.push(seq));
  client.on('state', (state) => states.push(state));
  client.on('error', (error) => errors.push(error.message));
  return { server, client, seen, states, errors };
}

/** A WebSocket class whose other side is the test. */
function fakeServer() {
  const sockets = [];
  const waiting = [];

  class FakeWebSocket {
    readyState = 0;
    sent = [];
    #answered = new Set();

    constructor(url, protocols) {
      this.url = new URL(url);
      this.token = protocols[1].replace('bearer.', '');
      sockets.push(this);
      waiting.shift()?.(this);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
      this.onsent?.();
    }

    close(code) {
      this.closedWith ??= code;
      this.readyState = 3;
      this.onsent?.();
    }

    welcome(fields = {}) {
      this.readyState = 1;
      this.say({ type: 'WELCOME', connectionId: 'c', node: 'n', seq: 0, epoch: 'e', heartbeatMs: 25_000, ...fields });
    }

    say(frame) {
      this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
    }

    /** The server has written all that was missed. */
    replayed() {
      this.say({ type: 'PONG', ref: 'replayed' });
    }

    end(code, reason = '', more = {}) {
      this.readyState = 3;
      this.onclose?.({ code, reason, ...more });
    }

    /** What the client has sent, as soon as `found` finds it there. */
    async until(found) {
      while (true) {
        const answer = found(this);
        if (answer) return answer;
        await new Promise((resolve) => {
          this.onsent = resolve;
        });
      }
    }

    /** The first command of this type that was not answered yet. */
    async asked(type) {
      return this.until(({ sent }) => sent.find((it) => it.type === type && !this.#answered.has(it.ref)));
    }

    /** Answers the first command of this type, and returns it. */
    async ok(type, fields = {}) {
      return this.#answer(type, { type: 'OK', ...fields });
    }

    async refuse(type, code, fields = {}) {
      return this.#answer(type, { type: 'ERROR', code, message: 'no', ...fields });
    }

    async #answer(type, frame) {
      const command = await this.asked(type);
      this.#answered.add(command.ref);
      this.say({ ...frame, ref: command.ref });
      return command;
    }

    async acked(seq) {
      await this.until(({ sent }) => sent.some((it) => it.type === 'ACK' && it.seq === seq));
    }

    async closed() {
      return this.until(({ closedWith }) => closedWith);
    }
  }

  let given = 0;
  return {
    WebSocket: FakeWebSocket,
    /** The next connection that the client makes, or has made. */
    async next() {
      given += 1;
      if (sockets.length >= given) return sockets[given - 1];
      return new Promise((resolve) => waiting.push(resolve));
    },
    get count() {
      return sockets.length;
    },
  };
}

export function event(seq, fields = {}) {
  return { type: 'PARTNER_STATUS_CHANGED', id: `id-${seq}`, seq, timestamp: 0, status: 'BUSY', ...fields };
}
