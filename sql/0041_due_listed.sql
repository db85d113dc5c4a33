-- What waits for its time is listed by that, page by page: the id tells those apart that are due at the same moment.
CREATE INDEX jobs_due_listed ON jobs (scheduled_at, id)
    WHERE finished_at IS NULL AND enqueued_at IS NULL AND waits IS NULL AND parked_on IS NULL;
DROP INDEX jobs_due_alone;
ALTER INDEX jobs_due_listed RENAME TO jobs_due_alone;
