/**
 * Where a client keeps its position. `load` and `save` may also return promises; `room(channelId)` is where the position
 * in that room is kept, in the same way.
 */

/** For as long as the page or the process lives. */
export function memoryStorage(position = null) {
  const rooms = new Map();
  return {
    load: () => position,
    save: (next) => {
      position = next;
    },
    room: (channelId) => {
      if (!rooms.has(channelId)) rooms.set(channelId, memoryStorage());
      return rooms.get(channelId);
    },
  };
}

/** In `localStorage`, or another store with `getItem` and `setItem`, under a key of this user's own. */
export function webStorage(key, store = globalThis.localStorage) {
  return {
    load: () => {
      try {
        return JSON.parse(store.getItem(key));
      } catch {
        // What cannot be read is as if it were not there: the server sends what is not settled.
        return null;
      }
    },
    save: (position) => store.setItem(key, JSON.stringify(position)),
    room: (channelId) => webStorage(`${key}:${channelId}`, store),
  };
}
