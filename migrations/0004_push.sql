-- The devices that can be woken, and each attempt to wake them.

CREATE TABLE device_tokens (
    id                 uuid        PRIMARY KEY,
    user_id            uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    -- The login that registered it: its logout retires the token.
    session_id         uuid        REFERENCES sessions ON DELETE SET NULL,
    device_id          text        NOT NULL,
    fcm_token          text        NOT NULL,
    platform           text        NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    app_version        text,
    locale             text        NOT NULL DEFAULT 'en',
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    last_registered_at timestamptz NOT NULL,
    deactivated_at     timestamptz,
    -- 'removed', 'moved', 'device_limit', 'stale', 'logout', or what FCM said of a dead token.
    deactivated_reason text,
    UNIQUE (user_id, device_id),
    CHECK ((deactivated_at IS NULL) = (deactivated_reason IS NULL))
);

-- A shared phone belongs to who signed in last; two owners would read each other's messages.
CREATE UNIQUE INDEX device_tokens_active_fcm_token_key
    ON device_tokens (fcm_token) WHERE deactivated_at IS NULL;
CREATE INDEX device_tokens_last_registered_at_idx
    ON device_tokens (last_registered_at) WHERE deactivated_at IS NULL;
CREATE INDEX device_tokens_session_id_idx ON device_tokens (session_id);

-- One row per event and device: the schedule of its attempts, which survives restarts.
CREATE TABLE pushes (
    event_id        uuid        NOT NULL REFERENCES events ON DELETE CASCADE,
    device_token_id uuid        NOT NULL REFERENCES device_tokens ON DELETE CASCADE,
    attempts        integer     NOT NULL DEFAULT 0,
    -- NULL while it may be tried again.
    outcome         text        CHECK (outcome IN ('accepted', 'token_dead', 'refused')),
    reason          text,
    next_attempt_at timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (event_id, device_token_id)
);

CREATE INDEX pushes_device_token_id_idx ON pushes (device_token_id);
