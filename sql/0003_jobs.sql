-- Jobs: the truth about every durable job. Redis only carries the ids of those that are ready.

CREATE TYPE job_state AS ENUM ('PENDING', 'STARTED', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED');

CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- version 7 where Till makes it
    task text NOT NULL,
    queue text NOT NULL DEFAULT 'default',
    priority smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2), -- 0 high, 1 normal, 2 low
    state job_state NOT NULL DEFAULT 'PENDING',
    attempt integer NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    max_attempts integer NOT NULL DEFAULT 10 CHECK (max_attempts >= 1),
    args jsonb NOT NULL DEFAULT '[]',
    kwargs jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    scheduled_at timestamptz NOT NULL DEFAULT now(), -- not before
    enqueued_at timestamptz, -- when its id was last meant for a stream; NULL: not ready yet
    started_at timestamptz,  -- of the current or last attempt
    finished_at timestamptz,
    worker text,   -- of the current or last attempt
    delivery text, -- stream entry that the current attempt came by
    result jsonb,
    error text,     -- of the last attempt; all of them stand in job_errors
    payload bytea,  -- what could not be decoded, as it came
    CONSTRAINT jobs_started_check CHECK (state <> 'STARTED' OR
        (started_at IS NOT NULL AND worker IS NOT NULL AND attempt >= 1)),
    CONSTRAINT jobs_finished_check CHECK ((state IN ('SUCCESS', 'FAILURE', 'REVOKED')) = (finished_at IS NOT NULL)),
    CONSTRAINT jobs_waiting_check CHECK (state NOT IN ('PENDING', 'RETRY') OR enqueued_at IS NOT NULL OR scheduled_at IS NOT NULL),
    CONSTRAINT jobs_failure_check CHECK (state NOT IN ('RETRY', 'FAILURE') OR error IS NOT NULL)
) WITH (fillfactor = 70);

-- What a producer may write wrong, looked at when it is written. A CHECK would look at it again with
-- each change of state, which costs more than the change; and {1,200} in a pattern would cost more
-- than the rest of an INSERT.
CREATE FUNCTION refuse_job() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'task and queue are 1 to 200 letters, digits, "_", "." or "-"; args is a JSON array, kwargs an object'
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
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

-- Due: waiting for their time. Waiting: meant to stand in a stream. Both stay small.
CREATE INDEX jobs_due ON jobs (scheduled_at) WHERE enqueued_at IS NULL AND state IN ('PENDING', 'RETRY');
CREATE INDEX jobs_waiting ON jobs (queue, priority, enqueued_at)
    WHERE enqueued_at IS NOT NULL AND state IN ('PENDING', 'RETRY');
CREATE INDEX jobs_started ON jobs (worker) WHERE state = 'STARTED';
CREATE INDEX jobs_dead ON jobs (finished_at) WHERE state = 'FAILURE';
CREATE INDEX jobs_task ON jobs (task, id);

-- The same moves as job_may_become() in common/job.c. The WHEN clause decides without calling
-- anything, so legal moves cost nothing.
CREATE TRIGGER jobs_transition BEFORE UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NOT CASE OLD.state
        WHEN 'PENDING' THEN NEW.state IN ('STARTED', 'FAILURE', 'REVOKED')
        WHEN 'RETRY' THEN NEW.state IN ('STARTED', 'PENDING', 'FAILURE', 'REVOKED')
        WHEN 'STARTED' THEN NEW.state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')
        WHEN 'FAILURE' THEN NEW.state = 'PENDING'
        WHEN 'REVOKED' THEN NEW.state = 'PENDING'
        ELSE false END)
    EXECUTE FUNCTION refuse_transition('state');

-- Wakes the scheduler for jobs that somebody inserted without putting them into a stream.
CREATE FUNCTION notify_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('till_jobs', '');
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_notify AFTER INSERT OR UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL AND NEW.state IN ('PENDING', 'RETRY'))
    EXECUTE FUNCTION notify_jobs();

-- Every attempt that did not end in success.
CREATE TABLE job_errors (
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt integer NOT NULL,
    worker text,
    started_at timestamptz,
    failed_at timestamptz NOT NULL DEFAULT now(),
    error text NOT NULL,
    detail text,
    PRIMARY KEY (job_id, attempt, failed_at)
);

-- What the workers can run, told by themselves when they start: so that a producer in any language
-- may leave queue and attempts to the task's author.
CREATE TABLE tasks (
    name text PRIMARY KEY,
    queue text NOT NULL,
    max_attempts integer NOT NULL,
    fast boolean NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
