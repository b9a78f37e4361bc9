-- What people are told of while they are elsewhere, and what of it they want to be told.

-- Who has no row has the defaults of `notifications::General`.
CREATE TABLE notification_preferences (
    user_id      uuid    PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    mentions     boolean NOT NULL,
    direct       boolean NOT NULL,
    invites      boolean NOT NULL,
    all_messages boolean NOT NULL,
    -- By the clock on the user's wall; `quiet_until` is the first minute that is not quiet, perhaps of the next day.
    quiet_from   time,
    quiet_until  time,
    time_zone    text,
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL) AND (quiet_from IS NULL) = (time_zone IS NULL))
);

-- What somebody wants of one conversation; it ends with the membership.
CREATE TABLE channel_preferences (
    channel_id   uuid        NOT NULL,
    user_id      uuid        NOT NULL,
    is_muted     boolean     NOT NULL,
    -- NULL: for good.
    muted_until  timestamptz,
    -- NULL: as everywhere else.
    mentions     boolean,
    all_messages boolean,
    PRIMARY KEY (user_id, channel_id),
    CONSTRAINT channel_preferences_member_fkey FOREIGN KEY (channel_id, user_id) REFERENCES channel_members
        ON DELETE CASCADE,
    CHECK (is_muted OR muted_until IS NULL)
);

CREATE INDEX channel_preferences_channel_id_idx ON channel_preferences (channel_id, user_id);

-- Who wants to be told of every message of a conversation: so that whoever writes there finds out at once whether there
-- is somebody, however many are in it. Only a hint: what is told is decided by the two tables above.
CREATE TABLE channel_listeners (
    channel_id uuid NOT NULL REFERENCES channels ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (channel_id, user_id)
);

CREATE INDEX channel_listeners_user_id_idx ON channel_listeners (user_id);

-- Whoever comes into a conversation listens to it if they listen to all; whoever goes does not any more.
CREATE FUNCTION channel_listeners_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO channel_listeners (channel_id, user_id)
        SELECT c.channel_id, c.user_id FROM changed AS c JOIN notification_preferences AS p ON p.user_id = c.user_id
        WHERE p.all_messages
        ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM channel_listeners AS l USING changed AS c
        WHERE l.channel_id = c.channel_id AND l.user_id = c.user_id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER listens AFTER INSERT ON channel_members
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION channel_listeners_changed();
CREATE TRIGGER listens_no_more AFTER DELETE ON channel_members
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION channel_listeners_changed();

-- Messages that may concern somebody who is absent: one row, written with the message, however many that are. Refers to
-- nothing: what it is about may be gone when it is looked at, and who sends does not wait for a lock more.
CREATE TABLE message_notices (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid        NOT NULL,
    -- Whom it names; if it was edited, whom it did not name before.
    mentioned  uuid[]      NOT NULL,
    -- False: it was edited.
    is_new     boolean     NOT NULL,
    noticed_at timestamptz NOT NULL,
    -- Of those who want every message: the last one who was noted, some at a time.
    noted_to   uuid
);

-- What somebody is to be told of one conversation, all of it in one row, until it is decided. Refers to nothing either:
-- whoever is not a member any more is told nothing.
CREATE TABLE pending_notifications (
    user_id    uuid        NOT NULL,
    channel_id uuid        NOT NULL,
    -- The strongest: the order of the words is that of their weight.
    cause      text        NOT NULL CHECK (cause IN ('all', 'direct', 'mention')),
    -- The messages that name the user, and all of them; of many the newest.
    mentioned_in bigint[]  NOT NULL,
    seqs       bigint[]    NOT NULL,
    -- Of the first message; of one that waits, of the newest.
    noticed_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    -- Why it was not told when it was due first.
    waits_for  text        CHECK (waits_for IN ('viewing', 'quiet_hours')),
    -- Since when a device has shown the conversation.
    held_since timestamptz,
    PRIMARY KEY (user_id, channel_id)
);

CREATE INDEX pending_notifications_due_idx ON pending_notifications (due_at);

-- Whom a message concerns by its words or their wish, as of after every change of the conversation that has committed: its
-- row is locked by the caller, and this reads with a fresh snapshot (`lock_channel_access`).
CREATE FUNCTION whom_a_message_concerns(
    p_channel_id uuid, p_author_id uuid, p_names text[], p_kind text, OUT mentions uuid[], OUT is_listened boolean
) LANGUAGE plpgsql AS $$
BEGIN
    mentions := '{}';
    IF p_names <> '{}' THEN
        SELECT coalesce(array_agg(u.id ORDER BY u.id), '{}') INTO mentions
        FROM users AS u JOIN channel_members AS m ON m.channel_id = p_channel_id AND m.user_id = u.id
        WHERE lower(u.username) = ANY (p_names);
    END IF;
    is_listened := p_kind <> 'direct'
        AND EXISTS (SELECT FROM channel_listeners WHERE channel_id = p_channel_id AND user_id <> p_author_id);
END $$;
