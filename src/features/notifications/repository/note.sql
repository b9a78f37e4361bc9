-- Notes for everybody whom messages concern that they are to be told: one row for each person and conversation, however
-- many messages there are. Of those who want every message of a channel some at a time; the notice remembers how far it is.
--
-- $1 messages at most, $2 people who want every one at most, $3..$5 when mentions, direct messages and others are due,
-- $6 messages that a row names at most.
WITH taken AS MATERIALIZED (
    SELECT id, message_id, mentioned, is_new, noticed_at, noted_to FROM message_notices
    -- Whoever has been noted in part waits for those of whom nobody was.
    ORDER BY noted_to IS NOT NULL, id LIMIT $1 FOR UPDATE SKIP LOCKED
),
about AS MATERIALIZED (
    SELECT t.id, t.mentioned, t.is_new, t.noticed_at, t.noted_to, m.channel_id, m.seq, m.user_id AS author, c.kind
    FROM taken AS t
    JOIN messages AS m ON m.id = t.message_id AND m.deleted_at IS NULL
    JOIN channels AS c ON c.id = m.channel_id AND c.deleted_at IS NULL
),
listening AS MATERIALIZED (
    SELECT a.id, a.channel_id, a.seq, a.author, a.noticed_at, l.user_id
    FROM about AS a CROSS JOIN LATERAL (
        SELECT user_id FROM channel_listeners
        WHERE channel_id = a.channel_id AND (a.noted_to IS NULL OR user_id > a.noted_to)
        ORDER BY user_id LIMIT $2
    ) AS l
    WHERE a.is_new AND a.kind <> 'direct'
),
concerned AS (
    SELECT channel_id, seq, author, noticed_at, unnest(mentioned) AS user_id, 'mention' AS cause FROM about
    WHERE kind <> 'direct' AND noted_to IS NULL
    UNION ALL
    SELECT a.channel_id, a.seq, a.author, a.noticed_at, m.user_id, 'direct'
    FROM about AS a JOIN channel_members AS m ON m.channel_id = a.channel_id
    WHERE a.kind = 'direct' AND a.is_new
    UNION ALL
    SELECT channel_id, seq, author, noticed_at, user_id, 'all' FROM listening
),
noted AS (
    INSERT INTO pending_notifications AS p (user_id, channel_id, cause, mentioned_in, seqs, noticed_at, due_at)
    SELECT user_id, channel_id, max(cause),
           coalesce(array_agg(DISTINCT seq) FILTER (WHERE cause = 'mention'), '{}'), array_agg(DISTINCT seq),
           min(noticed_at),
           CASE max(cause) WHEN 'mention' THEN $3::timestamptz WHEN 'direct' THEN $4::timestamptz ELSE $5::timestamptz END
    FROM concerned WHERE user_id IS DISTINCT FROM author
    GROUP BY user_id, channel_id
    -- In the order in which everybody takes these locks.
    ORDER BY user_id, channel_id
    ON CONFLICT (user_id, channel_id) DO UPDATE SET
        cause = greatest(p.cause, excluded.cause),
        mentioned_in = ARRAY(
            SELECT DISTINCT seq FROM unnest(p.mentioned_in || excluded.mentioned_in) AS seq ORDER BY seq DESC LIMIT $6),
        seqs = ARRAY(SELECT DISTINCT seq FROM unnest(p.seqs || excluded.seqs) AS seq ORDER BY seq DESC LIMIT $6),
        due_at = least(p.due_at, excluded.due_at),
        -- Whatever it waits for, this message has not waited yet.
        noticed_at = CASE WHEN p.waits_for IS NULL THEN p.noticed_at ELSE excluded.noticed_at END,
        held_since = NULL
),
parted AS (
    UPDATE message_notices AS n SET noted_to = part.last
    FROM (
        SELECT id, (array_agg(user_id ORDER BY user_id DESC))[1] AS last FROM listening GROUP BY id HAVING count(*) = $2
    ) AS part
    WHERE n.id = part.id
    RETURNING n.id
),
done AS (
    DELETE FROM message_notices WHERE id IN (SELECT id FROM taken EXCEPT SELECT id FROM parted)
)
SELECT (SELECT count(*) FROM taken) AS "taken!", (SELECT count(*) FROM parted) AS "parted!"
