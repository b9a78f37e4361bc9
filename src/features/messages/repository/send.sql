-- Writes a message, and gives it its place. The conversation is locked first, and its row changed at once after:
-- whoever else writes there waits for the commit, and nobody for a round trip.
--
-- $1 id, $2 conversation, $3 author, $4 what the author calls it, $5 a message of its thread, $6 type, $7 content,
-- $8 metadata, $9 names that it mentions, $10 now, $11..$13 kind, privacy and role with which one may write,
-- $14 files to attach.
WITH access AS MATERIALIZED (
    SELECT kind, is_private, role FROM lock_channel_access($2::uuid, $3::uuid)
),
thread AS (
    -- A reply to a reply belongs to the same thread.
    SELECT coalesce(parent_id, id) AS id FROM messages WHERE id = $5::uuid AND channel_id = $2 AND deleted_at IS NULL
),
concerned AS MATERIALIZED (
    -- Once it is locked: whoever came in while this waited is there.
    SELECT c.mentions, c.is_listened FROM access AS a CROSS JOIN LATERAL whom_a_message_concerns($2, $3, $9::text[], a.kind) AS c
),
attachable AS MATERIALIZED (
    -- Locked: of two messages that want a file at the same moment, one gets it.
    SELECT id, jsonb_build_object('id', id, 'name', name, 'contentType', content_type, 'size', bytes) AS file
    FROM uploads
    WHERE id = ANY($14::uuid[]) AND user_id = $3 AND message_id IS NULL AND sha256 IS NOT NULL
      AND doomed_at IS NULL AND expires_at > $10
    ORDER BY id FOR NO KEY UPDATE
),
decided AS MATERIALIZED (
    SELECT (SELECT id FROM messages WHERE user_id = $3 AND channel_id = $2 AND client_id = $4::text) AS sent_before,
           (SELECT id FROM thread) AS thread_id,
           (SELECT mentions FROM concerned) AS mentions,
           (SELECT count(*) FROM attachable) = cardinality($14) AS has_uploads
    FROM access
    WHERE (kind, is_private, role) IN (SELECT * FROM unnest($11::text[], $12::boolean[], $13::text[]))
),
placed AS (
    SELECT p.seq, p.revision, d.thread_id, d.mentions
    FROM decided AS d CROSS JOIN LATERAL place_message($2) AS p
    WHERE d.sent_before IS NULL AND d.has_uploads AND ($5::uuid IS NULL OR d.thread_id IS NOT NULL)
),
written AS (
    INSERT INTO messages (id, channel_id, seq, revision, user_id, client_id, parent_id, message_type, content,
                          metadata, mentions, created_at, updated_at, attachments)
    SELECT $1::uuid, $2, p.seq, p.revision, $3, $4, p.thread_id, $6::text, $7::text, $8::jsonb, p.mentions,
           $10::timestamptz, $10,
           (SELECT coalesce(jsonb_agg(file ORDER BY array_position($14, id)), '[]') FROM attachable)
    FROM placed AS p
    RETURNING seq, revision, parent_id, mentions, attachments
),
attached AS (
    -- Over from now on, if the message goes.
    UPDATE uploads AS u SET message_id = $1, expires_at = $10 FROM written, attachable AS a WHERE u.id = a.id
),
noticed AS (
    -- If it may concern somebody who is elsewhere: one row, however many they are (`features::notifications`).
    INSERT INTO message_notices (message_id, mentioned, is_new, noticed_at)
    SELECT $1, array_remove(w.mentions, $3), true, $10 FROM written AS w, access AS a, concerned AS c
    WHERE a.kind = 'direct' OR array_remove(w.mentions, $3) <> '{}' OR c.is_listened
    RETURNING id
)
SELECT d.sent_before AS "sent_before?: MessageId", d.has_uploads AS "has_uploads!",
       w.attachments AS "attachments?: Json<Vec<Attachment>>", w.seq AS "seq?", w.revision AS "revision?",
       w.parent_id AS "parent_id?: MessageId", w.mentions AS "mentions?: Vec<UserId>",
       EXISTS (SELECT FROM noticed) AS "is_noticed!"
FROM decided AS d LEFT JOIN written AS w ON true
