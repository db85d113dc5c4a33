-- What a step gets from those before it is all of what they gave, or an error.
--
--  - Behind a group that has an on_complete and no callback came the result of any one of its members, not the array
--    of all: its gate did not know that a group ends there.
--  - Of a flow that has failed, results may have been deleted when its dead job is retried. A callback was given what
--    was left of them, as if there had been no more. A gate says now how many jobs lead to it.
--  - Gates are locked in one order also for jobs that are retried before their turn: two at once, or one and a worker,
--    could end in a deadlock, at the cost of an attempt. (flow_waiting() is called no more.)
ALTER TABLE flow_gates ADD COLUMN leads integer; -- jobs that lead to it, as declared; NULL: not known, from before this

-- A gate with gates before it is the end of a group.
UPDATE flow_gates g SET many = true
WHERE NOT g.many AND EXISTS (SELECT FROM flow_gates c WHERE c.flow_id = g.flow_id AND c.parent = g.gate);

-- From 0012, without 1 of its lines: a job that was deleted has no name.
CREATE OR REPLACE FUNCTION flow_reason(flow uuid, gate integer) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    leading_gates CONSTANT integer[] := flow_gates_of(flow, gate);
    job record;
BEGIN
    SELECT j.id, j.task, j.state, j.error INTO job FROM jobs j
    WHERE j.flow_id = flow AND j.flow_to = ANY (leading_gates) AND j.state IN ('FAILURE', 'REVOKED')
    ORDER BY j.state, j.flow_step LIMIT 1;
    RETURN CASE WHEN job.id IS NULL THEN 'depends on job (deleted), which did not succeed'
        WHEN flow_was_stopped(job.error) THEN job.error
        ELSE format('depends on job %s (%s), which %s', job.id, job.task,
            CASE job.state WHEN 'FAILURE' THEN 'failed' ELSE 'was revoked' END) END;
END $$;

-- From 0012, without 5 of its lines: jobs that were retried while they waited are looked at when their gate has its turn.
CREATE OR REPLACE FUNCTION flow_advance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    notes text := coalesce(current_setting('till.flow_notes', true), '');
    tried flow_change[]; -- retried while they waited for `gate`; `open` is the gate that they lead to
    changes flow_change[]; -- sorted
    news flow_change[];
    further flow_change[] := '{}'; -- not sorted
    first flow_change; -- of them
    change flow_change;
    turned record;
    i integer := 1;
BEGIN
    IF notes IN ('', 'busy') THEN
        RETURN NULL; -- the first of this transaction has taken the notes of all
    END IF;
    PERFORM set_config('till.flow_notes', 'busy', true);
    tried := ARRAY(
        SELECT ROW(n[1]::uuid, n[5]::integer, n[2]::integer, n[4]::integer, NULL)::flow_change
        FROM string_to_table(rtrim(notes, ';'), ';') note, string_to_array(note, ' ') n
        WHERE n[5] IS NOT NULL AND n[4]::integer < 0);
    changes := flow_sorted(ARRAY(
        SELECT ROW(n[1]::uuid, n[2]::integer, n[3]::integer, n[4]::integer, NULL)::flow_change
        FROM string_to_table(rtrim(notes, ';'), ';') note, string_to_array(note, ' ') n
        WHERE n[5] IS NULL OR n[4]::integer > 0 AND (
            SELECT g.open = g.stopped FROM flow_gates g WHERE g.flow_id = n[1]::uuid AND g.gate = n[5]::integer)
        UNION ALL SELECT ROW(t.flow_id, t.gate, 0, 0, NULL)::flow_change FROM unnest(tried) t));
    LOOP
        IF first.flow_id IS NOT NULL AND (i > cardinality(changes)
            OR (first.flow_id, -first.gate) <= ((changes[i]).flow_id, -(changes[i]).gate)) THEN
            changes := flow_sorted(changes[i:] || further);
            further := '{}';
            first := NULL;
            i := 1;
        END IF;
        EXIT WHEN i > cardinality(changes);
        change := changes[i];
        i := i + 1;
        UPDATE flow_gates g SET open = g.open + change.open, stopped = g.stopped + change.stopped
        WHERE g.flow_id = change.flow_id AND g.gate = change.gate
        RETURNING g.parent,
            CASE g.open - change.open WHEN 0 THEN 'done'
                WHEN g.stopped - change.stopped THEN 'over' ELSE 'open' END AS was,
            CASE g.open WHEN 0 THEN 'done' WHEN g.stopped THEN 'over' ELSE 'open' END AS is_now
        INTO turned;
        -- Who is retried before his turn counted as stopped only if his own gate was over.
        news := CASE WHEN turned.was = 'open' THEN '{}' ELSE ARRAY(
            SELECT ROW(t.flow_id, t.open, 0, t.stopped, NULL)::flow_change FROM unnest(tried) t
            WHERE t.flow_id = change.flow_id AND t.gate = change.gate) END;
        IF turned.was <> turned.is_now THEN
            news := news || ARRAY(SELECT f::flow_change FROM flow_turn(change.flow_id, change.gate, turned.parent,
                turned.was, turned.is_now, change.reason) f);
        ELSIF news <> '{}' THEN
            UPDATE jobs j SET waits = NULL, scheduled_at = greatest(j.scheduled_at, now())
            WHERE j.flow_id = change.flow_id AND j.flow_from = change.gate AND j.waits
            AND j.finished_at IS NULL AND (turned.is_now = 'done' OR j.flow_over);
        END IF;
        FOREACH change IN ARRAY news LOOP
            further := further || change;
            IF first.flow_id IS NULL
                OR (change.flow_id, -change.gate) < (first.flow_id, -first.gate) THEN
                first := change;
            END IF;
        END LOOP;
    END LOOP;
    PERFORM set_config('till.flow_notes', '', true);
    RETURN NULL;
END $$;

-- From 0039, without 6 of its lines: `many` behind a group without a callback, and `leads`; a flow's id that exists is told.
CREATE OR REPLACE FUNCTION till_flow(flow jsonb, name text DEFAULT NULL, id uuid DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    made CONSTANT uuid := coalesce(till_flow.id, new_job_id());
    title CONSTANT text := coalesce(till_flow.name, till_flow.flow->>'name');
    nodes_max CONSTANT integer := 50000;
    jobs_max CONSTANT integer := 20000;
    nodes flow_node[];
    problem text;
BEGIN
    IF till_flow.flow IS NULL THEN
        problem := 'a flow must be given';
    ELSIF pg_column_size(till_flow.flow) > 16 * 1024 * 1024 THEN
        problem := 'a flow is at most 16777216 bytes';
    ELSIF jsonb_typeof(till_flow.flow->'name') <> 'string'
        OR octet_length(title) NOT BETWEEN 1 AND 200 OR title ~ E'[\\u0001-\\u001f\\u007f-\\u009f]' THEN
        problem := 'the name of a flow is 1 to 200 bytes of printable text';
    ELSE
        nodes := ARRAY(SELECT n FROM flow_nodes(till_flow.flow) n LIMIT nodes_max + 1);
        IF cardinality(nodes) > nodes_max
            OR (SELECT count(*) FROM unnest(nodes) n WHERE n.kind = 'job') > jobs_max THEN
            problem := format('a flow has at most %s jobs', jobs_max);
        ELSE
            SELECT n.place || ' ' || p INTO problem
            FROM unnest(nodes) n, flow_node_problem(n.kind, n.node, cardinality(n.path)) p
            WHERE p IS NOT NULL ORDER BY n.path LIMIT 1;
            problem := coalesce(problem, flow_twice(nodes, 'id'), flow_twice(nodes, 'unique_key'));
        END IF;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF EXISTS (SELECT FROM flows f WHERE f.id = made) THEN
        RAISE EXCEPTION 'the id is that of a flow that exists: %', made
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'flows_pkey';
    END IF;
    -- What others have already is no mistake in the flow, but it has a place, too.
    SELECT format('%s "id" is that of a job that exists: %s', n.place, j.id) INTO problem
    FROM unnest(nodes) n JOIN jobs j ON j.id = (n.node->>'id')::uuid
    WHERE n.kind = 'job' AND n.node ? 'id' ORDER BY n.path LIMIT 1;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'unique_violation', CONSTRAINT = 'jobs_pkey';
    END IF;
    -- A key whose holder may not hold it any longer is free; one that is held refuses the flow.
    SELECT format('%s "unique_key" %s is held by job %s', n.place, n.node->'unique_key', r.holder) INTO problem
    FROM unnest(nodes) n, resolve_unique_key(n.node->>'unique_key', 'refuse') r
    WHERE n.kind = 'job' AND n.node ? 'unique_key' AND r.outcome = 'kept' ORDER BY n.path LIMIT 1;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'unique_violation', CONSTRAINT = 'jobs_unique_key';
    END IF;

    INSERT INTO flows (id, name, total)
    SELECT made, title, count(*) FROM unnest(nodes) n WHERE n.kind = 'job';

    -- Every gate but those that only gates lead to is where some job leaves.
    WITH leads AS (
        SELECT n.leave AS key, n.many FROM unnest(nodes) n WHERE n.kind = 'job'
    ), links AS (
        SELECT DISTINCT l.key AS key, trim_array(l.key, 2) || 2147483647 AS parent, true AS many
        FROM leads l WHERE l.key[cardinality(l.key) - 1] = 2147483646
        UNION ALL
        SELECT n.own, n.leave, true FROM unnest(nodes) n
        WHERE n.own IS NOT NULL AND NOT n.node ? 'callback'
    ), gates AS (
        SELECT a.key, (row_number() OVER (ORDER BY a.key DESC) - 1)::integer AS gate, a.open, a.leads, a.many
        FROM (SELECT u.key, count(*)::integer AS open, sum(u.leads)::integer AS leads, bool_or(u.many) AS many
            FROM (SELECT key, many, 1 AS leads FROM leads UNION ALL SELECT parent, many, 0 FROM links) u
            GROUP BY u.key) a
    ), made_gates AS (
        INSERT INTO flow_gates (flow_id, gate, parent, many, open, leads)
        SELECT made, g.gate, p.gate, g.many, g.open, g.leads
        FROM gates g LEFT JOIN links l ON l.key = g.key LEFT JOIN gates p ON p.key = l.parent
    )
    INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at,
        expires_at, headers, traceparent, retention_s, unique_key, limit_key,
        flow_id, flow_step, flow_from, flow_to, flow_over, waits)
    SELECT coalesce((n.node->>'id')::uuid, new_job_id()), n.node->>'task',
        coalesce(n.node->>'queue', t.queue, 'default'),
        CASE n.node->>'priority' WHEN 'high' THEN 0 WHEN 'low' THEN 2 WHEN 'normal' THEN 1
            ELSE coalesce((n.node->>'priority')::integer, 1) END,
        coalesce(n.node->'args', '[]'), coalesce(n.node->'kwargs', '{}'),
        coalesce((n.node->>'max_attempts')::integer, t.max_attempts, 10),
        coalesce((n.node->>'scheduled_at')::timestamptz, now()), (n.node->>'expires_at')::timestamptz,
        n.node->'headers', n.node->>'traceparent', (n.node->>'retention_s')::integer,
        n.node->>'unique_key', n.node->>'limit_key',
        made, row_number() OVER (ORDER BY n.path), f.gate, o.gate,
        CASE WHEN n.over THEN true END, CASE WHEN n.enter IS NOT NULL THEN true END
    FROM unnest(nodes) n JOIN gates o ON o.key = n.leave LEFT JOIN gates f ON f.key = n.enter
    LEFT JOIN tasks t ON t.name = n.node->>'task'
    WHERE n.kind = 'job' ORDER BY n.path;
    RETURN made;
END $$;
