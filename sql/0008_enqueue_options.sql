-- What an enqueue may say besides task, arguments and time: a unique key, an expiry, headers and a
-- trace, and how long the finished row is kept. All of it is NULL for a job that says nothing, which
-- costs nothing; and no index here names a column that a claim changes.

ALTER TABLE jobs
    ADD COLUMN unique_key text,           -- held until the job is finished, or until ...
    ADD COLUMN unique_until timestamptz,  -- ... this time, when it is given
    ADD COLUMN expires_at timestamptz,    -- an attempt that has not begun by then never does
    ADD COLUMN headers jsonb,             -- object of texts
    ADD COLUMN traceparent text,          -- W3C Trace Context, version 00
    ADD COLUMN retention_s integer;       -- kept for this long when finished; NULL: as the task says
ALTER TABLE tasks ADD COLUMN retention_s integer; -- NULL: as the settings say

-- At most one unfinished job holds a key, whoever inserts it.
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key)
    WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_expires ON jobs (expires_at)
    WHERE expires_at IS NOT NULL AND finished_at IS NULL;

-- Finding what has been kept long enough, at any number of rows. Most jobs cost nothing here: they are
-- found task by task in the order of their ids, which sort by time (jobs_task). Only those that have a
-- retention of their own, or an id that does not sort by time, need an index. Dead ones have jobs_dead.
CREATE INDEX jobs_kept ON jobs (((finished_at AT TIME ZONE 'UTC') + retention_s * interval '1 second'))
    WHERE finished_at IS NOT NULL AND retention_s IS NOT NULL AND listed_state IS DISTINCT FROM 'FAILURE';
CREATE INDEX jobs_odd_id ON jobs (task, finished_at)
    WHERE finished_at IS NOT NULL AND retention_s IS NULL AND listed_state IS DISTINCT FROM 'FAILURE'
    AND get_byte(uuid_send(id), 6) >> 4 <> 7;

-- What is wrong with these options, or NULL. The same rules and words as jobs_check() in
-- common/jobs.c. Versions of a traceparent above 00 are for those who can write them anew as 00.
CREATE FUNCTION job_options_problem(
    unique_key text, headers jsonb, traceparent text, retention_s bigint,
    expires_at timestamptz, scheduled_at timestamptz
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    entries bigint;
    bytes bigint;
    other text;
BEGIN
    IF octet_length(unique_key) NOT BETWEEN 1 AND 200
        OR unique_key ~ E'[\\u0001-\\u001f\\u007f-\\u009f]' THEN
        RETURN 'unique_key is 1 to 200 bytes of printable text';
    END IF;
    IF NOT isfinite(expires_at) THEN
        RETURN format('expires_at must be a time, not %s', expires_at);
    END IF;
    IF expires_at <= scheduled_at THEN
        RETURN 'a job that expires before its time comes would never run';
    END IF;
    IF retention_s NOT BETWEEN 1 AND 315360000 THEN
        RETURN 'the retention of a job is 1 second to 10 years';
    END IF;
    IF traceparent !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        RETURN format('"%s" is no traceparent', left(traceparent, 60));
    END IF;
    IF jsonb_typeof(headers) <> 'object' THEN
        RETURN format('headers of a job must be a JSON object, not %s', jsonb_typeof(headers));
    END IF;
    IF headers IS NOT NULL THEN
        SELECT count(*), sum(octet_length(key) + octet_length(value #>> '{}')),
            min(key) FILTER (WHERE jsonb_typeof(value) <> 'string')
        INTO entries, bytes, other FROM jsonb_each(headers);
        IF other IS NOT NULL THEN
            RETURN format('header "%s" of a job must be a text', left(other, 60));
        END IF;
        SELECT min(key) INTO other FROM jsonb_object_keys(headers) key
        WHERE key !~ '^[A-Za-z0-9_.-]+$' OR length(key) > 200;
        IF other IS NOT NULL THEN
            RETURN format('"%s" is no name of a header', left(other, 60));
        END IF;
        IF entries > 32 OR bytes > 8192 THEN
            RETURN 'headers of a job are at most 32, and at most 8192 bytes together';
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION check_job_options() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    problem text := job_options_problem(NEW.unique_key, NEW.headers, NEW.traceparent,
        NEW.retention_s, NEW.expires_at, NULL);
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER jobs_options_check
    BEFORE INSERT OR UPDATE OF unique_key, headers, traceparent, retention_s, expires_at ON jobs
    FOR EACH ROW WHEN (NEW.unique_key IS NOT NULL OR NEW.headers IS NOT NULL
        OR NEW.traceparent IS NOT NULL OR NEW.retention_s IS NOT NULL OR NEW.expires_at IS NOT NULL)
    EXECUTE FUNCTION check_job_options();

-- For whoever has met a key at an INSERT ... ON CONFLICT DO NOTHING: who holds it, and what follows.
-- 'kept': `holder` has it. 'replace': `holder` has it, waits, and is locked until the transaction
-- ends. 'again': the key is free now, insert once more.
CREATE FUNCTION resolve_unique_key(wanted text, on_conflict text, OUT holder uuid, OUT outcome text)
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
            UPDATE jobs SET unique_key = NULL, unique_until = NULL, max_attempts = attempt
            WHERE id = held.id;
        ELSIF held.id IS NOT NULL THEN
            holder := held.id;
            outcome := 'replace';
        END IF;
    END IF;
END $$;
