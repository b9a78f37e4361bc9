-- Two linked people and their traffic lights.

-- The composite key refers to its own mirror image: a row (a, b) exists only beside (b, a). So one
-- partner each, and both sides or none, whatever the code above does.
CREATE TABLE partners (
    user_id    uuid        PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    partner_id uuid        NOT NULL CHECK (partner_id <> user_id),
    linked_at  timestamptz NOT NULL,
    UNIQUE (user_id, partner_id),
    FOREIGN KEY (partner_id, user_id) REFERENCES partners (user_id, partner_id)
        ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);

-- A new offer replaces the owner's old one: one row per owner, however often they ask.
CREATE TABLE link_sessions (
    id           uuid        PRIMARY KEY,
    owner_id     uuid        NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE,
    code         text        NOT NULL CONSTRAINT link_sessions_code_key UNIQUE,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    confirmed_at timestamptz,
    confirmed_by uuid        REFERENCES users ON DELETE SET NULL
);

-- Nobody has a row until the first change: no row means OFFLINE.
CREATE TABLE statuses (
    user_id          uuid        PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    status           text        NOT NULL CHECK (status IN ('AVAILABLE', 'BUSY', 'OFFLINE')),
    -- What a timed status lapses to; equal to `status` when it is not timed.
    base_status      text        NOT NULL CHECK (base_status IN ('AVAILABLE', 'BUSY', 'OFFLINE')),
    duration_seconds bigint,
    expires_at       timestamptz,
    updated_at       timestamptz NOT NULL,
    CHECK ((expires_at IS NULL) = (duration_seconds IS NULL)),
    CHECK (expires_at IS NOT NULL OR base_status = status)
);

CREATE INDEX statuses_expires_at_idx ON statuses (expires_at) WHERE expires_at IS NOT NULL;

-- The partner of a user, or NULL, as of after every linking and unlinking that has committed. Those
-- lock both users' rows; waiting for them here, then reading with a fresh snapshot, is why this is a
-- function: a status change in one statement would read its partner from before the wait.
CREATE FUNCTION lock_partner(p_user_id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM users WHERE id = p_user_id FOR SHARE;
    RETURN (SELECT partner_id FROM partners WHERE user_id = p_user_id);
END $$;
