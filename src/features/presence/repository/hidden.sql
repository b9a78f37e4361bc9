-- Those of the pairs whose first may not see the second any more: the opposite of what visible.sql says.
-- $1 who sees, $2 whom
SELECT w.viewer AS "viewer!: UserId", w.user_id AS "user_id!: UserId"
FROM unnest($1::uuid[], $2::uuid[]) AS w (viewer, user_id)
WHERE w.viewer <> w.user_id
  AND NOT EXISTS (SELECT FROM partners AS c WHERE c.user_id = w.viewer AND c.partner_id = w.user_id)
  AND NOT EXISTS (
      SELECT FROM channel_members AS mine
      JOIN channel_members AS theirs ON theirs.channel_id = mine.channel_id AND theirs.user_id = w.user_id
      JOIN channels AS c ON c.id = mine.channel_id AND c.deleted_at IS NULL
      WHERE mine.user_id = w.viewer
  )
