-- Two headers of a job say how long it may run: time_limit and soft_time_limit, in seconds, as Celery's
-- options of those names do. A worker reads them where it reads all headers, so a job without them
-- pays nothing. What cannot be meant is refused when it comes, here as in common/job_options.c.

-- What is wrong in these headers, which are texts; or NULL.
CREATE FUNCTION job_time_limits_problem(headers jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    name text;
    seconds numeric;
BEGIN
    FOREACH name IN ARRAY ARRAY['soft_time_limit', 'time_limit'] LOOP
        CONTINUE WHEN headers ->> name IS NULL;
        seconds := substring(headers ->> name FROM '^[0-9]{1,8}(?:[.][0-9]{1,3})?$');
        IF seconds IS NULL OR seconds NOT BETWEEN 0.001 AND 31536000 THEN
            RETURN format(
                'header "%s" of a job is a number of seconds up to a year, such as 90 or 0.5', name);
        END IF;
    END LOOP;
    IF (headers ->> 'soft_time_limit')::numeric > (headers ->> 'time_limit')::numeric THEN
        RETURN 'soft_time_limit of a job is beyond its time_limit';
    END IF;
    RETURN NULL;
END $$;

-- As in 0008, and the limits.
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
