-- Enqueueing fast, and from SQL: in the transaction of the data that the job belongs to, by any client.

-- The same rules as before. PostgreSQL expands {1,200} into two hundred states, and matching two names
-- with them took six times as long as all the rest of inserting a job.
DROP TRIGGER jobs_input_check ON jobs;
CREATE TRIGGER jobs_input_check BEFORE INSERT OR UPDATE OF task, queue, args, kwargs ON jobs
    FOR EACH ROW WHEN (NEW.task !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.task) > 200
        OR NEW.queue !~ '^[A-Za-z0-9_.-]+$' OR length(NEW.queue) > 200
        OR jsonb_typeof(NEW.args) <> 'array' OR jsonb_typeof(NEW.kwargs) <> 'object')
    EXECUTE FUNCTION refuse_job();

-- The scheduler counts the time until the next job is due, and nobody can count until infinity.
CREATE FUNCTION refuse_job_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'scheduled_at is a time, not %', NEW.scheduled_at
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER jobs_time_check BEFORE INSERT OR UPDATE OF scheduled_at ON jobs
    FOR EACH ROW WHEN (NOT isfinite(NEW.scheduled_at)) EXECUTE FUNCTION refuse_job_time();

-- SELECT till_enqueue('mail.send', '[42]', scheduled_at => now() + interval '1 hour');
-- NULL in any place but the task is what leaving it out is: queue and attempts then come from the task's
-- declaration. The same rules and limits as jobs_insert() in common/jobs.c.
CREATE FUNCTION till_enqueue(
    task text,
    args jsonb DEFAULT NULL,
    kwargs jsonb DEFAULT NULL,
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    max_attempts integer DEFAULT NULL,
    id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    name_form CONSTANT text := '^[A-Za-z0-9_.-]+$';
    json_max CONSTANT integer := 256 * 1024;
    problem text;
    made uuid := coalesce(till_enqueue.id, new_job_id());
BEGIN
    problem := CASE
        WHEN till_enqueue.task IS NULL THEN 'the name of a task must be given'
        WHEN till_enqueue.task !~ name_form OR length(till_enqueue.task) > 200 THEN
            format('"%s" is no name of a task', left(till_enqueue.task, 40))
        WHEN till_enqueue.queue !~ name_form OR length(till_enqueue.queue) > 200 THEN
            format('"%s" is no name of a queue', left(till_enqueue.queue, 40))
        WHEN jsonb_typeof(till_enqueue.args) <> 'array' THEN
            format('args of a job must be a JSON array, not %s', jsonb_typeof(till_enqueue.args))
        WHEN jsonb_typeof(till_enqueue.kwargs) <> 'object' THEN
            format('kwargs of a job must be a JSON object, not %s', jsonb_typeof(till_enqueue.kwargs))
        WHEN octet_length(till_enqueue.args::text) > json_max THEN
            format('args of a job must be at most %s bytes', json_max)
        WHEN octet_length(till_enqueue.kwargs::text) > json_max THEN
            format('kwargs of a job must be at most %s bytes', json_max)
        WHEN till_enqueue.priority NOT BETWEEN 0 AND 2 THEN
            format('priority is 0 (high), 1 (normal) or 2 (low), not %s', till_enqueue.priority)
        WHEN till_enqueue.max_attempts < 1 THEN
            format('max_attempts is at least 1, not %s', till_enqueue.max_attempts)
        WHEN NOT isfinite(till_enqueue.scheduled_at) THEN
            format('scheduled_at must be a time, not %s', till_enqueue.scheduled_at)
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at)
    SELECT made, till_enqueue.task, coalesce(till_enqueue.queue, t.queue, 'default'),
        coalesce(till_enqueue.priority, 1), coalesce(till_enqueue.args, '[]'),
        coalesce(till_enqueue.kwargs, '{}'), coalesce(till_enqueue.max_attempts, t.max_attempts, 10),
        coalesce(till_enqueue.scheduled_at, now())
    FROM (SELECT 1) one LEFT JOIN tasks t ON t.name = till_enqueue.task;
    RETURN made;
END $$;
