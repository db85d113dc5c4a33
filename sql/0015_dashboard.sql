-- What people do at the dashboard, and what it remembers beside the jobs themselves.

-- Who did what, when, to what, and what came of it: written in the transaction of the action, so that
-- there is no action without its row.
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    role text NOT NULL,
    remote text NOT NULL,                 -- address that the request came from
    action text NOT NULL,                 -- task.revoke, queue.pause, ...
    target text NOT NULL DEFAULT '',      -- id or name of what it was done to
    outcome text NOT NULL CHECK (outcome IN ('done', 'nothing', 'refused', 'failed')),
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_target ON audit (target, id) WHERE target <> '';

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of audit are not changed' USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

-- Who is logged in. The key is a hash of what stands in the cookie.
CREATE TABLE dashboard_sessions (
    hash bytea PRIMARY KEY,
    username text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX dashboard_sessions_expires ON dashboard_sessions (expires_at);

-- Where a job that somebody ran again with other args comes from. Beside jobs, since nearly no job
-- has a line here.
CREATE TABLE job_replays (
    job_id uuid PRIMARY KEY REFERENCES jobs ON DELETE CASCADE,
    parent_id uuid NOT NULL,
    root_id uuid NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL
);
CREATE INDEX job_replays_parent ON job_replays (parent_id);

-- What happened in each minute, queue by queue: for the charts. Written by the leading scheduler when
-- the minute is over; latencies in seconds, NULL when nothing ended.
CREATE TABLE job_minutes (
    minute timestamptz NOT NULL,
    queue text NOT NULL,
    succeeded integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    retried integer NOT NULL DEFAULT 0,
    waiting integer NOT NULL DEFAULT 0, -- ready, not begun, at the end of the minute
    wait_p50 real, -- from ready to begun
    wait_p95 real,
    run_p50 real, -- from begun to ended
    run_p95 real,
    PRIMARY KEY (minute, queue)
);

-- Names of args and kwargs that nobody may see, as the author of the task declares them.
ALTER TABLE tasks ADD COLUMN secrets text[] NOT NULL DEFAULT '{}';
