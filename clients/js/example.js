// Ben's phone, in a terminal: follows his events and his channel beside `./run`, through kills and restarts of nodes. What
// is typed is written in the channel. Ctrl-C ends it.
//
//     node clients/js/example.js /tmp/fanlight-0/dev/dev.json      ("state" in what ./run prints)

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from './index.js';

const { http, users, channel } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const ben = users[1];

const client = connect({ url: `${http}/ws`, token: ben.accessToken, deviceId: 'terminal' });

client.on('state', ({ state, node, code, waitMs }) => console.log(state, node ?? '', code ?? '', waitMs ?? ''));
client.on('error', (error) => console.error(error.message));
client.on('PARTNER_STATUS_CHANGED', async ({ seq, status }) => {
  // Acknowledged when this is done. Until then another device may be told, or a phone pushed.
  console.log(`#${seq}: my partner is ${status}`);
});
client.on('resync', async () => {
  const answer = await fetch(`${http}/partner`, { headers: { authorization: `Bearer ${ben.accessToken}` } });
  console.log('I missed too much; the state is', await answer.json());
});

// What was read may be told as well: a message that is shown already is not shown again.
let shown = 0;
function show({ seq, content }) {
  if (seq > shown) console.log(`${channel.name} ${seq}: ${content}`);
  shown = Math.max(shown, seq);
}
const room = client.join(channel.id);
room.on('resync', async (_, { signal }) => {
  const { value: newest } = await room.pages({ limit: 10, signal }).next();
  newest.forEach(show);
});
room.on('MESSAGE_CREATED', show);
const keyboard = createInterface({ input: process.stdin });
keyboard.on('line', (line) => room.send(line).catch((error) => console.error(error.message)));

process.once('SIGINT', () => {
  keyboard.close();
  client.close();
});
