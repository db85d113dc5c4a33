-- What a producer may write wrong is looked at after the row is written, not before. PostgreSQL locks
-- and reads each row again for an UPDATE as soon as its table has any BEFORE UPDATE trigger, whatever
-- columns that one is for: every claim and every success paid for it. What is wrong is undone all the same.

DROP TRIGGER jobs_input_check ON jobs;
CREATE TRIGGER jobs_input_check AFTER INSERT OR UPDATE OF task, queue, args, kwargs ON jobs
    FOR EACH ROW WHEN (NEW.task !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.task) > 200
        OR NEW.queue !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.queue) > 200
        OR jsonb_typeof(NEW.args) <> 'array' OR jsonb_typeof(NEW.kwargs) <> 'object')
    EXECUTE FUNCTION refuse_job();

DROP TRIGGER jobs_time_check ON jobs;
CREATE TRIGGER jobs_time_check AFTER INSERT OR UPDATE OF scheduled_at ON jobs
    FOR EACH ROW WHEN (NOT isfinite(NEW.scheduled_at)) EXECUTE FUNCTION refuse_job_time();

DROP TRIGGER jobs_options_check ON jobs;
CREATE TRIGGER jobs_options_check
    AFTER INSERT OR UPDATE OF unique_key, headers, traceparent, retention_s, expires_at ON jobs
    FOR EACH ROW WHEN (NEW.unique_key IS NOT NULL OR NEW.headers IS NOT NULL
        OR NEW.traceparent IS NOT NULL OR NEW.retention_s IS NOT NULL OR NEW.expires_at IS NOT NULL)
    EXECUTE FUNCTION check_job_options();

DROP TRIGGER jobs_limit_key_check ON jobs;
CREATE TRIGGER jobs_limit_key_check AFTER INSERT OR UPDATE OF limit_key ON jobs
    FOR EACH ROW WHEN (NEW.limit_key IS NOT NULL AND (octet_length(NEW.limit_key) NOT BETWEEN 1 AND 200
        OR NEW.limit_key ~ '[[:cntrl:]]'))
    EXECUTE FUNCTION refuse_limit_key();

-- PostgreSQL reads the condition of a trigger anew in each statement that may fire it: a long one costs a
-- claim of a single job a tenth of its time. So this condition lets the two moves of nearly every job pass,
-- and the function judges the others.
CREATE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
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
    RETURN NULL;
END $$;
DROP TRIGGER jobs_transition ON jobs;
CREATE TRIGGER jobs_transition AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NOT (OLD.state = 'PENDING' AND NEW.state = 'STARTED')
        AND NOT (OLD.state = 'STARTED' AND NEW.state = 'SUCCESS'))
    EXECUTE FUNCTION refuse_illegal_move();

-- A claim and a success say nothing of when a job is due.
DROP TRIGGER jobs_notify ON jobs;
CREATE TRIGGER jobs_notify AFTER INSERT OR UPDATE OF enqueued_at, scheduled_at, waits ON jobs FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL AND NEW.state IN ('PENDING', 'RETRY') AND NEW.waits IS NULL)
    EXECUTE FUNCTION notify_jobs();
