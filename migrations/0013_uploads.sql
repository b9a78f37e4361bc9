-- Files that people attach to messages. What they hold is in the store of blobs, under the row's id. The row is there
-- before its blob and goes after it: none is left that nothing leads to.

CREATE TABLE uploads (
    id           uuid        PRIMARY KEY,
    -- NULL: the account was deleted.
    user_id      uuid        REFERENCES users ON DELETE SET NULL,
    -- NULL before it is attached, and again once that message is gone.
    message_id   uuid        REFERENCES messages ON DELETE SET NULL,
    name         text        NOT NULL,
    content_type text        NOT NULL,
    -- What it may become while it is received; its size from then on.
    bytes        bigint      NOT NULL CHECK (bytes > 0),
    -- NULL while it is received.
    sha256       bytea       CHECK (octet_length(sha256) = 32),
    created_at   timestamptz NOT NULL,
    -- Until then it waits to be received, and to be attached. In the past once it is attached: the moment that its message
    -- goes, whichever way, it is over.
    expires_at   timestamptz NOT NULL,
    -- When a sweep took it: nobody attaches or reads it any more.
    doomed_at    timestamptz
);

-- What one person holds is added up before they may hold more.
CREATE INDEX uploads_user_id_idx ON uploads (user_id) INCLUDE (bytes, message_id, expires_at);
CREATE INDEX uploads_message_id_idx ON uploads (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX uploads_expires_at_idx ON uploads (expires_at) WHERE message_id IS NULL;

-- What was attached, as everybody is shown it: reading a message reads no other table for it. A constant default is
-- not written into the rows that are there.
ALTER TABLE messages ADD COLUMN attachments jsonb NOT NULL DEFAULT '[]';

-- Here, so that it holds whoever deletes: a node of the version before, too.
CREATE FUNCTION messages_lose_attachments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE uploads SET message_id = NULL WHERE message_id = NEW.id;
    NEW.attachments := '[]';
    RETURN NEW;
END $$;

CREATE TRIGGER deleted BEFORE UPDATE OF deleted_at ON messages FOR EACH ROW
    WHEN (NEW.deleted_at IS NOT NULL AND NEW.attachments <> '[]') EXECUTE FUNCTION messages_lose_attachments();
