-- While there was a limit of a task or key, the scheduler's healing looked for jobs that run without a place by joining
-- those that run, of which the planner expects thousands, with all jobs there are: it read the whole table, every few
-- seconds. Now it takes their ids, and finds each row by its own. A member of a flow that is tried again read the unique
-- keys of all that is open where the statistics were of a quiet hour; a count looks up the one.

-- From 0054, without 3 of its lines: the joins.
CREATE OR REPLACE FUNCTION till_count_places() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[];
BEGIN
    -- Ghosts that nobody renews any more.
    DELETE FROM limit_ghosts g WHERE (g.job_id, g.attempt) IN (
        SELECT o.job_id, o.attempt FROM limit_ghosts o WHERE o.until < clock_timestamp() FOR UPDATE SKIP LOCKED);
    IF EXISTS (SELECT FROM limits l WHERE l.scope <> 'queue' AND l.concurrency IS NOT NULL) THEN
        SELECT array_agg(DISTINCT b.name) INTO names FROM jobs j,
            LATERAL (VALUES ('key:' || j.limit_key, 1), ('task:' || j.task, 2)) b (name, place)
        WHERE j.id = ANY (ARRAY(SELECT s.id FROM started_jobs s))
            AND b.name IS NOT NULL AND coalesce(j.places, 0) & b.place = 0
            AND (limit_of(b.name)).concurrency IS NOT NULL;
    END IF;
    IF names IS NOT NULL THEN
        PERFORM lock_buckets(names);
        WITH held AS (
            SELECT j.id, coalesce(j.places, 0) & 3 AS has, j.limit_key, j.task FROM jobs j
            WHERE j.id = ANY (ARRAY(SELECT s.id FROM started_jobs s)) AND j.state = 'STARTED'
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

-- From 0034, without 5 of its lines: the join and the NOT EXISTS.
CREATE OR REPLACE FUNCTION flow_turn(
    flow uuid, turned integer, parent integer, was text, is_now text, reason text
) RETURNS SETOF flow_change LANGUAGE plpgsql AS $$
DECLARE
    is_held CONSTANT text := 'its unique key is held by job ';
    cancelled CONSTANT boolean := (SELECT f.cancelled_at IS NOT NULL FROM flows f WHERE f.id = flow);
BEGIN
    -- Not over any more: what it has stopped does not count as stopped, and waits again. Whoever is
    -- just revoking a job that waits has seen the gate over: it is waited for, and counted with them.
    IF was = 'over' THEN
        PERFORM FROM jobs j WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.finished_at IS NULL FOR NO KEY UPDATE;
        RETURN QUERY SELECT flow, j.flow_to, 0, -count(*)::integer, NULL FROM jobs j
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits AND j.finished_at IS NOT NULL
        GROUP BY j.flow_to;
        -- One whose unique key is another's by now stays as it is, and counts like one that somebody
        -- has revoked.
        UPDATE jobs j SET error = format('%s%s: retry it when that one is over', is_held,
            (SELECT h.id FROM jobs h WHERE h.unique_key = j.unique_key AND h.finished_at IS NULL))
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.state = 'REVOKED' AND (flow_was_stopped(j.error) OR starts_with(j.error, is_held))
        AND (SELECT count(*) FROM jobs h WHERE h.unique_key = j.unique_key AND h.finished_at IS NULL) > 0
        AND (j.unique_until IS NULL OR j.unique_until > now());
        UPDATE jobs j SET state = 'PENDING', finished_at = NULL, error = NULL,
            unique_key = CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_key END,
            unique_until = CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_until END
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.state = 'REVOKED' AND (flow_was_stopped(j.error) OR starts_with(j.error, is_held))
        AND (SELECT count(*) FROM jobs h WHERE h.finished_at IS NULL AND h.unique_key =
            CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_key END) = 0;
    END IF;
    IF is_now <> 'open' AND NOT cancelled THEN
        UPDATE jobs j SET waits = NULL, scheduled_at = greatest(j.scheduled_at, now())
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits AND j.finished_at IS NULL
        AND (is_now = 'done' OR j.flow_over);
    END IF;
    IF is_now = 'over' OR (is_now = 'done' AND cancelled) THEN
        reason := CASE WHEN cancelled THEN 'its flow was cancelled'
            ELSE coalesce(reason, flow_reason(flow, turned)) END;
        UPDATE jobs j SET state = 'REVOKED', finished_at = now(), error = reason
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits AND j.finished_at IS NULL;
    END IF;
    -- A statement of its own, which sees what others revoked while the last one waited for it.
    IF is_now <> 'open' THEN
        RETURN QUERY SELECT flow, j.flow_to, 0, count(*)::integer, reason FROM jobs j
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits AND j.finished_at IS NOT NULL
        GROUP BY j.flow_to;
    END IF;
    IF parent IS NOT NULL THEN
        RETURN QUERY SELECT flow, parent, -(is_now = 'done')::integer,
            (is_now = 'over')::integer - (was = 'over')::integer, reason;
    END IF;
    IF turned = 0 THEN
        UPDATE flows f SET finished_at = CASE WHEN is_now <> 'open' THEN now() END,
            outcome = CASE is_now WHEN 'done' THEN 'SUCCESS' WHEN 'over' THEN
                CASE WHEN cancelled THEN 'REVOKED' ELSE 'FAILURE' END END::job_state,
            cancelled_at = CASE WHEN is_now <> 'open' THEN f.cancelled_at END
        WHERE f.id = flow;
    END IF;
END $$;
