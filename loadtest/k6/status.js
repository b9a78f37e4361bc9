// Two linked people per VU: one changes a light, the other sees it. For people who know k6 better than goose.
//
//   k6 run --vus 10 --duration 60s -e URL=http://127.0.0.1:8080 loadtest/k6/status.js
//
// It is the smaller sister of the load test beside it: closed-loop, and it does not count what is lost beyond the run.
// Each VU registers two accounts: raise accounts.registrations_per_address_max for more than ten.

import http from 'k6/http';
import { check, fail } from 'k6';
import { Trend } from 'k6/metrics';
import { WebSocket } from 'k6/websockets';
import exec from 'k6/execution';

const URL = __ENV.URL || 'http://127.0.0.1:8080';
const PASSWORD = 'correct-horse-battery';
const STATUSES = ['AVAILABLE', 'BUSY', 'OFFLINE'];
const EVERY_MS = 1000;
const CHANGES = 30;
const ARRIVED_WITHIN_MS = 5000;

const delivery = new Trend('ws_delivery', true);

export const options = {
  thresholds: { ws_delivery: ['p(99)<500'], http_req_failed: ['rate<0.001'], checks: ['rate==1'] },
};

function call(method, path, token, body) {
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = http.request(method, URL + path, body ? JSON.stringify(body) : null, { headers, tags: { name: path } });
  if (answer.status >= 300) fail(`${path} answered ${answer.status}: ${answer.body}`);
  return answer;
}

function register(side) {
  const email = `k6-${Date.now()}-${exec.vu.idInTest}-${side}@example.com`;
  return call('POST', '/auth/register', null, { email, password: PASSWORD, displayName: 'Somebody' }).json('accessToken');
}

let couple = null;

function linked() {
  const [one, other] = [register('a'), register('b')];
  const linkCode = call('POST', '/linking/sessions', one).json('linkCode');
  call('POST', '/linking/sessions/confirm', other, { linkCode });
  return { one, other, since: 0 };
}

export default function () {
  couple = couple || linked();
  const { one, other } = couple;
  const due = [];
  let shown = 0;
  let last = couple.since;
  let sent = 0;
  const socket = new WebSocket(`${URL.replace('http', 'ws')}/ws?since=${last}`, null, {
    headers: { Authorization: `Bearer ${other}` },
  });
  const finish = () => {
    check(shown, { 'every change arrived': (seen) => seen === CHANGES });
    couple.since = last;
    socket.close();
  };
  socket.addEventListener('open', () => {
    const timer = setInterval(() => {
      // The events of a couple's changes arrive in the order in which they were made.
      due.push(Date.now());
      call('PATCH', '/status', one, { status: STATUSES[sent % STATUSES.length] });
      sent += 1;
      if (sent === CHANGES) {
        clearInterval(timer);
        setTimeout(finish, ARRIVED_WITHIN_MS);
      }
    }, EVERY_MS);
  });
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(String(data));
    if (event.seq === undefined) return;
    check(event.seq, { 'each event once and in order': (seq) => seq === last + 1 });
    last = event.seq;
    if (event.type === 'PARTNER_STATUS_CHANGED') {
      shown += 1;
      delivery.add(Date.now() - due.shift());
    }
  };
}
