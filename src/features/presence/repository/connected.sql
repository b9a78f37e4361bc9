-- These users have a connection to this node: writes what is not so already, and then answers for them. A user who came from
-- another node stays with that one: it looks, and hands the user over. Returns the transitions.
-- $1 users, $2 how each of them stands, $3 this node
WITH wanted AS MATERIALIZED (
    SELECT w.user_id, w.status
    FROM unnest($1::uuid[], $2::text[]) AS w (user_id, status)
    JOIN users AS u ON u.id = w.user_id
    LEFT JOIN user_presence AS p ON p.user_id = w.user_id
    WHERE p.user_id IS NULL OR p.look_at IS NOT NULL OR p.status <> w.status
    ORDER BY w.user_id
), written AS (
    INSERT INTO user_presence AS p (user_id, status, node, changed_at, revision)
    SELECT user_id, status, $3, now(), 1 FROM wanted
    ON CONFLICT (user_id) DO UPDATE SET
        status = excluded.status,
        node = excluded.node,
        look_at = NULL,
        changed_at = CASE WHEN p.status = excluded.status THEN p.changed_at ELSE now() END,
        revision = p.revision + (p.status <> excluded.status)::integer
    RETURNING *
)
SELECT user_id AS "user_id!: UserId", status AS "status!", last_seen AS "last_seen?", changed_at AS "changed_at?",
       revision AS "revision!"
FROM written WHERE changed_at = now()
