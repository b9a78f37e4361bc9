-- Locks what is due, with the people and memberships that it is about; waits for nobody. Whoever changes one of these locks
-- the user's row first, and the membership's when they read on.
--
-- $1 and $2 users and conversations, in parallel; $3 now.
WITH due AS MATERIALIZED (
    SELECT user_id, channel_id FROM pending_notifications
    WHERE (user_id, channel_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[])) AND due_at <= $3
    FOR UPDATE SKIP LOCKED
),
person AS MATERIALIZED (
    SELECT id FROM users WHERE id IN (SELECT user_id FROM due) FOR SHARE SKIP LOCKED
),
membership AS MATERIALIZED (
    SELECT user_id, channel_id FROM channel_members
    WHERE (user_id, channel_id) IN (SELECT user_id, channel_id FROM due) AND user_id IN (SELECT id FROM person)
    FOR SHARE SKIP LOCKED
)
SELECT user_id AS "user: UserId", channel_id AS "channel: ChannelId" FROM due AS d
WHERE (EXISTS (SELECT FROM person WHERE id = d.user_id) OR NOT EXISTS (SELECT FROM users WHERE id = d.user_id))
  AND (EXISTS (SELECT FROM membership AS m WHERE m.user_id = d.user_id AND m.channel_id = d.channel_id)
       OR NOT EXISTS (SELECT FROM channel_members AS m WHERE m.user_id = d.user_id AND m.channel_id = d.channel_id))
