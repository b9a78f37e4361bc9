-- The trace that an event belongs to, so that whoever tells it again, pushes or settles it, on any node, can say so there.

-- A W3C `traceparent`: the request that made the event. NULL for what is not traced.
ALTER TABLE events ADD COLUMN traceparent text;

-- In place of the one without a trace: nodes of before this migration call it with six arguments, and still may.
DROP FUNCTION append_event(uuid, uuid, text, text, jsonb, bigint);

CREATE FUNCTION append_event(
    p_id uuid, p_user_id uuid, p_kind text, p_body text, p_push jsonb, p_ttl_ms bigint, p_traceparent text DEFAULT NULL
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
    INSERT INTO events (id, user_id, seq, kind, body, push, created_at, expires_at, due_at, traceparent)
    VALUES (p_id, p_user_id, v_seq, p_kind, p_body, p_push, v_now,
            v_now + p_ttl_ms * interval '1 millisecond', v_now + interval '1 second', p_traceparent);
    RETURN v_seq;
END $$;
