-- Schedules: jobs that come by the clock, and what became of each of their times.

-- The file of schedules is the truth about the first half of a row, the scheduler about the second.
CREATE TABLE schedules (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.-]{1,100}$'),
    cron text NOT NULL,
    zone text NOT NULL,
    task text NOT NULL,
    args jsonb NOT NULL DEFAULT '[]',
    kwargs jsonb NOT NULL DEFAULT '{}',
    queue text, -- NULL: as the task declares
    overlap text NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue', 'allow')),
    catch_up_s bigint NOT NULL DEFAULT 86400 CHECK (catch_up_s >= 0),
    catch_up_runs integer NOT NULL DEFAULT 1 CHECK (catch_up_runs >= 1),
    jitter_s bigint NOT NULL DEFAULT 0 CHECK (jitter_s >= 0),
    source text NOT NULL,      -- the file
    source_hash text NOT NULL, -- of all of it
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- Every tick up to this one has its row in schedule_runs, or was none: the next is sought after it.
    decided_to timestamptz NOT NULL DEFAULT date_trunc('second', now()),
    next_tick timestamptz, -- NULL: to be worked out
    next_run timestamptz,  -- next_tick and the jitter
    waiting_tick timestamptz, -- overlap 'queue': runs when the run before it is over
    problem text, -- why it does not run
    paused_at timestamptz,
    paused_by text,
    CONSTRAINT schedules_paused_check CHECK (paused_at IS NOT NULL OR paused_by IS NULL),
    CONSTRAINT schedules_next_check CHECK ((next_tick IS NULL) = (next_run IS NULL))
);

-- The tick is the planned time. Whoever inserts its row has it: no two jobs of one tick can be. Rows
-- outlive their schedule.
CREATE TABLE schedule_runs (
    schedule text NOT NULL,
    tick timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('fired', 'skipped', 'missed', 'waiting')),
    reason text,
    ticks bigint NOT NULL DEFAULT 1 CHECK (ticks >= 1), -- of a missed one: how many it stands for
    by_hand boolean NOT NULL DEFAULT false,
    job_id uuid,
    is_open boolean NOT NULL DEFAULT false, -- false: the job is finished, and somebody has looked
    job_state job_state, -- how it ended; NULL: it was gone by then
    decided_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, tick),
    CONSTRAINT schedule_runs_fired_check CHECK ((outcome = 'fired') = (job_id IS NOT NULL)),
    CONSTRAINT schedule_runs_open_check CHECK (NOT is_open OR outcome = 'fired')
);
-- Runs whose job may still be going on.
CREATE INDEX schedule_runs_open ON schedule_runs (schedule) WHERE is_open;

-- A tick that has fired stays so, with its job; a missed one may still fire, when the clock was wrong.
CREATE TRIGGER schedule_runs_transition BEFORE UPDATE OF outcome, job_id ON schedule_runs FOR EACH ROW
    WHEN ((OLD.outcome = 'fired' AND (NEW.outcome <> 'fired' OR NEW.job_id <> OLD.job_id))
        OR (OLD.outcome = 'skipped' AND NEW.outcome <> 'skipped'))
    EXECUTE FUNCTION refuse_transition('outcome');

-- The leading scheduler listens to till_jobs.
CREATE FUNCTION notify_schedules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('till_jobs', '');
    RETURN NULL;
END $$;
CREATE TRIGGER schedules_notify AFTER UPDATE OF paused_at ON schedules FOR EACH ROW
    WHEN (OLD.paused_at IS NOT NULL AND NEW.paused_at IS NULL) EXECUTE FUNCTION notify_schedules();

-- The jobs of a payment, for its reconciliation. Neither key nor condition is changed by a claim.
CREATE INDEX jobs_of_payment ON jobs ((args ->> 0))
    WHERE task IN ('payments.tasks.process_payment', 'payments.tasks.reconcile_payment');

-- Orders that wait to be paid, oldest first: those that may expire.
CREATE INDEX orders_unpaid ON orders (created_at) WHERE order_status IN ('pending', 'payment_failed');

-- What was sold, one row a payment that took money; the daily report adds it up.
CREATE VIEW sales AS
    SELECT p.id AS payment_id, p.order_id, p.paid_at, p.currency, p.amount,
        p.status = 'refunded' AS is_refunded,
        (SELECT sum(i.quantity) FROM order_items i WHERE i.order_id = p.order_id) AS items
    FROM payments p WHERE p.status IN ('succeeded', 'refunded');
CREATE INDEX payments_paid_at ON payments (paid_at) WHERE paid_at IS NOT NULL;

-- Who gets the report of a day: the row is made with the job of the mail, so there is one for each.
CREATE TABLE sales_reports (
    day date NOT NULL,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    job_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, user_id)
);
