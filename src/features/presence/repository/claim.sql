-- Takes users at whom somebody should look now. For a while nobody else takes them.
-- $1 this node, $2 after how many seconds somebody looks again, $3 how late somebody else's are taken, $4 how many
WITH due AS (
    SELECT user_id FROM user_presence
    WHERE look_at <= now() AND (node = $1 OR look_at <= now() - make_interval(secs => $3))
    ORDER BY look_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE user_presence AS p SET node = $1, look_at = now() + make_interval(secs => $2)
FROM due WHERE p.user_id = due.user_id
RETURNING p.user_id AS "user_id: UserId", p.look_at AS "look_at!"
