-- A bucket that counts a place which no job has (rows that were changed by hand, a mistake of ours) kept it for ever: the
-- scheduler only looks for jobs without a place. Counts it anew, and gives by how many places it was wrong.
--
-- Whoever gives places locks the bucket before, so all of these are seen by the statement behind the lock. Whoever takes
-- some away adds to limit_freed in the same transaction: that statement sees both or neither.
CREATE FUNCTION till_recount_bucket(name text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    is_key CONSTANT boolean := starts_with(name, 'key:');
    own limit_buckets;
    has_places integer;
    has_coming integer;
BEGIN
    SELECT * INTO own FROM limit_buckets b WHERE b.bucket = name FOR NO KEY UPDATE;
    IF own.bucket IS NULL THEN
        RETURN 0;
    END IF;
    SELECT held.places + ghosts.places + freed.places, held.coming + freed.coming INTO has_places, has_coming
    FROM (
        SELECT count(*)::integer AS places, (count(*) FILTER (WHERE j.places & 8 = 0))::integer AS coming
        FROM jobs j WHERE (j.finished_at IS NULL) IS TRUE AND CASE WHEN is_key
            THEN j.places & 1 <> 0 AND 'key:' || j.limit_key = name
            ELSE j.places & 2 <> 0 AND 'task:' || j.task = name END
    ) held, (
        SELECT count(*)::integer AS places FROM limit_ghosts g WHERE name = ANY (g.buckets)
    ) ghosts, (
        SELECT coalesce(sum(f.places), 0)::integer AS places, coalesce(sum(f.coming), 0)::integer AS coming
        FROM limit_freed f WHERE f.bucket = name
    ) freed;
    UPDATE limit_buckets b SET places = has_places, coming = has_coming,
        look_at = CASE WHEN b.waiting THEN clock_timestamp() ELSE b.look_at END
    WHERE b.bucket = name;
    IF own.waiting THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    RETURN own.places - has_places;
END $$;
