-- What is known of what is due: who is a member and how far they have read, what they want, and what is left of the
-- messages.
--
-- $1 and $2 users and conversations, in parallel.
SELECT p.user_id AS "user_id: UserId", p.channel_id AS "channel_id: ChannelId", p.cause, p.noticed_at, p.waits_for,
       p.held_since, c.kind AS "kind?", c.name AS "channel_name?", m.last_read_seq AS "read_to?",
       g.mentions AS "wants_mentions?", g.direct AS "wants_direct?", g.invites AS "wants_invites?",
       g.all_messages AS "wants_all?", g.quiet_from AS "quiet_from?", g.quiet_until AS "quiet_until?",
       g.time_zone AS "time_zone?", s.is_muted AS "is_muted?", s.muted_until AS "muted_until?",
       s.mentions AS "mentions_here?", s.all_messages AS "all_here?",
       newest.id AS "newest_id?: MessageId", newest.seq AS "newest_seq?", newest.author AS "newest_author?: UserId",
       newest.author_name AS "newest_author_name?", mention.id AS "mention_id?: MessageId",
       mention.seq AS "mention_seq?", mention.author AS "mention_author?: UserId",
       mention.author_name AS "mention_author_name?"
FROM unnest($1::uuid[], $2::uuid[]) AS place (user_id, channel_id)
JOIN pending_notifications AS p ON p.user_id = place.user_id AND p.channel_id = place.channel_id
LEFT JOIN channels AS c ON c.id = p.channel_id AND c.deleted_at IS NULL
LEFT JOIN channel_members AS m ON m.channel_id = p.channel_id AND m.user_id = p.user_id
LEFT JOIN notification_preferences AS g ON g.user_id = p.user_id
LEFT JOIN channel_preferences AS s ON s.user_id = p.user_id AND s.channel_id = p.channel_id
LEFT JOIN LATERAL (
    SELECT w.id, w.seq, w.user_id AS author, coalesce(u.display_name, u.full_name, u.username) AS author_name
    FROM messages AS w LEFT JOIN users AS u ON u.id = w.user_id
    WHERE w.channel_id = p.channel_id AND w.seq = ANY (p.seqs) AND w.deleted_at IS NULL
    ORDER BY w.seq DESC LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT w.id, w.seq, w.user_id AS author, coalesce(u.display_name, u.full_name, u.username) AS author_name
    FROM messages AS w LEFT JOIN users AS u ON u.id = w.user_id
    WHERE w.channel_id = p.channel_id AND w.seq = ANY (p.mentioned_in) AND w.deleted_at IS NULL
      AND p.user_id = ANY (w.mentions)
    ORDER BY w.seq DESC LIMIT 1
) AS mention ON true
