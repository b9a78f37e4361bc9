-- Changes a user's light and tells of it. Each step reads the one before it, which fixes their order:
-- lock the user (and learn the partner), change the status, then lock the inboxes by user id.
--
-- $1 user, $2 status, $3 duration in s, $4 expires at, $5 now,
-- $6..$9 id, kind, body, time to live in ms of the user's own event, $10..$13 of the partner's, $14 its push,
-- $15 the trace of both.
WITH locked AS MATERIALIZED (
    SELECT lock_partner($1::uuid) AS partner_id
),
changed AS (
    INSERT INTO statuses AS s (user_id, status, base_status, duration_seconds, expires_at, updated_at)
    SELECT $1, $2::text, CASE WHEN $4::timestamptz IS NULL THEN $2 ELSE 'OFFLINE' END,
           $3::bigint, $4, $5::timestamptz
    FROM locked
    ON CONFLICT (user_id) DO UPDATE SET
        status = EXCLUDED.status,
        -- A timed status lapses to what was before it; over another timed one, to what was before that.
        base_status = CASE WHEN EXCLUDED.expires_at IS NULL THEN EXCLUDED.status ELSE s.base_status END,
        duration_seconds = EXCLUDED.duration_seconds,
        expires_at = EXCLUDED.expires_at,
        updated_at = EXCLUDED.updated_at
    RETURNING s.user_id
),
actor AS (
    SELECT COALESCE(display_name, full_name, username) AS name FROM users WHERE id = $1
),
told AS MATERIALIZED (
    SELECT t.user_id, t.event_id, t.kind, t.body, t.ttl_ms, t.push
    FROM changed, locked, actor, LATERAL (VALUES
        (changed.user_id, $6::uuid, $7::text, $8::text, $9::bigint, NULL::jsonb),
        (locked.partner_id, $10, $11, $12, $13,
         COALESCE(jsonb_set($14::jsonb, '{args,name}', to_jsonb(actor.name)), $14))
    ) AS t (user_id, event_id, kind, body, ttl_ms, push)
    WHERE t.user_id IS NOT NULL
    ORDER BY t.user_id
)
SELECT user_id AS "user!: UserId", append_event(event_id, user_id, kind, body, push, ttl_ms, $15) AS "seq!"
FROM told
