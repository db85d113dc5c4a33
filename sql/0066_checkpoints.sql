-- Where a job of many parts goes on when it is run again: what task_checkpoint() (worker/checkpoint.c) wrote last, in
-- the transaction of the part before it. NULL: from the beginning.
ALTER TABLE jobs ADD COLUMN checkpoint jsonb;

-- From 0059, without 0 of its lines: a job that another is written over begins at its beginning.
CREATE OR REPLACE FUNCTION resolve_unique_key(wanted text, on_conflict text, OUT holder uuid, OUT outcome text)
LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    outcome := 'again';
    SELECT id, state, unique_until, expires_at INTO held FROM jobs
    WHERE unique_key = wanted AND finished_at IS NULL;
    IF held.id IS NOT NULL AND held.unique_until <= clock_timestamp() THEN
        UPDATE jobs SET unique_key = NULL, unique_until = NULL
        WHERE id = held.id AND unique_key = wanted AND unique_until <= clock_timestamp();
    ELSIF held.state IN ('PENDING', 'RETRY') AND held.expires_at <= clock_timestamp() AND on_conflict <> 'replace' THEN
        UPDATE jobs SET state = 'REVOKED', finished_at = now(), error = 'expired'
        WHERE id = held.id AND state IN ('PENDING', 'RETRY') AND expires_at <= clock_timestamp();
    ELSIF held.id IS NOT NULL AND on_conflict <> 'replace' THEN
        holder := held.id;
        outcome := 'kept';
    ELSIF held.id IS NOT NULL THEN
        SELECT id, state INTO held FROM jobs
        WHERE unique_key = wanted AND finished_at IS NULL FOR NO KEY UPDATE;
        IF held.state = 'STARTED' THEN
            -- It goes on with what it has read, without the key and without another attempt: what
            -- is new runs after it, or beside it.
            UPDATE jobs SET unique_key = NULL, unique_until = NULL, max_attempts = attempt, superseded = wanted
            WHERE id = held.id;
        ELSIF held.id IS NOT NULL THEN
            UPDATE jobs SET checkpoint = NULL WHERE id = held.id AND checkpoint IS NOT NULL;
            holder := held.id;
            outcome := 'replace';
        END IF;
    END IF;
END $$;
