-- Who people are, and the sessions they hold.

-- Trigrams, for people search; shipped with Postgres, and the owner of the database may create it.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    username      text        CHECK (username ~ '^[A-Za-z0-9_.-]{3,50}$'),
    email         text        NOT NULL CHECK (email = lower(email)),
    password_hash text        NOT NULL,
    full_name     text,
    display_name  text,
    phone_number  text,
    avatar_url    text,
    avatar_color  text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- What a search for people looks into: only what everybody may see.
    search_text   text        NOT NULL GENERATED ALWAYS AS (
        lower(coalesce(username, '') || ' ' || coalesce(display_name, '') || ' ' || coalesce(full_name, ''))
    ) STORED
);

CREATE UNIQUE INDEX users_email_key ON users (email);
-- Two people whose names differ only in case would be taken for each other.
CREATE UNIQUE INDEX users_username_key ON users (lower(username));
CREATE INDEX users_search_text_idx ON users USING gin (search_text gin_trgm_ops);

-- One row per login: the family of all refresh tokens that descend from it.
CREATE TABLE sessions (
    id             uuid        PRIMARY KEY,
    user_id        uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    user_agent     text        NOT NULL DEFAULT '',
    address        inet        NOT NULL DEFAULT '0.0.0.0',
    created_at     timestamptz NOT NULL,
    last_used_at   timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    revoked_reason text,
    CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
-- Every node polls what was revoked lately; see accounts::revocation.
CREATE INDEX sessions_revoked_at_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;

-- SHA-256 of each refresh token ever issued; a used one that comes back betrays a theft.
CREATE TABLE refresh_tokens (
    hash       bytea       PRIMARY KEY CHECK (octet_length(hash) = 32),
    session_id uuid        NOT NULL REFERENCES sessions ON DELETE CASCADE,
    issued_at  timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_used_at_idx ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;
