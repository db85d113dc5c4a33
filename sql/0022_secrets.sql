-- Which arguments and results of a task nobody may see. The author of a task declares them (tasks.secrets,
-- written by its workers); for tasks that Till has never run, and for all of them ('*'), people do.

CREATE TABLE task_secrets (
    task text PRIMARY KEY CHECK (task = '*' OR task ~ '^[A-Za-z0-9_.-]{1,200}$'),
    keys text[] NOT NULL CHECK (cardinality(keys) BETWEEN 1 AND 64 AND array_position(keys, NULL) IS NULL),
    declared_at timestamptz NOT NULL DEFAULT now()
);

-- All of a task's secret names as a JSON array; NULL when it has none.
CREATE FUNCTION job_secrets(task text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_json(array_agg(DISTINCT k))::text FROM (
        SELECT unnest(t.secrets) FROM tasks t WHERE t.name = $1
        UNION ALL SELECT unnest(s.keys) FROM task_secrets s WHERE s.task IN ($1, '*')) x (k)
$$;
