-- What users must be told, in order, and what became of it.

-- The row lock on an inbox makes the order of `seq` the order of commits, without gaps.
CREATE TABLE inboxes (
    user_id  uuid   PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    last_seq bigint NOT NULL
);

CREATE TABLE events (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    seq           bigint      NOT NULL,
    kind          text        NOT NULL,
    -- The flat JSON object of the wire, without `id` and `seq`.
    body          text        NOT NULL,
    -- What a push would say (delivery::event::PushContent); NULL: never worth waking a phone.
    push          jsonb,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,
    -- When a sweeper should look at the row next; also the lease of whoever works on it.
    due_at        timestamptz NOT NULL,
    -- Counts claims; a settlement by a worker whose claim was overtaken changes nothing.
    claims        integer     NOT NULL DEFAULT 0,
    outcome       text        CHECK (outcome IN ('delivered', 'pushed', 'expired')),
    settled_at    timestamptz,
    UNIQUE (user_id, seq),
    CHECK ((outcome IS NULL) = (settled_at IS NULL))
);

CREATE INDEX events_due_idx ON events (due_at) WHERE outcome IS NULL;
CREATE INDEX events_unsettled_idx ON events (user_id, seq) WHERE outcome IS NULL;
CREATE INDEX events_created_at_idx ON events (created_at);

-- The highest seq that a device has confirmed; read where `delivery.settled_by` is "every_device".
CREATE TABLE device_cursors (
    user_id       uuid   NOT NULL REFERENCES users ON DELETE CASCADE,
    device_id     text   NOT NULL,
    confirmed_seq bigint NOT NULL,
    PRIMARY KEY (user_id, device_id)
);

-- Appends one event to a user's inbox and returns its seq. A function, so that a statement of a
-- feature can change its state and append the events in one round trip.
CREATE FUNCTION append_event(
    p_id uuid, p_user_id uuid, p_kind text, p_body text, p_push jsonb, p_ttl_ms bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
    v_now timestamptz;
BEGIN
    INSERT INTO inboxes AS i (user_id, last_seq) VALUES (p_user_id, 1)
    ON CONFLICT (user_id) DO UPDATE SET last_seq = i.last_seq + 1
    RETURNING i.last_seq INTO v_seq;

    -- Only now, with the lock: the order of created_at is that of seq, and no deadline runs while waiting.
    v_now := clock_timestamp();
    INSERT INTO events (id, user_id, seq, kind, body, push, created_at, expires_at, due_at)
    VALUES (p_id, p_user_id, v_seq, p_kind, p_body, p_push, v_now,
            v_now + p_ttl_ms * interval '1 millisecond', v_now + interval '1 second');
    RETURN v_seq;
END $$;
