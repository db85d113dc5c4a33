-- How long a task may run, as its author declares it and as people set it at run time. Beside `limits`, since
-- that one is looked at in each claim, and these concern only the worker that begins a run.

ALTER TABLE tasks
    ADD COLUMN soft_limit_ms bigint, -- told by the workers when they start
    ADD COLUMN hard_limit_ms bigint;

CREATE TABLE time_limits (
    task text PRIMARY KEY CHECK (task ~ '^[A-Za-z0-9_.-]+$' AND length(task) <= 200),
    soft_ms bigint CHECK (soft_ms BETWEEN 1 AND 31536000000), -- NULL: the task's own
    hard_ms bigint CHECK (hard_ms BETWEEN 1 AND 31536000000),
    set_at timestamptz NOT NULL DEFAULT now(),
    set_by text,
    CONSTRAINT time_limits_check CHECK (num_nonnulls(soft_ms, hard_ms) > 0 AND soft_ms <= hard_ms)
);
CREATE TRIGGER time_limits_notify AFTER INSERT OR UPDATE OR DELETE ON time_limits
    FOR EACH STATEMENT EXECUTE FUNCTION notify_control();
