-- The dead of each queue are counted by whoever looks at the queues: by the index alone, instead of one page
-- of the table for each of them.
CREATE INDEX jobs_dead_queues ON jobs (finished_at) INCLUDE (queue) WHERE listed_state = 'FAILURE';
DROP INDEX jobs_dead;
ALTER INDEX jobs_dead_queues RENAME TO jobs_dead;
