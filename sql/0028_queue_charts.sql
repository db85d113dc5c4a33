-- Figures of each minute and queue, beside those of all together (queue ''). What a worker has processed of
-- each queue it counts itself; whether that succeeded it tells of all together, so a queue has the sum alone.
ALTER TABLE job_minutes ADD COLUMN ended integer; -- of a queue, whatever became of them

-- A chart is of one queue: its rows stand together, however many queues there are.
ALTER TABLE job_minutes DROP CONSTRAINT job_minutes_pkey, ADD PRIMARY KEY (queue, minute);
CREATE INDEX job_minutes_minute ON job_minutes (minute); -- to forget them

-- What each worker had processed of each queue when the leading scheduler last looked (compare 0016).
CREATE TABLE worker_queue_counts (
    name text NOT NULL,
    queue text NOT NULL,
    started_at timestamptz NOT NULL,
    processed bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, queue)
);
