-- What waits holds nobody else up, and nobody polls for it:
--  - a place under a limit is not given to a job of a paused queue, which could not use it. Whoever stands
--    behind it in the line goes first, and it is let go when its queue is resumed;
--  - in the line of a limit jobs with a higher priority go first, like in the streams;
--  - who stands in a line is not due by time any more, each by itself every five minutes: each line is looked at
--    so often, as a net under those who wake it;
--  - a member of a flow whose unique key another job has taken meanwhile stays revoked when the member before
--    it is tried again. The whole transaction failed for that, with all that was tried again beside it.

-- ---- the line of a limit ----

-- The place in the line: the time at which a job was made, put off by ten minutes for each step of
-- priority. So what is low waits for what is high, but never longer than twenty minutes for what came later.
CREATE INDEX jobs_line ON jobs
    (parked_on, ((created_at AT TIME ZONE 'UTC') + priority * interval '10 minutes'), id)
    WHERE parked_on IS NOT NULL AND enqueued_at IS NULL AND finished_at IS NULL;
DROP INDEX jobs_parked;

-- Lets one bucket's parked jobs go, in the order of the line, as many as there is room for, at most `most`.
-- Those of a key whose task has a limit, too, go on to wait for that: a row with `next`. Jobs of paused
-- queues are passed over, and nobody is waiting where only those are left.
CREATE OR REPLACE FUNCTION release_bucket(name text, most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, next text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    rule CONSTANT limits := limit_of(release_bucket.name);
    place CONSTANT integer := CASE WHEN starts_with(release_bucket.name, 'key:') THEN 1 ELSE 2 END;
    now_is timestamptz;
    own limit_buckets;
    freed record;
    paused text[];
    room integer;
    given integer := 0;
BEGIN
    PERFORM lock_buckets(ARRAY[release_bucket.name]);
    now_is := clock_timestamp();
    WITH gone AS (
        DELETE FROM limit_freed f WHERE f.bucket = release_bucket.name RETURNING f.places, f.coming
    ) SELECT coalesce(sum(g.places), 0) AS places, coalesce(sum(g.coming), 0) AS coming INTO freed FROM gone g;
    -- Asked with <@ below, of which the planner expects to be true seldom: it thinks that <> ALL lets nobody
    -- through where most jobs are of one queue, and sorts the whole line.
    -- After the rows of limit_freed: whoever resumes a queue adds one in the same transaction.
    paused := ARRAY(SELECT q.name FROM queues q WHERE q.paused_at IS NOT NULL);
    SELECT * INTO own FROM limit_buckets b WHERE b.bucket = release_bucket.name;
    own.places := own.places - freed.places;
    own.coming := own.coming - freed.coming;
    room := CASE WHEN rule.scope IS NULL THEN most ELSE limit_room(rule.concurrency, rule.rate,
        rule.per_seconds, rule.burst, own.places, own.coming, own.full_at, now_is) END;
    IF room > 0 AND most > 0 THEN
        RETURN QUERY
            WITH picked AS (
                SELECT j.id, CASE WHEN place = 1 AND (limit_of('task:' || j.task)).scope IS NOT NULL
                    THEN 'task:' || j.task END AS next
                FROM jobs j
                WHERE j.parked_on = release_bucket.name AND j.enqueued_at IS NULL
                    AND j.finished_at IS NULL AND j.state IN ('PENDING', 'RETRY')
                    AND NOT ARRAY[j.queue] <@ paused
                ORDER BY (j.created_at AT TIME ZONE 'UTC') + j.priority * interval '10 minutes', j.id
                LIMIT least(room, most) FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE jobs j SET parked_on = p.next,
                places = CASE WHEN rule.scope IS NULL THEN j.places ELSE coalesce(j.places, 0) | place END,
                enqueued_at = CASE WHEN p.next IS NULL THEN clock_timestamp() END
            FROM picked p WHERE j.id = p.id
            RETURNING j.id, j.queue, j.priority, p.next;
        GET DIAGNOSTICS given = ROW_COUNT;
    END IF;
    IF given = most THEN -- there may be more: go on next time
        INSERT INTO limit_freed VALUES (release_bucket.name, 0, 0, true);
    END IF;
    IF rule.scope IS NOT NULL THEN
        own.places := own.places + given;
        own.coming := own.coming + given;
    END IF;
    own.waiting := EXISTS (SELECT FROM jobs j WHERE j.parked_on = release_bucket.name
        AND j.enqueued_at IS NULL AND j.finished_at IS NULL AND NOT ARRAY[j.queue] <@ paused);
    -- Where there is room left, somebody has just locked the rows: look again soon.
    own.look_at := CASE WHEN NOT own.waiting THEN NULL
        WHEN room > given THEN now_is + interval '1 second'
        ELSE limit_due(rule.rate, rule.per_seconds, rule.burst, own.coming, own.full_at, now_is) END;
    UPDATE limit_buckets b SET places = own.places, coming = own.coming, waiting = own.waiting,
        look_at = own.look_at, used_at = now_is
    WHERE b.bucket = release_bucket.name;
END $$;

-- Every bucket for which jobs of a queue are parked that is not paused any more is looked at anew.
CREATE FUNCTION review_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO limit_freed (bucket, places, coming, wakes)
    SELECT DISTINCT j.parked_on, 0, 0, true FROM jobs j
    WHERE j.queue = OLD.name AND j.parked_on IS NOT NULL AND j.enqueued_at IS NULL AND j.finished_at IS NULL;
    IF FOUND THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queues_resumed AFTER UPDATE OF paused_at ON queues FOR EACH ROW
    WHEN (OLD.paused_at IS NOT NULL AND NEW.paused_at IS NULL) EXECUTE FUNCTION review_lines();
CREATE TRIGGER queues_deleted AFTER DELETE ON queues FOR EACH ROW
    WHEN (OLD.paused_at IS NOT NULL) EXECUTE FUNCTION review_lines();

-- What is due by time. jobs_due has those that are parked, too, for the views and for schedulers before this.
CREATE INDEX jobs_due_alone ON jobs (scheduled_at)
    WHERE finished_at IS NULL AND enqueued_at IS NULL AND waits IS NULL AND parked_on IS NULL;

-- The net: every line is looked at once. A line is woken when a place is given back or passed on to nobody,
-- when its next token comes, when its limit or a queue changes; what all these have missed comes by this.
CREATE FUNCTION till_look_at_lines() RETURNS void LANGUAGE sql AS $$
    INSERT INTO limit_freed (bucket, places, coming, wakes)
    WITH RECURSIVE line AS ( -- a loose index scan: one step a line, however many stand in it
        (SELECT j.parked_on FROM jobs j
         WHERE j.parked_on IS NOT NULL AND j.enqueued_at IS NULL AND j.finished_at IS NULL
         ORDER BY j.parked_on LIMIT 1)
        UNION ALL
        SELECT n.parked_on FROM line l, LATERAL (
            SELECT j.parked_on FROM jobs j
            WHERE j.parked_on > l.parked_on AND j.enqueued_at IS NULL AND j.finished_at IS NULL
            ORDER BY j.parked_on LIMIT 1) n
    ) SELECT l.parked_on, 0, 0, true FROM line l
$$;

-- ---- flows ----

-- A gate has turned from open, done or over into another of these: what follows for the jobs that wait
-- for it, and for the gates that they lead to.
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
        UPDATE jobs j SET error = format('%s%s: retry it when that one is over', is_held, h.id)
        FROM jobs h WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.state = 'REVOKED' AND (flow_was_stopped(j.error) OR starts_with(j.error, is_held))
        AND h.unique_key = j.unique_key AND h.finished_at IS NULL
        AND (j.unique_until IS NULL OR j.unique_until > now());
        UPDATE jobs j SET state = 'PENDING', finished_at = NULL, error = NULL,
            unique_key = CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_key END,
            unique_until = CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_until END
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.state = 'REVOKED' AND (flow_was_stopped(j.error) OR starts_with(j.error, is_held))
        AND NOT EXISTS (SELECT FROM jobs h WHERE h.finished_at IS NULL AND h.unique_key =
            CASE WHEN j.unique_until <= now() THEN NULL ELSE j.unique_key END);
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
