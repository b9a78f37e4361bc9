/** Who wants to know what: handlers, which are waited for one after the other, and listeners, which are not. */
export class Handlers {
  #byType = new Map();

  /** Returns the function that removes it. */
  on(type, listener) {
    const listeners = this.#byType.get(type) ?? new Set();
    this.#byType.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Hands the value to the handlers of each type, and fails with the first that fails. */
  async call(types, value, signal) {
    for (const type of types) {
      for (const handler of [...(this.#byType.get(type) ?? [])]) await handler(value, { signal });
    }
  }

  emit(type, value) {
    for (const listener of [...(this.#byType.get(type) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        // Not ours to answer, and not a reason to stop: it is shown where uncaught errors are.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
