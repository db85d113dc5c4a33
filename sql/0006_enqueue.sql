-- Enqueueing fast, and from SQL: in the transaction of the data that the job belongs to, by any client.

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
