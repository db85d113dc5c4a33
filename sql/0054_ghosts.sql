-- A job that is revoked while it runs is over, but its handler may go on for as long as it does not ask. Until here
-- the places that it had under limits were given back at once, so a limit of one had two handlers running. Now they
-- stay counted, by a row here, until the handler has ended.
--
-- Who runs the handler renews the row and deletes it at the end. So it needs no look at who is alive, and nothing
-- leaks: that of a worker that died, or of a version before this one, which knows nothing of it, runs out by itself.

CREATE TABLE limit_ghosts (
    job_id uuid NOT NULL, -- without a foreign key: the row of the job may be deleted before
    attempt integer NOT NULL,
    buckets text[] NOT NULL, -- in each of which it has a place
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL,
    PRIMARY KEY (job_id, attempt)
);

-- From 0025, without 3 of its lines: the names of the buckets stand above, for the ghosts, too. One whose claim was
-- made by a takeover, and that ends there because it has expired, has no handler any more: it leaves none.
CREATE OR REPLACE FUNCTION give_places_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    buckets CONSTANT text[] := array_remove(ARRAY[CASE WHEN OLD.places & 1 <> 0 THEN 'key:' || OLD.limit_key END,
        CASE WHEN OLD.places & 2 <> 0 THEN 'task:' || OLD.task END], NULL);
    woken boolean;
    haunts boolean := false;
BEGIN
    IF TG_NAME = 'jobs_limit_left' AND (NEW.state = OLD.state OR NEW.state = 'STARTED'
        OR NEW.task <> OLD.task OR NEW.limit_key IS DISTINCT FROM OLD.limit_key) THEN
        RETURN NULL; -- has not left, or is the other trigger's
    END IF;
    IF TG_NAME = 'jobs_limit_left' AND OLD.state = 'STARTED' AND NEW.state = 'REVOKED'
        AND NEW.error IS DISTINCT FROM 'expired' AND cardinality(buckets) > 0 THEN
        -- Until its worker has heard of it, and renews it: a notification that is lost is made up for after 10 s.
        INSERT INTO limit_ghosts (job_id, attempt, buckets, until)
        VALUES (OLD.id, OLD.attempt, buckets, clock_timestamp() + interval '15 seconds')
        ON CONFLICT DO NOTHING;
        haunts := FOUND;
    END IF;
    IF NOT haunts THEN
        WITH freed AS (
            INSERT INTO limit_freed (bucket, places, coming, wakes)
            SELECT x.bucket, 1, (OLD.places & 8 = 0)::integer, coalesce(b.waiting, false)
            FROM unnest(buckets) x (bucket) LEFT JOIN limit_buckets b ON b.bucket = x.bucket
            RETURNING wakes
        ) SELECT bool_or(wakes) INTO woken FROM freed;
    END IF;
    IF woken THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.state <> 'SUCCESS' THEN -- after which nothing comes
        UPDATE jobs SET places = NULL WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

-- Whoever deletes the row gives its places back.
CREATE FUNCTION end_ghost() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    woken boolean;
BEGIN
    WITH freed AS (
        INSERT INTO limit_freed (bucket, places, coming, wakes)
        SELECT x.bucket, 1, 0, coalesce(b.waiting, false)
        FROM unnest(OLD.buckets) x (bucket) LEFT JOIN limit_buckets b ON b.bucket = x.bucket
        RETURNING wakes
    ) SELECT bool_or(wakes) INTO woken FROM freed;
    IF woken THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER limit_ghosts_ended AFTER DELETE ON limit_ghosts FOR EACH ROW EXECUTE FUNCTION end_ghost();

-- From 0025, without 0 of its lines.
CREATE OR REPLACE FUNCTION forget_places() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM limit_ghosts; -- first: this adds to the next
    DELETE FROM limit_freed;
    UPDATE limit_buckets SET places = 0, coming = 0, waiting = false, look_at = NULL
    WHERE places <> 0 OR coming <> 0 OR waiting;
    RETURN NULL;
END $$;

-- From 0025, without 0 of its lines.
CREATE OR REPLACE FUNCTION till_count_places() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[];
BEGIN
    -- Ghosts that nobody renews any more.
    DELETE FROM limit_ghosts g WHERE (g.job_id, g.attempt) IN (
        SELECT o.job_id, o.attempt FROM limit_ghosts o WHERE o.until < clock_timestamp() FOR UPDATE SKIP LOCKED);
    IF EXISTS (SELECT FROM limits l WHERE l.scope <> 'queue' AND l.concurrency IS NOT NULL) THEN
        SELECT array_agg(DISTINCT b.name) INTO names FROM started_jobs s JOIN jobs j ON j.id = s.id,
            LATERAL (VALUES ('key:' || j.limit_key, 1), ('task:' || j.task, 2)) b (name, place)
        WHERE b.name IS NOT NULL AND coalesce(j.places, 0) & b.place = 0
            AND (limit_of(b.name)).concurrency IS NOT NULL;
    END IF;
    IF names IS NOT NULL THEN
        PERFORM lock_buckets(names);
        WITH held AS (
            SELECT j.id, coalesce(j.places, 0) & 3 AS has, j.limit_key, j.task FROM jobs j
            WHERE j.id IN (SELECT s.id FROM started_jobs s) AND j.state = 'STARTED'
                AND ('key:' || j.limit_key = ANY (names) OR 'task:' || j.task = ANY (names))
            FOR NO KEY UPDATE SKIP LOCKED
        ), marked AS (
            UPDATE jobs j SET places = h.has | 8 | ('task:' || h.task = ANY (names))::integer * 2
                | (h.limit_key IS NOT NULL AND 'key:' || h.limit_key = ANY (names))::integer
            FROM held h WHERE j.id = h.id RETURNING j.places, h.has, h.limit_key, h.task
        )
        UPDATE limit_buckets b SET places = b.places + x.more FROM (
            SELECT y.bucket, count(*)::integer AS more FROM marked m, LATERAL (VALUES
                (CASE WHEN m.places & 1 > m.has & 1 THEN 'key:' || m.limit_key END),
                (CASE WHEN m.places & 2 > m.has & 2 THEN 'task:' || m.task END)) y (bucket)
            WHERE y.bucket IS NOT NULL GROUP BY y.bucket) x
        WHERE b.bucket = x.bucket;
    END IF;
    WITH idle AS (
        SELECT b.bucket FROM limit_buckets b WHERE NOT b.waiting AND b.bucket IN (
            SELECT f.bucket FROM limit_freed f ORDER BY f.bucket LIMIT 1000) FOR NO KEY UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM limit_freed f USING idle i WHERE f.bucket = i.bucket
        RETURNING f.bucket, f.places, f.coming
    )
    UPDATE limit_buckets b SET places = b.places - g.places, coming = b.coming - g.coming
    FROM (SELECT bucket, sum(places) AS places, sum(coming) AS coming FROM gone GROUP BY bucket) g
    WHERE b.bucket = g.bucket;
    UPDATE limit_buckets b SET look_at = clock_timestamp() WHERE b.bucket IN (
        SELECT w.bucket FROM limit_buckets w WHERE w.waiting AND w.used_at < now() - interval '10 seconds'
        ORDER BY w.used_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM limit_buckets b WHERE b.bucket IN (
        SELECT u.bucket FROM limit_buckets u WHERE u.used_at < now() - interval '1 hour' AND u.places = 0
            AND NOT u.waiting AND (u.full_at IS NULL OR u.full_at < now())
            AND NOT EXISTS (SELECT FROM limit_freed f WHERE f.bucket = u.bucket)
        FOR UPDATE SKIP LOCKED);
END $$;
