// Ben's phone, in a terminal: follows his events beside `./run`, through kills and restarts of nodes. Ctrl-C ends it.
//
//     node clients/js/example.js /tmp/fanlight-0/dev/dev.json      ("state" in what ./run prints)

import { readFileSync } from 'node:fs';
import { connect } from './index.js';

const { http, users } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
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

process.once('SIGINT', () => client.close());
