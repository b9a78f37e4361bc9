-- Where people write to each other: one table for channels, groups and direct conversations, and one for messages.

CREATE TABLE channels (
    id            uuid        PRIMARY KEY,
    kind          text        NOT NULL CHECK (kind IN ('channel', 'group', 'direct')),
    -- NULL for a direct conversation: it is called by who is in it.
    name          text,
    description   text,
    is_private    boolean     NOT NULL,
    -- Both users of a direct conversation, the smaller id first: there is one for two people.
    direct_pair   uuid[]      CONSTRAINT channels_direct_pair_key UNIQUE,
    created_by    uuid        REFERENCES users ON DELETE SET NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    -- Nobody is in it and nobody finds it from this moment on; its messages go later, some at a time.
    deleted_at    timestamptz,
    -- Kept by a trigger below.
    member_count  integer     NOT NULL DEFAULT 0,
    message_count bigint      NOT NULL DEFAULT 0,
    -- The row's lock makes the order of both numbers the order of commits, without gaps. `last_seq` counts messages;
    -- `last_revision` counts whatever members see happen (messages written, edited, deleted, reacted to) and who is taken out.
    last_seq      bigint      NOT NULL DEFAULT 0,
    last_revision bigint      NOT NULL DEFAULT 0,
    CHECK ((kind = 'direct') = (name IS NULL)),
    CHECK ((kind = 'direct') = (direct_pair IS NOT NULL)),
    CHECK (cardinality(direct_pair) = 2 AND direct_pair[1] < direct_pair[2]),
    CHECK (kind = 'channel' OR is_private)
);

-- Two channels whose names differ only in case would be taken for each other. Groups may share a name.
CREATE UNIQUE INDEX channels_name_key ON channels (lower(name)) WHERE kind = 'channel' AND deleted_at IS NULL;
-- The list of public ones, newest first.
CREATE INDEX channels_public_idx ON channels (id) WHERE NOT is_private AND deleted_at IS NULL;
CREATE INDEX channels_created_by_idx ON channels (created_by);
CREATE INDEX channels_deleted_idx ON channels (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE channel_members (
    channel_id        uuid        NOT NULL REFERENCES channels ON DELETE CASCADE,
    user_id           uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    role              text        NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at         timestamptz NOT NULL,
    -- How far the member has read; only ever grows. What was written before somebody came is not unread.
    last_read_seq     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (channel_id, user_id)
);

CREATE INDEX channel_members_user_id_idx ON channel_members (user_id, channel_id);

-- Whatever takes somebody in or out, a row or an account that is deleted: the number of members is right, who owns
-- the conversation is in it, and one that nobody is in is deleted. Whoever is taken out takes a revision: what has a
-- later one was not for them. Of the others the admin who joined first becomes
-- the owner, or else the member who did; a direct conversation has no owner.
CREATE FUNCTION channel_members_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    UPDATE channels AS c SET
        member_count = c.member_count + v_sign * n.members,
        last_revision = c.last_revision + CASE TG_OP WHEN 'DELETE' THEN 1 ELSE 0 END
    FROM (SELECT channel_id, count(*)::integer AS members FROM changed GROUP BY channel_id) AS n
    WHERE c.id = n.channel_id;
    IF TG_OP = 'INSERT' THEN
        RETURN NULL;
    END IF;

    UPDATE channels SET deleted_at = clock_timestamp()
    WHERE id IN (SELECT channel_id FROM changed) AND member_count = 0 AND deleted_at IS NULL;

    UPDATE channel_members AS heir SET role = 'owner'
    FROM (
        SELECT DISTINCT ON (m.channel_id) m.channel_id, m.user_id
        FROM channel_members AS m
        WHERE m.channel_id IN (SELECT channel_id FROM changed WHERE role = 'owner')
          AND NOT EXISTS (SELECT FROM channel_members AS o WHERE o.channel_id = m.channel_id AND o.role = 'owner')
        ORDER BY m.channel_id, m.role, m.joined_at, m.user_id -- "admin" before "member"
    ) AS next
    WHERE heir.channel_id = next.channel_id AND heir.user_id = next.user_id;
    RETURN NULL;
END $$;

CREATE TRIGGER joined AFTER INSERT ON channel_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION channel_members_changed();
CREATE TRIGGER gone AFTER DELETE ON channel_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION channel_members_changed();

-- An account that is deleted locks its conversations first, in the order of their ids, as everybody does who changes
-- them: the cascades below would lock its memberships first. Its own row is locked already.
CREATE FUNCTION lock_channels_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM channels
    WHERE id = ANY (ARRAY(
        SELECT channel_id FROM channel_members WHERE user_id = OLD.id
        UNION
        SELECT id FROM channels WHERE created_by = OLD.id
        UNION
        SELECT channel_id FROM messages WHERE user_id = OLD.id
        UNION
        SELECT m.channel_id FROM message_reactions AS r JOIN messages AS m ON m.id = r.message_id
        WHERE r.user_id = OLD.id))
    ORDER BY id FOR NO KEY UPDATE;
    RETURN OLD;
END $$;

CREATE TRIGGER lock_channels BEFORE DELETE ON users FOR EACH ROW EXECUTE FUNCTION lock_channels_of_user();

-- What `channels::access` reads, as of after every change that has committed. Who changes a conversation or writes in
-- it holds this lock; waiting for it here, then reading with a fresh snapshot, is why this is a function: one
-- statement would read the membership from before the wait.
CREATE FUNCTION lock_channel_access(
    p_channel_id uuid, p_user_id uuid, OUT kind text, OUT is_private boolean, OUT role text
) LANGUAGE plpgsql AS $$
BEGIN
    -- Users before channels: what is written refers to its author, whose deletion locks in this order.
    PERFORM 1 FROM users WHERE id = p_user_id FOR KEY SHARE;
    SELECT c.kind, c.is_private INTO kind, is_private
    FROM channels AS c WHERE c.id = p_channel_id AND c.deleted_at IS NULL FOR NO KEY UPDATE;
    SELECT m.role INTO role FROM channel_members AS m
    WHERE m.channel_id = p_channel_id AND m.user_id = p_user_id;
END $$;

CREATE TABLE messages (
    id           uuid        PRIMARY KEY,
    channel_id   uuid        NOT NULL REFERENCES channels ON DELETE CASCADE,
    seq          bigint      NOT NULL,
    -- Of its being written; what happened to it later has revisions of its own, in message_changes.
    revision     bigint      NOT NULL,
    -- NULL: the account was deleted.
    user_id      uuid        REFERENCES users ON DELETE SET NULL,
    -- What the sender calls it: the same one sent again is the same message.
    client_id    text,
    parent_id    uuid        REFERENCES messages ON DELETE CASCADE,
    message_type text        NOT NULL,
    -- Empty once deleted.
    content      text        NOT NULL,
    metadata     jsonb       NOT NULL DEFAULT '{}',
    mentions     uuid[]      NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    edited_at    timestamptz,
    deleted_at   timestamptz,
    -- Any language: words as they are written. And the conversation, so that the index alone finds a word in it; no word
    -- that somebody writes holds a space.
    search       tsvector    NOT NULL GENERATED ALWAYS AS (
        to_tsvector('simple', content) || array_to_tsvector(ARRAY['channel ' || channel_id::text])
    ) STORED,
    CONSTRAINT messages_channel_id_seq_key UNIQUE (channel_id, seq),
    CONSTRAINT messages_channel_id_revision_key UNIQUE (channel_id, revision),
    CONSTRAINT messages_client_id_key UNIQUE (user_id, channel_id, client_id)
);

CREATE INDEX messages_parent_id_idx ON messages (parent_id, seq) WHERE parent_id IS NOT NULL;
-- Without a list of what is still to be indexed: whoever fills it up would put it in order while others wait to write.
CREATE INDEX messages_search_idx ON messages USING gin (search) WITH (fastupdate = off);
-- Own messages are never unread: how many of them follow the marker.
CREATE INDEX messages_author_idx ON messages (channel_id, user_id, seq);
-- Nor are deleted ones.
CREATE INDEX messages_deleted_idx ON messages (channel_id, seq) INCLUDE (user_id) WHERE deleted_at IS NOT NULL;

CREATE TABLE message_reactions (
    message_id uuid        NOT NULL REFERENCES messages ON DELETE CASCADE,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    emoji      text        NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, emoji, user_id)
);

CREATE INDEX message_reactions_user_id_idx ON message_reactions (user_id);

-- What happened to messages after they were written, so that a room's subscriber can be told what it missed: the
-- revisions of both tables together have no gap, but where somebody was taken out. Nothing here goes with an account.
-- Of each channel the newest are kept.
CREATE TABLE message_changes (
    channel_id uuid        NOT NULL REFERENCES channels ON DELETE CASCADE,
    revision   bigint      NOT NULL,
    message_id uuid        NOT NULL,
    change     text        NOT NULL CHECK (change IN ('edited', 'deleted', 'reaction_added', 'reaction_removed')),
    user_id    uuid        NOT NULL,
    emoji      text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (channel_id, revision),
    CHECK ((emoji IS NOT NULL) = (change IN ('reaction_added', 'reaction_removed')))
);
