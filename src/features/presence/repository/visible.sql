-- How those of the users stand whom somebody may see: oneself, one's partner, and with whom one shares a conversation. Of a direct
-- one only if they have written there: anybody can begin it, and nobody can leave it.
-- $1 who wants to see, $2 whom
SELECT u.id AS "user_id!: UserId", COALESCE(p.status, 'offline') AS "status!", p.last_seen AS "last_seen?",
       p.changed_at AS "changed_at?", COALESCE(p.revision, 0) AS "revision!"
FROM users AS u
LEFT JOIN user_presence AS p ON p.user_id = u.id
WHERE u.id = ANY ($2::uuid[]) AND (
    u.id = $1
    OR u.id IN (SELECT partner_id FROM partners WHERE user_id = $1)
    OR u.id IN (
        SELECT theirs.user_id
        FROM channel_members AS theirs
        JOIN channel_members AS mine ON mine.channel_id = theirs.channel_id AND mine.user_id = $1
        JOIN channels AS c ON c.id = mine.channel_id AND c.deleted_at IS NULL
        WHERE theirs.user_id = ANY ($2::uuid[]) AND (
            c.kind <> 'direct'
            OR EXISTS (SELECT FROM messages AS m WHERE m.channel_id = c.id AND m.user_id = theirs.user_id)
        )
    )
)
