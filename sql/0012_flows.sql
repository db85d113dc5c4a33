-- Flows: chains, groups with a callback, and any nesting of them. All jobs of a flow are rows from the
-- start; those whose turn has not come wait.
--
-- Between the jobs stand gates. A job leads to one gate (flow_to) and may come from one (flow_from), for
-- which it waits. In a chain there is a gate between each two; all of a group lead to one; gate 0 is the
-- end of the flow. A gate counts what leads to it and has not succeeded (`open`), and of these what has
-- ended otherwise (`stopped`). It is
--    done     open = 0: what waits for it runs;
--    over     open = stopped: nothing can come any more, what waits for it is REVOKED, except what was
--             to run in any case (flow_over);
--    neither  something runs or waits.
-- A job that was stopped before its turn counts as stopped once its own gate is over: so a gate is over
-- only when nothing at all runs that leads there, and gate 0 when nothing of the flow does. When a dead
-- job is tried again, its gate is not over any more, and what was stopped by it waits again.

CREATE TABLE flows (
    id uuid PRIMARY KEY DEFAULT new_job_id(),
    name text,
    total integer NOT NULL, -- jobs
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,  -- gate 0 is done or over; NULL again when a job is tried again
    cancelled_at timestamptz,
    outcome job_state, -- SUCCESS, FAILURE, REVOKED (cancelled)
    CONSTRAINT flows_finished_check CHECK ((outcome IS NULL) = (finished_at IS NULL))
);
CREATE INDEX flows_open ON flows (id) WHERE finished_at IS NULL;
CREATE INDEX flows_finished ON flows (finished_at) WHERE finished_at IS NOT NULL;

CREATE TABLE flow_gates (
    flow_id uuid NOT NULL REFERENCES flows ON DELETE CASCADE,
    gate integer NOT NULL,
    parent integer, -- a gate that this one leads to
    many boolean NOT NULL, -- the end of a group: what comes behind it gets an array of results
    open integer NOT NULL,
    stopped integer NOT NULL DEFAULT 0,
    PRIMARY KEY (flow_id, gate),
    CONSTRAINT flow_gates_check CHECK (stopped BETWEEN 0 AND open)
) WITH (fillfactor = 50);
CREATE INDEX flow_gates_parent ON flow_gates (flow_id, parent) WHERE parent IS NOT NULL;

-- NULL for jobs outside flows, which pay nothing.
ALTER TABLE jobs
    ADD COLUMN flow_id uuid,
    ADD COLUMN flow_step integer,  -- place in the flow as it was declared, from 1
    ADD COLUMN flow_from integer,  -- gate; NULL: may run at once
    ADD COLUMN flow_to integer,    -- gate
    ADD COLUMN flow_over boolean,  -- runs when the gate is done or over
    ADD COLUMN waits boolean;      -- true until the gate has opened, then NULL

CREATE INDEX jobs_flow ON jobs (flow_id, flow_step) WHERE flow_id IS NOT NULL;
CREATE INDEX jobs_flow_to ON jobs (flow_id, flow_to, flow_step) WHERE flow_id IS NOT NULL;
CREATE INDEX jobs_waits ON jobs (flow_id, flow_from) WHERE waits;

-- What waits for others is not due, however old, and nobody has to be told of it.
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (scheduled_at)
    WHERE finished_at IS NULL AND enqueued_at IS NULL AND waits IS NULL;
DROP TRIGGER jobs_notify ON jobs;
CREATE TRIGGER jobs_notify AFTER INSERT OR UPDATE ON jobs FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL AND NEW.state IN ('PENDING', 'RETRY') AND NEW.waits IS NULL)
    EXECUTE FUNCTION notify_jobs();

-- Nor may it run because somebody made it ready: a retry, or another job under its unique key.
CREATE FUNCTION flow_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET enqueued_at = NULL WHERE id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_flow_hold AFTER UPDATE OF enqueued_at ON jobs FOR EACH ROW
    WHEN (NEW.waits AND NEW.enqueued_at IS NOT NULL AND NEW.finished_at IS NULL)
    EXECUTE FUNCTION flow_hold();

-- ---- what follows from a job's end ----
--
-- Two triggers, so that a transaction that ends jobs of many flows takes the locks of all gates in one
-- order, and holds them only while it commits. The first notes what has happened in a setting of the
-- transaction; the second, deferred to the commit, takes all notes together. Their WHEN clauses keep
-- every other job out.

CREATE FUNCTION flow_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    notes text := coalesce(current_setting('till.flow_notes', true), '');
BEGIN
    IF notes <> 'busy' THEN -- else flow_advance() has done it, and counts it itself
        PERFORM set_config('till.flow_notes', notes || concat_ws(' ', NEW.flow_id, NEW.flow_to,
            CASE WHEN NEW.state = 'SUCCESS' THEN -1 ELSE 0 END,
            CASE WHEN NEW.state = 'SUCCESS' THEN 0 WHEN NEW.finished_at IS NULL THEN -1 ELSE 1 END,
            CASE WHEN NEW.waits THEN NEW.flow_from END) || ';', true);
    END IF;
    RETURN NULL;
END $$;

-- Whether a job was revoked because of others, and not by somebody.
CREATE FUNCTION flow_was_stopped(error text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT starts_with(error, 'depends on job ') OR error = 'its flow was cancelled'
$$;

-- The gate and those that lead to it.
CREATE FUNCTION flow_gates_of(flow uuid, last_gate integer) RETURNS integer[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE led(gate) AS (
            SELECT last_gate
            UNION ALL
            SELECT g.gate FROM led l JOIN flow_gates g ON g.flow_id = flow AND g.parent = l.gate
        ) SELECT l.gate FROM led l);
END $$;

-- Why nothing comes through a gate any more.
CREATE FUNCTION flow_reason(flow uuid, gate integer) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    leading_gates CONSTANT integer[] := flow_gates_of(flow, gate);
    job record;
BEGIN
    SELECT j.id, j.task, j.state, j.error INTO job FROM jobs j
    WHERE j.flow_id = flow AND j.flow_to = ANY (leading_gates) AND j.state IN ('FAILURE', 'REVOKED')
    ORDER BY j.state, j.flow_step LIMIT 1;
    RETURN CASE WHEN flow_was_stopped(job.error) THEN job.error
        ELSE format('depends on job %s (%s), which %s', job.id, job.task,
            CASE job.state WHEN 'FAILURE' THEN 'failed' ELSE 'was revoked' END) END;
END $$;

CREATE TYPE flow_change AS (flow_id uuid, gate integer, open integer, stopped integer, reason text);

-- One change a gate, in the order in which gates are locked.
CREATE FUNCTION flow_sorted(changes flow_change[]) RETURNS flow_change[] LANGUAGE plpgsql AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(c.flow_id, c.gate, sum(c.open), sum(c.stopped), min(c.reason))::flow_change
        FROM unnest(changes) c GROUP BY c.flow_id, c.gate ORDER BY c.flow_id, c.gate DESC);
END $$;

-- A gate has turned from open, done or over into another of these: what follows for the jobs that wait
-- for it, and for the gates that they lead to.
CREATE FUNCTION flow_turn(
    flow uuid, turned integer, parent integer, was text, is_now text, reason text
) RETURNS SETOF flow_change LANGUAGE plpgsql AS $$
DECLARE
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
        UPDATE jobs j SET state = 'PENDING', finished_at = NULL, error = NULL
        WHERE j.flow_id = flow AND j.flow_from = turned AND j.waits
        AND j.state = 'REVOKED' AND flow_was_stopped(j.error);
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

-- Jobs that somebody revoked (`sign` 1), or tries again (-1), while they waited. They count only if
-- their own gate is over already; if it is not, they are counted when it is. For a revoked one that
-- gate is not locked: whoever turns it waits for the job's row.
CREATE FUNCTION flow_waiting(flow uuid, gate integer, sign integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    g flow_gates;
BEGIN
    IF sign > 0 THEN
        SELECT * INTO g FROM flow_gates f WHERE f.flow_id = flow AND f.gate = flow_waiting.gate;
        RETURN g.open = g.stopped;
    END IF;
    SELECT * INTO g FROM flow_gates f WHERE f.flow_id = flow AND f.gate = flow_waiting.gate
    FOR NO KEY UPDATE;
    IF g.open = g.stopped THEN
        UPDATE jobs j SET waits = NULL, scheduled_at = greatest(j.scheduled_at, now())
        WHERE j.flow_id = flow AND j.flow_from = flow_waiting.gate AND j.waits
        AND j.finished_at IS NULL AND (g.open = 0 OR j.flow_over);
    END IF;
    RETURN g.open = g.stopped;
END $$;

-- Gates are locked in one order by everybody, so that two never wait for each other: flow by flow, and in
-- a flow along its way, which is down the numbers. What follows from a change is always further down.
CREATE FUNCTION flow_advance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    notes text := coalesce(current_setting('till.flow_notes', true), '');
    changes flow_change[]; -- sorted
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
    changes := flow_sorted(ARRAY(
        SELECT ROW(n[1]::uuid, n[2]::integer, n[3]::integer, n[4]::integer, NULL)::flow_change
        FROM string_to_table(rtrim(notes, ';'), ';') note, string_to_array(note, ' ') n
        WHERE n[5] IS NULL OR flow_waiting(n[1]::uuid, n[5]::integer, n[4]::integer)));
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
        CONTINUE WHEN turned.was = turned.is_now;
        FOR change IN SELECT * FROM flow_turn(change.flow_id, change.gate, turned.parent,
            turned.was, turned.is_now, change.reason)
        LOOP
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

CREATE TRIGGER jobs_flow_note AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (NEW.flow_id IS NOT NULL AND (NEW.finished_at IS NULL) <> (OLD.finished_at IS NULL))
    EXECUTE FUNCTION flow_note();
CREATE CONSTRAINT TRIGGER jobs_flow_advance AFTER UPDATE OF state ON jobs
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.flow_id IS NOT NULL AND (NEW.finished_at IS NULL) <> (OLD.finished_at IS NULL))
    EXECUTE FUNCTION flow_advance();

-- ---- declaring ----

-- A flow as a tree, one row a node, in the order in which it was written down; `chain`, `group` or a
-- job (kind is NULL for anything else). Gates have names here that sort along the way through the flow:
-- the place in the tree behind which they are, and something larger than what is in that place.
--   {2147483647}            the end
--   PATH||i||2147483647     in a chain, behind member i
--   PATH||1999999999||2147483647   of a group: before its callbacks, which are members 2000000000 and 1
--   ...||2147483646||k      part k of the gate ...||2147483647
CREATE TYPE flow_node AS (
    path integer[],
    place text,
    kind text,
    node jsonb,
    enter integer[],
    leave integer[],
    over boolean,  -- enters when the gate is over, too
    many boolean,  -- a member of a group, as the gate sees it
    own integer[]  -- of a group: the gate before its callbacks
);
CREATE FUNCTION flow_nodes(flow jsonb) RETURNS SETOF flow_node LANGUAGE sql IMMUTABLE AS $$
    WITH RECURSIVE walk AS (
        SELECT '{}'::integer[] AS path, 'flow' AS place, flow_nodes.flow AS node,
            NULL::integer[] AS enter, '{2147483647}'::integer[] AS leave, false AS over, false AS many
        UNION ALL
        SELECT w.path || n.at, w.place || n.place, n.node, n.enter, n.leave, n.over, n.many
        FROM walk w CROSS JOIN LATERAL (
            SELECT CASE jsonb_typeof(w.node->'chain') WHEN 'array' THEN w.node->'chain' END AS chain,
                CASE jsonb_typeof(w.node->'group') WHEN 'array' THEN w.node->'group' END AS members,
                CASE WHEN w.node ?| '{callback,on_complete}'
                    THEN w.path || '{1999999999,2147483647}'::integer[] ELSE w.leave END AS leave
            WHERE w.node ?| '{chain,group}' AND cardinality(w.path) < 8 OFFSET 0
        ) a CROSS JOIN LATERAL (
            -- A gate between each two.
            SELECT c.at::integer AS at, format('.chain[%s]', c.at - 1) AS place, c.node,
                CASE WHEN c.at = 1 THEN w.enter
                    ELSE w.path || ARRAY[(c.at - 1)::integer, 2147483647] END AS enter,
                CASE WHEN c.at = jsonb_array_length(a.chain) THEN w.leave
                    ELSE w.path || ARRAY[c.at::integer, 2147483647] END AS leave,
                w.over AND c.at = 1 AS over, w.many AND c.at = jsonb_array_length(a.chain) AS many
            FROM jsonb_array_elements(a.chain) WITH ORDINALITY c(node, at)
            UNION ALL
            -- All to one gate; when they are many, by way of 16, of which each is locked by fewer.
            SELECT m.at::integer, format('.group[%s]', m.at - 1), m.node, w.enter,
                CASE WHEN jsonb_array_length(a.members) > 256
                    THEN trim_array(a.leave, 1) || ARRAY[2147483646, (m.at % 16)::integer]
                    ELSE a.leave END, w.over, true
            FROM jsonb_array_elements(a.members) WITH ORDINALITY m(node, at)
            UNION ALL
            SELECT 2000000000, '.callback', w.node->'callback', a.leave, w.leave, false, w.many
            WHERE w.node ?& '{group,callback}'
            UNION ALL
            SELECT 2000000001, '.on_complete', w.node->'on_complete', a.leave, '{2147483647}', true, false
            WHERE w.node ?& '{group,on_complete}'
        ) n
    )
    SELECT w.path, w.place, CASE WHEN jsonb_typeof(w.node) <> 'object' THEN NULL
            WHEN w.node ? 'task' AND NOT w.node ?| '{chain,group}' THEN 'job'
            WHEN w.node ? 'chain' AND NOT w.node ?| '{task,group}' THEN 'chain'
            WHEN w.node ? 'group' AND NOT w.node ?| '{task,chain}' THEN 'group' END,
        w.node, w.enter, w.leave, w.over, w.many,
        CASE WHEN w.node ? 'group' AND w.node ?| '{callback,on_complete}'
            THEN w.path || '{1999999999,2147483647}'::integer[] END
    FROM walk w
$$;

-- What is wrong with a node, or NULL. The same rules as flow_check() in common/flow_spec.c.
CREATE FUNCTION flow_node_problem(kind text, node jsonb, depth integer) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    name_form CONSTANT text := '^[A-Za-z0-9_.-]+$';
    json_max CONSTANT integer := 256 * 1024;
    texts CONSTANT text[] := '{scheduled_at,expires_at,traceparent,unique_key,limit_key}';
    other text;
    more jsonb; -- what it has besides
BEGIN
    IF kind IS NULL THEN
        RETURN 'must be an object with one of "task", "chain" and "group"';
    END IF;
    more := node - CASE kind WHEN 'chain' THEN '{chain}'
        WHEN 'group' THEN '{group,callback,on_complete}'
        ELSE '{task,args,kwargs,queue,priority,max_attempts,scheduled_at,id,expires_at,headers,traceparent,retention_s,unique_key,limit_key}'
        END::text[];
    IF more <> '{}' AND (depth > 0 OR more - 'name' <> '{}') THEN
        SELECT min(key) INTO other FROM jsonb_object_keys(more) key WHERE depth > 0 OR key <> 'name';
        RETURN format('has "%s", which a %s cannot have', left(other, 40), kind);
    END IF;
    IF kind <> 'job' THEN
        RETURN CASE WHEN jsonb_typeof(node->kind) <> 'array' THEN format('"%s" must be an array', kind)
            WHEN node->kind = '[]' THEN format('"%s" is empty', kind)
            WHEN jsonb_array_length(node->kind) > 10000 THEN format('"%s" has more than 10000 members', kind)
            WHEN depth >= 8 THEN 'is nested deeper than 8 levels' END;
    END IF;
    IF jsonb_typeof(node->'task') <> 'string' OR jsonb_typeof(node->'args') <> 'array'
        OR jsonb_typeof(node->'kwargs') <> 'object' OR jsonb_typeof(node->'queue') <> 'string'
        OR jsonb_typeof(node->'max_attempts') <> 'number' OR jsonb_typeof(node->'id') <> 'string'
        OR jsonb_typeof(node->'retention_s') <> 'number' OR jsonb_typeof(node->'headers') <> 'object'
        OR node ?| texts THEN
        SELECT min(key) INTO other FROM jsonb_each(node) WHERE jsonb_typeof(value) <> CASE
            WHEN key IN ('max_attempts', 'retention_s') THEN 'number' WHEN key = 'args' THEN 'array'
            WHEN key IN ('kwargs', 'headers') THEN 'object'
            WHEN key = 'priority' THEN jsonb_typeof(value) ELSE 'string' END;
        IF other IS NOT NULL THEN
            RETURN format('"%s" is of the wrong type', other);
        END IF;
    END IF;
    RETURN CASE
        WHEN node->>'task' !~ name_form OR length(node->>'task') > 200 THEN '"task" is no name of a task'
        WHEN node->>'queue' !~ name_form OR length(node->>'queue') > 200 THEN
            '"queue" is no name of a queue'
        WHEN octet_length((node->'args')::text) > json_max THEN format('"args" exceeds %s bytes', json_max)
        WHEN octet_length((node->'kwargs')::text) > json_max THEN
            format('"kwargs" exceeds %s bytes', json_max)
        WHEN node->'priority' <> ALL ('{0,1,2,"\"high\"","\"normal\"","\"low\""}'::jsonb[]) THEN
            '"priority" is 0, 1, 2, high, normal or low'
        WHEN node->>'max_attempts' !~ '^[1-9][0-9]{0,8}$' THEN '"max_attempts" is at least 1'
        WHEN node->>'retention_s' !~ '^[1-9][0-9]{0,8}$' THEN '"retention_s" is at least 1'
        WHEN node->>'id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN '"id" is no UUID'
        WHEN node ?| '{unique_key,headers,traceparent,retention_s,expires_at,scheduled_at}' THEN
            job_options_problem(node->>'unique_key', node->'headers', node->>'traceparent',
                (node->>'retention_s')::bigint, (node->>'expires_at')::timestamptz,
                (node->>'scheduled_at')::timestamptz) END;
END $$;

-- SELECT till_flow('{"chain": [{"task": "a"}, {"group": [{"task": "b"}, {"task": "c"}],
--                    "callback": {"task": "d"}, "on_complete": {"task": "e"}}]}', 'nightly');
-- All jobs of a flow, in the transaction of the caller; the scheduler delivers them after its commit.
CREATE FUNCTION till_flow(flow jsonb, name text DEFAULT NULL, id uuid DEFAULT NULL)
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
    ELSIF octet_length(title) NOT BETWEEN 1 AND 200 OR title ~ E'[\\u0001-\\u001f\\u007f-\\u009f]' THEN
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
        END IF;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO flows (id, name, total)
    SELECT made, title, count(*) FROM unnest(nodes) n WHERE n.kind = 'job';
    -- A key whose holder may not hold it any longer is free; one that is held refuses the flow.
    PERFORM resolve_unique_key(n.node->>'unique_key', 'refuse')
    FROM unnest(nodes) n WHERE n.kind = 'job' AND n.node ? 'unique_key';

    -- Every gate but those that only gates lead to is where some job leaves.
    WITH leads AS (
        SELECT n.leave AS key, n.many FROM unnest(nodes) n WHERE n.kind = 'job'
    ), links AS (
        SELECT DISTINCT l.key AS key, trim_array(l.key, 2) || 2147483647 AS parent, true AS many
        FROM leads l WHERE l.key[cardinality(l.key) - 1] = 2147483646
        UNION ALL
        SELECT n.own, n.leave, n.many FROM unnest(nodes) n
        WHERE n.own IS NOT NULL AND NOT n.node ? 'callback'
    ), gates AS (
        SELECT a.key, (row_number() OVER (ORDER BY a.key DESC) - 1)::integer AS gate, a.open, a.many
        FROM (SELECT u.key, count(*)::integer AS open, bool_or(u.many) AS many
            FROM (SELECT key, many FROM leads UNION ALL SELECT parent, many FROM links) u
            GROUP BY u.key) a
    ), made_gates AS (
        INSERT INTO flow_gates (flow_id, gate, parent, many, open)
        SELECT made, g.gate, p.gate, g.many, g.open
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

CREATE FUNCTION till_chain(jobs jsonb, name text DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
    SELECT till_flow(jsonb_build_object('chain', till_chain.jobs), till_chain.name)
$$;

CREATE FUNCTION till_group(
    jobs jsonb, callback jsonb DEFAULT NULL, name text DEFAULT NULL, on_complete jsonb DEFAULT NULL
) RETURNS uuid LANGUAGE sql AS $$
    SELECT till_flow(jsonb_build_object('group', till_group.jobs)
        || CASE WHEN till_group.callback IS NULL THEN '{}'
            ELSE jsonb_build_object('callback', till_group.callback) END
        || CASE WHEN till_group.on_complete IS NULL THEN '{}'
            ELSE jsonb_build_object('on_complete', till_group.on_complete) END, till_group.name)
$$;
