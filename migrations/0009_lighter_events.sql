-- What each event costs that no reader needs: two are written for every change.

-- An event's user exists: it is appended in the transaction that wrote the user's inbox (append_event), and an inbox
-- refers to its user. Checking it again took a lock on the user's row for every event. Who deletes a user deletes the
-- inbox, and so the events.
ALTER TABLE events DROP CONSTRAINT events_user_id_fkey;

CREATE FUNCTION delete_events_of_inbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM events WHERE user_id = OLD.user_id;
    RETURN NULL;
END $$;

CREATE TRIGGER delete_events AFTER DELETE ON inboxes FOR EACH ROW EXECUTE FUNCTION delete_events_of_inbox();

-- An event's id is a UUIDv7 (RFC 9562, section 5.7): it begins with the milliseconds when it was made, by the clock of
-- its node. So the oldest events have the smallest ids, and need no index of their own.
DROP INDEX events_created_at_idx;

-- Smaller than every UUIDv7 that was made at that moment or later.
CREATE FUNCTION first_uuid_at(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM p_at) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Postgres parses a check anew for every statement that writes, and this list is long: a fifteenth of all the work of a
-- status change. Reasons are written by delivery::outcome alone, which refuses to read what it does not know.
ALTER TABLE events DROP CONSTRAINT events_reason_check;
