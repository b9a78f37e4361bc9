-- Which past this database has: a client that has seen another one must read the state anew.

-- One row per past: a new one when a server begins that may lack what another had committed. Whatever was here
-- before `began_at`, a past shares with the one before it.
CREATE TABLE epochs (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    ordinal           bigint      NOT NULL UNIQUE,
    system_identifier bigint      NOT NULL,
    timeline          bigint      NOT NULL,
    began_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Called on every new connection of a node, before anything else. Returns the epoch, how far the write-ahead log has
-- come, and which server this is; `p_wal_seen` is how far the caller saw it come. A server took another's place if it has another
-- timeline or identity, or knows less than was seen of it: then an older copy of its files was put back.
CREATE FUNCTION enter_epoch(p_wal_seen bigint) RETURNS TABLE (epoch uuid, wal bigint, system bigint, line bigint) LANGUAGE plpgsql AS $$
DECLARE
    v_newest epochs;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server only follows another one' USING ERRCODE = 'cannot_connect_now';
    END IF;
    SELECT system_identifier INTO system FROM pg_control_system();
    -- The name of a file of the log begins with the timeline. The control file learns of a new one only later.
    line := ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint;
    wal := pg_current_wal_flush_lsn() - '0/0'::pg_lsn;
    FOR attempt IN 1..2 LOOP
        SELECT * INTO v_newest FROM epochs ORDER BY ordinal DESC LIMIT 1;
        IF (v_newest.system_identifier, v_newest.timeline) IS NOT DISTINCT FROM (system, line)
            AND wal >= p_wal_seen
        THEN
            epoch := v_newest.id;
            RETURN NEXT;
            RETURN;
        END IF;
        -- One node begins the epoch, the others find it at their second look.
        LOCK TABLE epochs IN EXCLUSIVE MODE;
    END LOOP;
    INSERT INTO epochs (ordinal, system_identifier, timeline)
    VALUES (coalesce(v_newest.ordinal, 0) + 1, system, line) RETURNING id INTO epoch;
    RETURN NEXT;
END $$;
