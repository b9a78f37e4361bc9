// A phone for tests/it/javascript.rs: follows one user, and a room if it is told which, and says what it sees as JSON
// lines. Each line of its input is a message to be written in the room; it ends with its input.
//
//     node follow.js '{"urls": ["…"], "token": "…", "refreshToken": "…", "room": "…", …}'

import { connect, webStorage } from '../index.js';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const { api, urls, token, refreshToken, storage, room: channelId, ...options } = JSON.parse(process.argv[2]);

/** As a browser's, in a directory. */
function files(directory) {
  mkdirSync(directory, { recursive: true });
  return {
    getItem: (key) => {
      try {
        return readFileSync(`${directory}/${key}`, 'utf8');
      } catch {
        return null;
      }
    },
    // Killed in the middle of it, the old one is still there.
    setItem: (key, text) => {
      writeFileSync(`${directory}/next`, text);
      renameSync(`${directory}/next`, `${directory}/${key}`);
    },
  };
}

const tokens = { access: token, refresh: refreshToken };
async function getToken({ reason, signal }) {
  if (reason === 'connect') return tokens.access;
  const response = await fetch(`${api}/auth/refresh`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ refreshToken: tokens.refresh }),
    signal,
  });
  if (!response.ok) throw new Error(`/auth/refresh answers ${response.status}`);
  const answer = await response.json();
  [tokens.access, tokens.refresh] = [answer.accessToken, answer.refreshToken];
  say({ renewed: reason });
  return tokens.access;
}

function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const credentials = refreshToken ? { getToken } : { token };
// The first as long as it answers.
const url = ({ attempt }) => urls[attempt % urls.length];
const client = connect({ url, ...credentials, ...(storage && { storage: webStorage('position', files(storage)) }), ...options });
client.on('*', (event) => say({ event }));
client.on('resync', (resync) => say({ resync }));
client.on('state', (state) => say(state));
client.on('current', (current) => say({ current }));
client.on('error', (error) => say({ error: error.message }));

if (channelId !== undefined) follow(client.join(channelId));
process.stdin.resume();
process.stdin.on('end', () => client.close());

function follow(room) {
  room.on('*', (heard) => say({ heard }));
  room.on('resync', async (resync) => {
    const messages = [];
    for await (const page of room.pages({ limit: 2 })) messages.unshift(...page);
    say({ read: messages, resync: resync.reason === 'new' ? undefined : resync });
  });
  room.on('state', ({ state }) => say({ room: state }));
  createInterface({ input: process.stdin }).on('line', async (content) => say({ sent: await room.send(content) }));
}
