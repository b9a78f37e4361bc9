// A phone for tests/it/javascript.rs: follows one user, says what it sees as JSON lines, and ends with its input.
//
//     node follow.js '{"url": "…", "token": "…", "refreshToken": "…", …}'

import { connect, webStorage } from '../index.js';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

const { api, url, token, refreshToken, storage, ...options } = JSON.parse(process.argv[2]);

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
    setItem: (key, text) => writeFileSync(`${directory}/${key}`, text),
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
const client = connect({ url, ...credentials, ...(storage && { storage: webStorage('position', files(storage)) }), ...options });
client.on('*', (event) => say({ event }));
client.on('resync', (resync) => say({ resync }));
client.on('state', (state) => say(state));
client.on('current', (current) => say({ current }));
client.on('error', (error) => say({ error: error.message }));

process.stdin.resume();
process.stdin.on('end', () => client.close());
