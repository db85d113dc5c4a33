-- Many jobs can be run again by one order. It is given in parts, and an answer may be lost: the name of the order
-- lets no job be run again twice by it, however often it is given.
ALTER TABLE job_replays ADD COLUMN batch uuid;
CREATE UNIQUE INDEX job_replays_batch ON job_replays (batch, parent_id) WHERE batch IS NOT NULL;
