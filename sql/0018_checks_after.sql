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
