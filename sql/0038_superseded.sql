-- A job that gave its unique key up to a newer one while it ran (`replace`) ends with that run. It was let go
-- with the attempts it had, but a snooze and a worker that gives a job back add one: so it came back behind the
-- newer one, and did over what that had done.

-- The unique key that a newer job took while this one ran, or NULL.
ALTER TABLE jobs ADD COLUMN superseded text;

CREATE OR REPLACE FUNCTION resolve_unique_key(wanted text, on_conflict text, OUT holder uuid, OUT outcome text)
LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    outcome := 'again';
    SELECT id, state, unique_until INTO held FROM jobs
    WHERE unique_key = wanted AND finished_at IS NULL;
    IF held.id IS NOT NULL AND held.unique_until <= clock_timestamp() THEN
        UPDATE jobs SET unique_key = NULL, unique_until = NULL
        WHERE id = held.id AND unique_key = wanted AND unique_until <= clock_timestamp();
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
            holder := held.id;
            outcome := 'replace';
        END IF;
    END IF;
END $$;

-- Every move but the two of nearly every job comes by here, whoever writes it: a retry, a snooze, a worker that
-- gives the job back or puts it into another stream.
CREATE OR REPLACE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.state
        WHEN 'PENDING' THEN NEW.state IN ('STARTED', 'FAILURE', 'REVOKED')
        WHEN 'RETRY' THEN NEW.state IN ('STARTED', 'PENDING', 'FAILURE', 'REVOKED')
        WHEN 'STARTED' THEN NEW.state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')
        WHEN 'FAILURE' THEN NEW.state = 'PENDING'
        WHEN 'REVOKED' THEN NEW.state = 'PENDING'
        ELSE false END)
    THEN
        RAISE EXCEPTION 'illegal change of jobs.state from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    IF NEW.superseded IS NOT NULL AND OLD.state = 'STARTED' AND NEW.state IN ('PENDING', 'RETRY') THEN
        UPDATE jobs SET state = 'REVOKED', finished_at = now(), parked_on = NULL,
            error = format('superseded: a newer job took its unique key "%s" while it ran', NEW.superseded)
        WHERE id = NEW.id AND state = NEW.state;
    END IF;
    RETURN NULL;
END $$;
