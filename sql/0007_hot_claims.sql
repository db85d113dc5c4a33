-- A claim, PENDING to STARTED, changes the row of a job in place: PostgreSQL's heap-only update (HOT),
-- which touches no index. It can be one only while no index, neither key nor condition, names a column
-- that a claim changes: state, attempt, worker, delivery, started_at; and while there is room for a
-- second version of each row on its page, hence the fillfactor. Measured: three times the jobs a second.

DROP INDEX jobs_due, jobs_waiting, jobs_started, jobs_dead, jobs_state;

-- The states whose jobs people look for among all others. Those that nobody has to find, waiting at
-- first, running, succeeded, are NULL, so a job that succeeds at once never enters the index below.
ALTER TABLE jobs ADD COLUMN listed_state job_state
    GENERATED ALWAYS AS (CASE WHEN state IN ('RETRY', 'FAILURE', 'REVOKED') THEN state END) STORED;
ALTER TABLE jobs SET (fillfactor = 45);

-- Meant to stand in a stream, or running: oldest first in each stream.
CREATE INDEX jobs_open ON jobs (queue, priority, enqueued_at)
    WHERE finished_at IS NULL AND enqueued_at IS NOT NULL;
-- Waiting for their time.
CREATE INDEX jobs_due ON jobs (scheduled_at) WHERE finished_at IS NULL AND enqueued_at IS NULL;
-- Waiting or running, newest first.
CREATE INDEX jobs_unfinished ON jobs (id) WHERE finished_at IS NULL;
CREATE INDEX jobs_listed ON jobs (listed_state, id) WHERE listed_state IS NOT NULL;
CREATE INDEX jobs_dead ON jobs (finished_at) WHERE listed_state = 'FAILURE';

-- Judged after the change: a BEFORE trigger would lock each row first, which costs as much as the rest
-- of the judging. An illegal change is undone all the same.
DROP TRIGGER jobs_transition ON jobs;
CREATE TRIGGER jobs_transition AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NOT CASE OLD.state
        WHEN 'PENDING' THEN NEW.state IN ('STARTED', 'FAILURE', 'REVOKED')
        WHEN 'RETRY' THEN NEW.state IN ('STARTED', 'PENDING', 'FAILURE', 'REVOKED')
        WHEN 'STARTED' THEN NEW.state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')
        WHEN 'FAILURE' THEN NEW.state = 'PENDING'
        WHEN 'REVOKED' THEN NEW.state = 'PENDING'
        ELSE false END)
    EXECUTE FUNCTION refuse_transition('state');

-- The jobs that run. Streams are read in order, so they are among the oldest open rows of each: 2,000
-- of a stream are looked at, many times what workers hold of one.
CREATE VIEW started_jobs AS
    WITH RECURSIVE streams AS (
        (SELECT queue, priority FROM jobs WHERE finished_at IS NULL AND enqueued_at IS NOT NULL
            ORDER BY queue, priority LIMIT 1)
        UNION ALL
        SELECT n.queue, n.priority FROM streams s, LATERAL (
            SELECT queue, priority FROM jobs WHERE finished_at IS NULL AND enqueued_at IS NOT NULL
            AND (queue, priority) > (s.queue, s.priority) ORDER BY queue, priority LIMIT 1) n
    )
    SELECT j.id, j.queue, j.worker, j.started_at FROM streams s, LATERAL (
        SELECT id, queue, worker, started_at, state FROM jobs
        WHERE queue = s.queue AND priority = s.priority
        AND finished_at IS NULL AND enqueued_at IS NOT NULL
        ORDER BY enqueued_at LIMIT 2000) j
    WHERE j.state = 'STARTED';
