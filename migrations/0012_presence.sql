-- Who is online, away or offline, as those who watch are told.

-- No row: the user was never here. One statement makes each transition, from one status to another and under the row's lock:
-- whichever nodes try, one of them makes it, and tells of it with the next revision.
CREATE TABLE user_presence (
    user_id    uuid        PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    status     text        NOT NULL CHECK (status IN ('online', 'away', 'offline')),
    -- The node that answers for it: it has a connection of the user, or looks next whether anybody has.
    node       uuid        NOT NULL,
    -- When to look whether the user is still connected anywhere. NULL: a connection is known, or the user is offline.
    look_at    timestamptz,
    -- When the last connection that is known of was closed.
    last_seen  timestamptz,
    changed_at timestamptz NOT NULL,
    revision   bigint      NOT NULL,
    CHECK (status <> 'offline' OR (look_at IS NULL AND last_seen IS NOT NULL))
) WITH (fillfactor = 80);

CREATE INDEX user_presence_look_at_idx ON user_presence (look_at) WHERE look_at IS NOT NULL;
-- For which users a node answers that may be lost.
CREATE INDEX user_presence_node_idx ON user_presence (node) WHERE look_at IS NULL AND status <> 'offline';
