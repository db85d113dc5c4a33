-- Whatever is wrong with a flow is told with its place and SQLSTATE 22023, as till_enqueue() tells it of a job: so
-- far a time that is none, a limit_key, an id or key given twice came as an error of the insert or of a cast. An id
-- that exists and a key that is held are 23505, as there, and have their place, too.

-- What is wrong with the times of a job in a flow, or NULL.
CREATE FUNCTION flow_time_problem(node jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    key text;
BEGIN
    FOREACH key IN ARRAY '{scheduled_at,expires_at}'::text[] LOOP
        IF NOT isfinite((node->>key)::timestamptz) THEN
            RETURN format('"%s" must be a time, not "%s"', key, left(node->>key, 40));
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN format('"%s" must be a time, not "%s"', key, left(node->>key, 40));
END $$;

-- The first member that has the same of what only one can have as a member before it, or NULL.
CREATE FUNCTION flow_twice(nodes flow_node[], key text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT format('%s "%s" is that of %s, too', v.place, key, v.first)
    FROM (SELECT n.place, n.path, first_value(n.place) OVER same AS first, row_number() OVER same AS number
        FROM unnest(nodes) n WHERE n.kind = 'job' AND n.node ? key
        WINDOW same AS (PARTITION BY CASE key WHEN 'id' THEN lower(n.node->>key) ELSE n.node->>key END
            ORDER BY n.path)) v
    WHERE v.number > 1 ORDER BY v.path LIMIT 1
$$;

CREATE OR REPLACE FUNCTION flow_node_problem(kind text, node jsonb, depth integer) RETURNS text
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
        WHEN node ? 'priority' AND NOT CASE jsonb_typeof(node->'priority')
            WHEN 'number' THEN node->>'priority' IN ('0', '1', '2')
            WHEN 'string' THEN node->>'priority' IN ('high', 'normal', 'low') ELSE false END THEN
            '"priority" is 0, 1, 2, high, normal or low'
        WHEN node->>'max_attempts' !~ '^[1-9][0-9]{0,8}$' THEN '"max_attempts" is at least 1'
        WHEN node->>'retention_s' !~ '^[1-9][0-9]{0,8}$' THEN '"retention_s" is at least 1'
        WHEN node->>'id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN '"id" is no UUID'
        WHEN octet_length(node->>'limit_key') NOT BETWEEN 1 AND 200 OR node->>'limit_key' ~ '[[:cntrl:]]' THEN
            '"limit_key" is 1 to 200 bytes of printable text'
        WHEN node ?| '{scheduled_at,expires_at}' AND flow_time_problem(node) IS NOT NULL THEN
            flow_time_problem(node)
        WHEN node ?| '{unique_key,headers,traceparent,retention_s,expires_at,scheduled_at}' THEN
            job_options_problem(node->>'unique_key', node->'headers', node->>'traceparent',
                (node->>'retention_s')::bigint, (node->>'expires_at')::timestamptz,
                (node->>'scheduled_at')::timestamptz) END;
END $$;

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
