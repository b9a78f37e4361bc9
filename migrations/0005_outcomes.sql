-- Why each event ended as it did, and at most one push at a time for what replaces itself on a phone.

-- Settled: why (delivery::outcome::Reason; docs/outcomes.md says what each means). Not settled: why nobody can be
-- woken for it now, NULL while it is under way. Also NULL where a node of before this migration settled it.
ALTER TABLE events ADD COLUMN reason text CHECK (reason IN (
    'pong', 'ack', 'resumed', 'every_device', 'some_device',
    'accepted', 'coalesced',
    'silent', 'no_device', 'token_dead', 'refused', 'unreadable', 'given_up', 'unconfirmed'
));

-- A lane is what replaces itself on a user's devices: all pushes with one collapse key. One worker holds it for
-- the time of a push; after one that was accepted it rests, and whatever came meanwhile goes out together.
CREATE TABLE push_lanes (
    user_id      uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    collapse_key text        NOT NULL,
    -- Fences its holder, as `claims` does for an event. NULL while it rests.
    hold_id      uuid,
    free_at      timestamptz NOT NULL,
    PRIMARY KEY (user_id, collapse_key)
);

CREATE INDEX push_lanes_free_at_idx ON push_lanes (free_at);

-- Devices name themselves: the ones that confirmed last are remembered, as many as a user may have.
ALTER TABLE device_cursors ADD COLUMN confirmed_at timestamptz NOT NULL DEFAULT now();
