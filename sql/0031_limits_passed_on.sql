-- Where a limit bites. A place went from a job that ended to the scheduler, to the oldest parked job, to the
-- end of its stream, and there waited to be read. Now it goes straight on: who ends claims who is next, in the
-- same statement (common/jobs_run.c). So nearly all jobs of a backlog go through the line of their bucket, and
-- standing in line has to be cheap, too: who comes while others are parked for the same bucket is parked behind
-- them without a look at counts and rooms, which nobody changes here.

-- Parks those of these jobs, all of which wait, for whose first bucket others are parked already; gives their
-- places among `ids`. The others are left to the claims. `keyed`: some keys have a limit; whoever has a key
-- then is parked here for that alone, since it may need a place of it before one of its task.
--
-- Jobs before buckets, as in every claim. The buckets are shared: they are held so that nobody lets the last
-- one of the line go, and believes it empty, while these are on their way into it. Should that have happened
-- already, nothing has.
CREATE FUNCTION till_park(ids uuid[], keyed boolean) RETURNS SETOF bigint LANGUAGE plpgsql
-- The rows of jobs are locked as they are found, so they have to be found one by one in the order of `ids`.
SET enable_hashjoin = off SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    parked bigint[];
    names text[];
BEGIN
    WITH moved AS (
        UPDATE jobs j SET enqueued_at = NULL,
            parked_on = CASE WHEN keyed AND j.limit_key IS NOT NULL THEN 'key:' || j.limit_key
                ELSE 'task:' || j.task END,
            scheduled_at = clock_timestamp() + interval '5 minutes' -- should nobody let it go before
        FROM (SELECT u.id, u.n FROM unnest(ids) WITH ORDINALITY AS u (id, n) ORDER BY u.id) g
        WHERE j.id = g.id AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
            AND j.places IS NULL AND j.attempt < j.max_attempts
            AND (j.expires_at IS NULL OR j.expires_at > now())
            AND EXISTS (SELECT FROM limit_buckets b WHERE b.waiting AND b.bucket =
                CASE WHEN keyed AND j.limit_key IS NOT NULL THEN 'key:' || j.limit_key ELSE 'task:' || j.task END)
        RETURNING g.n, j.parked_on
    ) SELECT array_agg(m.n), array_agg(DISTINCT m.parked_on) INTO parked, names FROM moved m;
    IF (SELECT count(*) FROM (SELECT b.waiting FROM limit_buckets b WHERE b.bucket = ANY (names)
            ORDER BY b.bucket FOR SHARE) l WHERE l.waiting) < cardinality(names) THEN
        RAISE EXCEPTION 'nobody waits any more' USING ERRCODE = 'TL002';
    END IF;
    RETURN QUERY SELECT unnest(parked);
EXCEPTION
    WHEN SQLSTATE 'TL002' THEN
        NULL;
END $$;
