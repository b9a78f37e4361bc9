/** That somebody types: what is said of oneself, no more often than it is worth, and who of the others does. */

const SAY_EVERY_MS = 3_000;
/** It may get lost that somebody has ended. */
const FORGET_AFTER_MS = 10_000;

export class Typing {
  #say;
  #changed;
  #saidAt = null;
  #typists = new Map();

  /** @param {(isTyping: boolean) => void} say @param {(userIds: string[]) => void} changed */
  constructor(say, changed) {
    this.#say = say;
    this.#changed = changed;
  }

  /** The user types, or does not any more. */
  set(isTyping) {
    const now = performance.now();
    const isSaid = this.#saidAt !== null && now - this.#saidAt < SAY_EVERY_MS;
    if (isTyping ? isSaid : this.#saidAt === null) return;
    this.#saidAt = isTyping ? now : null;
    this.#say(isTyping);
  }

  hear({ userId, isTyping }) {
    const wasTyping = this.#typists.has(userId);
    clearTimeout(this.#typists.get(userId));
    if (isTyping) this.#typists.set(userId, setTimeout(() => this.hear({ userId, isTyping: false }), FORGET_AFTER_MS));
    else this.#typists.delete(userId);
    if (wasTyping !== isTyping) this.#changed([...this.#typists.keys()]);
  }

  /** Nothing is heard any more. */
  forget() {
    this.#saidAt = null;
    if (this.#typists.size === 0) return;
    for (const timer of this.#typists.values()) clearTimeout(timer);
    this.#typists.clear();
    this.#changed([]);
  }
}
