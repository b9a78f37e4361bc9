-- Only what looks for due events may use this index. While the statistics do not know yet that many events wait, any
-- other statement on unsettled events would take it for nearly empty, and read all of it. Those that look for an event
-- by its id say `settled_at IS NULL`, those that look by user `outcome IS NULL`, and those that look for what is due both.
DROP INDEX events_due_idx;
CREATE INDEX events_due_idx ON events (due_at) WHERE outcome IS NULL AND settled_at IS NULL;
