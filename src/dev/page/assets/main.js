/** Puts the page together: asks how the cluster is twice a second, and shows it. */

import { Account, readState, seeded } from './api.js';
import { Charts } from './charts.js';
import { Cluster } from './cluster.js';
import { capital, setText } from './dom.js';
import { Phone } from './phone.js';
import { Timeline } from './timeline.js';

const EVERY_MS = 500;

const notice = document.querySelector('#notice');

theme(document.querySelector('#theme'));
start().catch((error) => setText(notice, `The page cannot start: ${error.message}`));

async function start() {
  const { users, channel } = await seeded();
  const names = new Map(users.map(({ id, email }) => [id, capital(email.split('@')[0])]));
  let state = await readState();
  const cluster = new Cluster(document.querySelector('#cluster'));
  const phones = users.map((user, index) => {
    const line = state.lines[index];
    return new Phone({ account: new Account(user), line, names, channel, onCommit: (node) => cluster.committed(node) });
  });
  document.querySelector('#phones').append(...phones.map(({ element }) => element));
  const timeline = new Timeline(document.querySelector('#timeline'), names);
  const charts = new Charts(document.querySelector('#charts'));
  // For who looks with the developer's tools, and for tests.
  globalThis.fanlight = { phones };

  while (true) {
    const began = performance.now();
    try {
      state = await readState();
      setText(notice, state.events === null ? 'Postgres does not answer.' : '');
      for (const part of [cluster, timeline, charts]) part.show(state);
      phones.forEach((phone, index) => phone.show(state, state.lines[index]));
    } catch (error) {
      setText(notice, 'The cluster was stopped, or does not answer.');
      if (!(error instanceof TypeError || error.name === 'TimeoutError' || error.status)) throw error;
    }
    const rest = Math.max(0, EVERY_MS - (performance.now() - began));
    await new Promise((resolve) => setTimeout(resolve, rest));
  }
}

/** Light, dark, or as the system has it. */
function theme(button) {
  const NEXT = { auto: 'light', light: 'dark', dark: 'auto' };
  const apply = (choice) => {
    document.documentElement.dataset.theme = choice;
    setText(button, { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' }[choice]);
    localStorage.setItem('fanlight-theme', choice);
  };
  const saved = localStorage.getItem('fanlight-theme');
  apply(saved in NEXT ? saved : 'auto');
  button.addEventListener('click', () => apply(NEXT[document.documentElement.dataset.theme]));
}
