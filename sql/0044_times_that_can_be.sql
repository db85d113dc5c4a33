-- Programs count a time in microseconds and write it with four digits for the year. One that no count holds, the
-- year 294276 or an infinity, stopped whoever read it: each list with the job, and the claim of a whole batch.
CREATE FUNCTION refuse_job_times() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong text;
BEGIN
    SELECT format('%s of a job is a time in the years 1 to 9999, not %s', name, at) INTO wrong
    FROM (VALUES ('scheduled_at', NEW.scheduled_at), ('created_at', NEW.created_at),
        ('enqueued_at', NEW.enqueued_at), ('expires_at', NEW.expires_at), ('unique_until', NEW.unique_until))
        AS times (name, at)
    WHERE NOT at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00' LIMIT 1;
    RAISE EXCEPTION '%', wrong USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;

-- A short condition, which each INSERT pays for (0018); NULLs count for nothing in it.
DROP TRIGGER jobs_time_check ON jobs;
CREATE TRIGGER jobs_time_check AFTER INSERT OR UPDATE OF scheduled_at, created_at, expires_at, unique_until ON jobs
    FOR EACH ROW WHEN (
        least(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            < '0001-01-01 00:00:00+00'::timestamptz
        OR greatest(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            > '9999-12-31 23:59:59.999999+00'::timestamptz)
    EXECUTE FUNCTION refuse_job_times();

-- As in 0026, and the years, so that till_enqueue() and till_flow() say what is wrong before they insert.
CREATE OR REPLACE FUNCTION job_options_problem(
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
    IF extract(year FROM expires_at AT TIME ZONE 'UTC') NOT BETWEEN 1 AND 9999 THEN
        RETURN format('expires_at must be a time in the years 1 to 9999, not %s', expires_at);
    END IF;
    IF extract(year FROM scheduled_at AT TIME ZONE 'UTC') NOT BETWEEN 1 AND 9999 THEN
        RETURN format('scheduled_at must be a time in the years 1 to 9999, not %s', scheduled_at);
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
    RETURN job_time_limits_problem(headers);
END $$;
