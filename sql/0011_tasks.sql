-- What the author of a task can use: lines and progress of a running job, snoozing; and two tables for
-- trying and measuring.

-- How often the job has put itself off, not counted as attempts. NULL: never.
ALTER TABLE jobs ADD COLUMN snoozes integer CHECK (snoozes >= 1);

-- What a job says while it runs, in the order of `id`. No foreign key: it would look at the row of the
-- job for every line, and at the lines for every row that is pruned; the trigger below does that once a
-- statement.
CREATE TABLE job_logs (
    id bigint GENERATED ALWAYS AS IDENTITY,
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    at timestamptz NOT NULL,
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 3), -- debug, info, warning, error
    line text NOT NULL,
    PRIMARY KEY (job_id, id)
);

-- How far a job is: the last that it said.
CREATE TABLE job_progress (
    job_id uuid PRIMARY KEY,
    attempt integer NOT NULL,
    done bigint NOT NULL,
    total bigint NOT NULL, -- 0: not known
    text text NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE FUNCTION forget_job_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM job_logs WHERE job_id IN (SELECT id FROM gone);
    DELETE FROM job_progress WHERE job_id IN (SELECT id FROM gone);
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_forget_lines AFTER DELETE ON jobs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_job_lines();

-- For till.tasks.tally and its kin: each such job adds to one counter and writes one entry, so that the
-- sums tell how often it took effect.
CREATE TABLE trial_counters (
    id integer PRIMARY KEY,
    total bigint NOT NULL DEFAULT 0 CHECK (total >= 0)
) WITH (fillfactor = 50);
INSERT INTO trial_counters (id) SELECT generate_series(0, 999);
CREATE TABLE trial_entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id uuid NOT NULL,
    counter integer NOT NULL,
    amount integer NOT NULL
);
