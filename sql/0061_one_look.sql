-- A condition of a trigger is read from its text in each statement that may fire it: of what the INSERT of one job cost,
-- half was the reading of six. A function is read once a session. So one function looks at what is written with a new
-- job, still after the row is there (0018), and the triggers judge what changes of it later, which is rare. What is
-- refused is refused in the same words and under the same names.

-- What is NULL is no fault, as in a condition. The first half knows the jobs that most are: nothing to say of their
-- options but a trace, and all well.
CREATE FUNCTION judge_new_job() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    fault text;
    problem text;
BEGIN
    IF NEW.enqueued_at IS NULL AND NEW.parked_on IS NULL AND NEW.waits IS NULL AND NEW.state IN ('PENDING', 'RETRY') THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    IF NEW.task !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.task) > 200
        OR NEW.queue !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.queue) > 200
        OR jsonb_typeof(NEW.args) <> 'array' OR jsonb_typeof(NEW.kwargs) <> 'object'
        OR NEW.priority NOT BETWEEN 0 AND 2 OR LEAST(NEW.max_attempts, NEW.snoozes) < 1
        OR LEAST(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            < '0001-01-01 00:00:00+00'
        OR GREATEST(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            > '9999-12-31 23:59:59.999999+00'
        OR NEW.limit_key IS NOT NULL OR NEW.unique_key IS NOT NULL OR NEW.headers IS NOT NULL
        OR NEW.retention_s IS NOT NULL OR NEW.expires_at IS NOT NULL
        OR NOT (NEW.traceparent LIKE '00-________________________________-________________-__'
            AND translate(NEW.traceparent, '0123456789abcdef', '') = '---'
            AND NEW.traceparent NOT LIKE '00-00000000000000000000000000000000-%'
            AND NEW.traceparent NOT LIKE '%-0000000000000000-%')
    THEN
        SELECT name, text INTO fault, problem FROM new_job_problem(NEW) LIMIT 1;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION '%', problem USING ERRCODE = 'check_violation', CONSTRAINT = fault;
        END IF;
    END IF;
    RETURN NULL;
END $$;

-- The first thing that is wrong with it, and which constraint it breaks; nothing when all is well.
CREATE FUNCTION new_job_problem(job jobs, OUT name text, OUT text text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    name := 'jobs_input_check';
    IF job.task !~ '^[A-Za-z0-9_.-]+$' OR length(job.task) > 200
        OR job.queue !~ '^[A-Za-z0-9_.-]+$' OR length(job.queue) > 200
        OR jsonb_typeof(job.args) <> 'array' OR jsonb_typeof(job.kwargs) <> 'object' THEN
        text := 'task and queue are 1 to 200 letters, digits, "_", "." or "-"; args is a JSON array, kwargs an object';
        RETURN;
    END IF;
    name := 'jobs_limit_key_check';
    IF octet_length(job.limit_key) NOT BETWEEN 1 AND 200 OR job.limit_key ~ '[[:cntrl:]]' THEN
        text := 'limit_key is 1 to 200 bytes of printable text';
        RETURN;
    END IF;
    name := 'jobs_numbers_check';
    IF job.priority NOT BETWEEN 0 AND 2 OR LEAST(job.max_attempts, job.snoozes) < 1 THEN
        text := 'priority is 0 (high) to 2 (low); max_attempts and snoozes are 1 or more';
        RETURN;
    END IF;
    name := 'jobs_options_check';
    text := job_options_problem(job.unique_key, job.headers, job.traceparent, job.retention_s, job.expires_at, NULL);
    IF text IS NOT NULL THEN
        RETURN;
    END IF;
    name := 'jobs_time_check';
    SELECT format('%s of a job is a time in the years 1 to 9999, not %s', times.name, at) INTO text
    FROM (VALUES ('scheduled_at', job.scheduled_at), ('created_at', job.created_at),
        ('enqueued_at', job.enqueued_at), ('expires_at', job.expires_at), ('unique_until', job.unique_until))
        AS times (name, at)
    WHERE NOT at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00' LIMIT 1;
END $$;

DROP TRIGGER jobs_input_check ON jobs;
CREATE TRIGGER jobs_input_check AFTER UPDATE OF task, queue, args, kwargs ON jobs
    FOR EACH ROW WHEN (NEW.task !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.task) > 200
        OR NEW.queue !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.queue) > 200
        OR jsonb_typeof(NEW.args) <> 'array' OR jsonb_typeof(NEW.kwargs) <> 'object')
    EXECUTE FUNCTION refuse_job();
DROP TRIGGER jobs_limit_key_check ON jobs;
CREATE TRIGGER jobs_limit_key_check AFTER UPDATE OF limit_key ON jobs
    FOR EACH ROW WHEN (NEW.limit_key IS NOT NULL AND (octet_length(NEW.limit_key) NOT BETWEEN 1 AND 200
        OR NEW.limit_key ~ '[[:cntrl:]]'))
    EXECUTE FUNCTION refuse_limit_key();
DROP TRIGGER jobs_numbers_check ON jobs;
CREATE TRIGGER jobs_numbers_check AFTER UPDATE OF priority, max_attempts, snoozes ON jobs
    FOR EACH ROW WHEN (NEW.priority NOT BETWEEN 0 AND 2 OR LEAST(NEW.max_attempts, NEW.snoozes) < 1)
    EXECUTE FUNCTION refuse_job_numbers();
DROP TRIGGER jobs_options_check ON jobs;
CREATE TRIGGER jobs_options_check
    AFTER UPDATE OF unique_key, headers, traceparent, retention_s, expires_at ON jobs
    FOR EACH ROW WHEN (NEW.unique_key IS NOT NULL OR NEW.headers IS NOT NULL
        OR NEW.traceparent IS NOT NULL OR NEW.retention_s IS NOT NULL OR NEW.expires_at IS NOT NULL)
    EXECUTE FUNCTION check_job_options();
DROP TRIGGER jobs_time_check ON jobs;
CREATE TRIGGER jobs_time_check AFTER UPDATE OF scheduled_at, created_at, expires_at, unique_until ON jobs
    FOR EACH ROW WHEN (LEAST(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            < '0001-01-01 00:00:00+00'
        OR GREATEST(NEW.scheduled_at, NEW.created_at, NEW.enqueued_at, NEW.expires_at, NEW.unique_until)
            > '9999-12-31 23:59:59.999999+00')
    EXECUTE FUNCTION refuse_job_times();
DROP TRIGGER jobs_notify ON jobs;
CREATE TRIGGER jobs_notify AFTER UPDATE OF enqueued_at, scheduled_at, waits ON jobs FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL AND NEW.parked_on IS NULL AND NEW.state IN ('PENDING', 'RETRY') AND NEW.waits IS NULL)
    EXECUTE FUNCTION notify_jobs();
CREATE TRIGGER jobs_new_check AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION judge_new_job();
