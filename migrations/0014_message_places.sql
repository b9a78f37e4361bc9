-- Gives a message its place. The conversation is locked by the caller (`lock_channel_access`), perhaps after a wait. Why
-- this is a function: it looks with a fresh snapshot, and so at the version that is locked. A statement that began
-- before the wait would begin at the version from before it, and find others there who wait for the caller: while
-- somebody refers to that version (FOR KEY SHARE of a foreign key), each waits for the other.
CREATE FUNCTION place_message(p_channel_id uuid, OUT seq bigint, OUT revision bigint) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE channels
    SET last_seq = last_seq + 1, last_revision = last_revision + 1, message_count = message_count + 1
    WHERE id = p_channel_id
    RETURNING last_seq, last_revision INTO seq, revision;
END $$;
