-- Finding finished jobs by any word in them, among any number, at no cost to those that make, claim or
-- settle jobs: no index of `jobs` knows of it. A duty of the scheduler reads what has been inserted and what
-- has finished since, many jobs at a time, and writes a segment of an inverted index: for every three bytes
-- that follow each other in the texts of its jobs, the places of the jobs that have them. What was read is
-- what people are shown, with its secrets redacted: so no secret can be found. A segment is never changed;
-- small ones are replaced by one.

CREATE TABLE job_segments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_id uuid NOT NULL,
    last_id uuid NOT NULL,
    jobs integer NOT NULL CHECK (jobs BETWEEN 1 AND 32768),
    ids bytea NOT NULL CHECK (octet_length(ids) = jobs * 16), -- ascending; the place of a job is its number here
    made_at timestamptz NOT NULL DEFAULT now(),
    is_late boolean NOT NULL,  -- of jobs that were not finished when the mark passed them: from all times
    looked_at timestamptz NOT NULL DEFAULT now(), -- when it was last asked how many of its jobs are left
    replaced_at timestamptz -- others hold its jobs; kept for a moment for those who are reading it
);
-- Neither compressed: a part of ids is read without the rest.
ALTER TABLE job_segments ALTER ids SET STORAGE EXTERNAL;

CREATE TABLE job_grams (
    segment bigint NOT NULL, -- no foreign key: it would be looked up for each of ten thousands of rows
    gram integer NOT NULL,   -- see common/job_grams.h
    places bytea NOT NULL,
    PRIMARY KEY (segment, gram)
);
ALTER TABLE job_grams ALTER places SET STORAGE EXTERNAL;

-- How far the duty has come: the jobs up to this id are in a segment. One row.
CREATE TABLE job_search_mark (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    passed uuid NOT NULL
);
INSERT INTO job_search_mark (passed) VALUES ('00000000-0000-0000-0000-000000000000');

-- Jobs up to that id that will change: they were not finished when they were read, or run again, or were
-- not there yet. They are read again when they are finished. `turn` counts how often one has begun again,
-- so that it is not struck off for an end that was not its last.
CREATE TABLE job_search_open (job_id uuid PRIMARY KEY, turn bigint NOT NULL DEFAULT 0);

-- How many of a segment's ids are smaller than this one: a search by halves, since they ascend.
CREATE FUNCTION job_place(ids bytea, jobs integer, id uuid) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    low integer := 0;
    high integer := jobs;
    middle integer;
BEGIN
    WHILE low < high LOOP
        middle := (low + high) / 2;
        IF substring(ids FROM middle * 16 + 1 FOR 16) < uuid_send(id) THEN
            low := middle + 1;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- A finished job that is to run again, or is given up on by hand, comes by here: the two moves of nearly
-- every job do not (0018).
CREATE OR REPLACE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.state
        WHEN 'PENDING' THEN NEW.state IN ('STARTED', 'FAILURE', 'REVOKED')
        WHEN 'RETRY' THEN NEW.state IN ('STARTED', 'PENDING', 'FAILURE', 'REVOKED')
        WHEN 'STARTED' THEN NEW.state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')
        WHEN 'FAILURE' THEN NEW.state = 'PENDING'
        WHEN 'REVOKED' THEN NEW.state = 'PENDING'
        ELSE false END)
    THEN
        RAISE EXCEPTION 'illegal change of jobs.state from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    IF OLD.state IN ('FAILURE', 'REVOKED') THEN
        INSERT INTO job_search_open (job_id) VALUES (NEW.id)
            ON CONFLICT (job_id) DO UPDATE SET turn = job_search_open.turn + 1;
    END IF;
    RETURN NULL;
END $$;
