/** A WebSocket class whose other side is the test. */
export function fakeServer() {
  const sockets = [];
  const waiting = [];

  class FakeWebSocket {
    readyState = 0;
    sent = [];

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
