-- A retry and the prune in the same instant: what the one counts the other may not delete meanwhile.
--
--  - A retry counted the steps that a dead one had stopped, and then set them to wait again. One that was deleted in
--    between, or whose deletion was not committed yet, was counted and did not wait: its gate stayed open for ever, and
--    so did the flow.
--  - A prune that had looked at a flow before the retry was committed deleted steps of it after that: those that somebody
--    had revoked, which the retry leaves as they are, and which are counted when their turn comes. It asks again, by
--    flow_is_over(), about what it has locked.

-- From 0056, without 0 of its lines: three more, which keep what was counted from being deleted.
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
        -- Whoever is just deleting one of those that are over is waited for, too; the rest stays until we are done.
        PERFORM FROM jobs j WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.finished_at IS NOT NULL FOR KEY SHARE;
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

-- VOLATILE, so that it sees what was committed since the statement that asks began.
CREATE FUNCTION flow_is_over(flow uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NOT EXISTS (SELECT FROM flows f WHERE f.id = flow AND f.finished_at IS NULL);
END $$;

DROP FUNCTION flow_waiting(uuid, integer, integer); -- called no more since 0070
