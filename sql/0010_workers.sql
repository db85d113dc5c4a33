-- What people order of running workers: quiet, stop, restart, another size of the pool. Workers listen to
-- till_control and read what concerns them. It outlives them, their supervisor and an emptied Redis.

-- `whom` is a worker ("host:N"), a host (all workers on it) or "all". Of the rows that concern a worker the
-- nearest that says anything of a matter decides; an order to many takes back what nearer rows say of the
-- same matter. So the last word counts, whomever it was said to.
CREATE TABLE worker_orders (
    whom text PRIMARY KEY CHECK (length(whom) BETWEEN 1 AND 100 AND whom !~ '[[:space:][:cntrl:]]'),
    quiet boolean,      -- NULL: this row says nothing of it
    slots integer,      -- jobs at the same time; 0: as the worker was set up
    slots_min integer,  -- the worker finds its size itself within these
    slots_max integer,
    stop_at timestamptz,    -- processes whose supervisor is older end and are not replaced
    restart_at timestamptz, -- processes that are older end, one after the other, and are replaced
    ordered_at timestamptz NOT NULL DEFAULT now(),
    ordered_by text,
    CONSTRAINT worker_orders_size_check CHECK (slots BETWEEN 0 AND 256
        AND slots_min BETWEEN 1 AND 256 AND slots_max BETWEEN 1 AND 256 AND slots_min <= slots_max
        AND (slots_min IS NULL) = (slots_max IS NULL) AND (slots IS NULL OR slots_min IS NULL))
);

CREATE TRIGGER worker_orders_notify AFTER INSERT OR UPDATE OR DELETE ON worker_orders
    FOR EACH STATEMENT EXECUTE FUNCTION notify_control();
