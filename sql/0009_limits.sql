-- Limits: how many jobs run at the same time, and how many in a time. Those of queues are kept here and
-- applied where the streams are read; those of tasks and keys are applied here, at the claim: a job that
-- may not run yet is parked and comes back when there is room, oldest first.

CREATE TABLE limits (
    scope text NOT NULL CHECK (scope IN ('queue', 'task', 'key')),
    name text NOT NULL, -- of a key: 'tenant:7', or 'tenant:*' for all that begin so, each for itself
    concurrency integer CHECK (concurrency BETWEEN 1 AND 1000000),
    rate integer CHECK (rate BETWEEN 1 AND 1000000), -- jobs in per_seconds
    per_seconds integer CHECK (per_seconds IN (1, 60, 3600)),
    burst integer CHECK (burst BETWEEN 1 AND 1000000), -- at most so many of them at once
    set_at timestamptz NOT NULL DEFAULT now(),
    set_by text,
    PRIMARY KEY (scope, name),
    CONSTRAINT limits_name_check CHECK (octet_length(name) BETWEEN 1 AND 200
        AND CASE scope WHEN 'key' THEN name !~ '[[:cntrl:]]' ELSE name ~ '^[A-Za-z0-9_.-]+$' END),
    CONSTRAINT limits_any_check CHECK (concurrency IS NOT NULL OR rate IS NOT NULL),
    CONSTRAINT limits_tokens_check CHECK ((rate IS NULL) = (per_seconds IS NULL)
        AND (rate IS NULL) = (burst IS NULL))
);
CREATE TRIGGER limits_notify AFTER INSERT OR UPDATE OR DELETE ON limits
    FOR EACH STATEMENT EXECUTE FUNCTION notify_control();

-- A bucket is what a limit counts: 'key:tenant:7', 'task:mail.send'. Locking its row makes it one's own.
CREATE TABLE limit_buckets (
    bucket text PRIMARY KEY,
    full_at timestamptz,  -- when it has all its tokens again: the generic cell rate algorithm
    look_at timestamptz,  -- when a token comes for one that is parked
    used_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE INDEX limit_buckets_look ON limit_buckets (look_at) WHERE look_at IS NOT NULL;

-- Who has a place in a bucket: jobs that run, and jobs that were let go and are on their way to a worker.
CREATE TABLE limit_places (
    job_id uuid NOT NULL,
    bucket text NOT NULL,
    running boolean NOT NULL,
    PRIMARY KEY (job_id, bucket)
);
CREATE INDEX limit_places_bucket ON limit_places (bucket, running);

-- Buckets in which a place became free; the scheduler takes the rows away.
CREATE TABLE limit_freed (bucket text NOT NULL);

-- No index here names a column that a claim changes, and a job without a limit has NULL everywhere.
ALTER TABLE jobs
    ADD COLUMN limit_key text,
    ADD COLUMN limited boolean, -- it may have places
    ADD COLUMN parked_on text;  -- the bucket it waits for, while enqueued_at is NULL
CREATE INDEX jobs_parked ON jobs (parked_on, created_at, id)
    WHERE parked_on IS NOT NULL AND enqueued_at IS NULL AND finished_at IS NULL;

CREATE FUNCTION refuse_limit_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'limit_key is 1 to 200 bytes of printable text'
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER jobs_limit_key_check BEFORE INSERT OR UPDATE OF limit_key ON jobs
    FOR EACH ROW WHEN (NEW.limit_key IS NOT NULL AND (octet_length(NEW.limit_key) NOT BETWEEN 1 AND 200
        OR NEW.limit_key ~ '[[:cntrl:]]'))
    EXECUTE FUNCTION refuse_limit_key();

-- The limit of a bucket, or NULL: of several for a key, the exact one, then the longest beginning.
CREATE FUNCTION limit_of(bucket text) RETURNS limits LANGUAGE sql STABLE AS $$
    SELECT l FROM limits l WHERE CASE WHEN starts_with(limit_of.bucket, 'task:')
        THEN l.scope = 'task' AND l.name = substr(limit_of.bucket, 6)
        ELSE l.scope = 'key' AND (l.name = substr(limit_of.bucket, 5)
            OR (right(l.name, 1) = '*' AND starts_with(substr(limit_of.bucket, 5), left(l.name, -1))))
        END
    ORDER BY l.name = substr(limit_of.bucket, 5) DESC, length(l.name) DESC LIMIT 1
$$;

-- How many more jobs may begin, and when the next token comes if that is what is missing. Tokens that
-- jobs on their way will need are not given twice. The caller has the bucket locked.
CREATE FUNCTION limit_room(bucket text, OUT room integer, OUT due_at timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    is_limit limits := limit_of(limit_room.bucket);
    at timestamptz := clock_timestamp();
    places bigint;
    coming bigint;
    cost double precision;
    debt double precision;
BEGIN
    room := 1000000;
    IF is_limit.scope IS NULL THEN
        RETURN;
    END IF;
    SELECT count(*), count(*) FILTER (WHERE NOT p.running) INTO places, coming
    FROM limit_places p WHERE p.bucket = limit_room.bucket;
    IF is_limit.concurrency IS NOT NULL THEN
        room := is_limit.concurrency - places;
    END IF;
    IF is_limit.rate IS NOT NULL THEN
        cost := is_limit.per_seconds::double precision / is_limit.rate;
        SELECT extract(epoch FROM b.full_at - at) INTO debt
        FROM limit_buckets b WHERE b.bucket = limit_room.bucket;
        debt := least(greatest(coalesce(debt, 0), 0), is_limit.burst * cost);
        IF room > 0 AND is_limit.burst - debt / cost - coming < 0.999999 THEN
            due_at := at + (debt - (is_limit.burst - coming - 1) * cost) * interval '1 second';
        END IF;
        room := least(room, floor(is_limit.burst - debt / cost + 0.000001) - coming);
    END IF;
END $$;

-- Run before the claim, in its transaction: of these jobs, those that have no room yet are parked, so
-- that the claim does not find them; the others get their places and tokens. A key is asked first, then
-- the task, and whoever waits for the task keeps its place with the key. Whoever comes while others are
-- parked for the same bucket is parked behind them.
CREATE FUNCTION till_admit(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    names text[];
    rooms integer[];
    rates integer[];       -- tokens that are taken, by bucket
    concurrent boolean[];  -- whether a bucket counts those that run
    is_limit limits;
    job record;
    found record;
    wanted text;
    i integer;
    blocked text;
    going text[];
    went uuid[] := '{}';         -- jobs that may begin
    places_of uuid[] := '{}';    -- places, in three arrays
    places_in text[] := '{}';
    places_run boolean[] := '{}';
    parked uuid[] := '{}';
    parked_in text[] := '{}';
BEGIN
    -- Rows in the order of their ids, then buckets in that of their names: like everybody else.
    PERFORM 1 FROM jobs j WHERE j.id = ANY (ids) ORDER BY j.id FOR NO KEY UPDATE;
    UPDATE jobs j SET parked_on = NULL -- it waited, and something else brought it here
    WHERE j.id = ANY (ids) AND j.parked_on IS NOT NULL AND j.enqueued_at IS NOT NULL;
    names := ARRAY(
        SELECT DISTINCT b.name FROM jobs j,
            LATERAL (VALUES ('key:' || j.limit_key), ('task:' || j.task)) b (name)
        WHERE j.id = ANY (ids) AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
            AND b.name IS NOT NULL AND (limit_of(b.name)).scope IS NOT NULL
        ORDER BY 1);
    IF cardinality(names) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO limit_buckets AS b (bucket) SELECT n FROM unnest(names) n ORDER BY n
    ON CONFLICT (bucket) DO UPDATE SET used_at = clock_timestamp();

    FOR i IN 1 .. cardinality(names) LOOP
        is_limit := limit_of(names[i]);
        concurrent[i] := is_limit.concurrency IS NOT NULL;
        rates[i] := 0;
        IF EXISTS (SELECT FROM jobs j WHERE j.parked_on = names[i] AND j.enqueued_at IS NULL
            AND j.finished_at IS NULL) THEN
            rooms[i] := 0;
        ELSE
            rooms[i] := (limit_room(names[i])).room;
        END IF;
    END LOOP;

    FOR job IN
        SELECT j.id, ARRAY['key:' || j.limit_key, 'task:' || j.task] AS buckets,
            ARRAY(SELECT p.bucket FROM limit_places p WHERE j.limited AND p.job_id = j.id) AS has
        FROM jobs j
        WHERE j.id = ANY (ids) AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
            AND j.attempt < j.max_attempts AND (j.expires_at IS NULL OR j.expires_at > now())
        ORDER BY j.created_at, j.id
    LOOP
        blocked := NULL;
        going := '{}';
        FOREACH wanted IN ARRAY job.buckets LOOP
            i := array_position(names, wanted);
            CONTINUE WHEN i IS NULL;
            IF wanted <> ALL (job.has) THEN
                IF rooms[i] <= 0 THEN
                    blocked := wanted;
                    EXIT;
                END IF;
                rooms[i] := rooms[i] - 1;
            END IF;
            going := going || wanted;
        END LOOP;
        IF blocked IS NOT NULL THEN
            parked := parked || job.id;
            parked_in := parked_in || blocked;
        ELSIF cardinality(going) > 0 THEN
            went := went || job.id;
        END IF;
        FOREACH wanted IN ARRAY going LOOP
            i := array_position(names, wanted);
            IF blocked IS NULL THEN
                rates[i] := rates[i] + 1;
            END IF;
            places_of := places_of || job.id;
            places_in := places_in || wanted;
            places_run := places_run || (CASE WHEN blocked IS NULL THEN concurrent[i] END);
        END LOOP;
    END LOOP;

    -- A place that nothing counts any more (NULL above: it only waits; false: a rate alone) goes.
    INSERT INTO limit_places AS p (job_id, bucket, running)
    SELECT n.job_id, n.bucket, coalesce(n.running, false)
    FROM unnest(places_of, places_in, places_run) n (job_id, bucket, running)
    WHERE n.running IS DISTINCT FROM false
    ON CONFLICT (job_id, bucket) DO UPDATE SET running = excluded.running;
    DELETE FROM limit_places p
    USING unnest(places_of, places_in, places_run) n (job_id, bucket, running)
    WHERE p.job_id = n.job_id AND p.bucket = n.bucket AND n.running = false;
    UPDATE jobs j SET limited = true WHERE j.id = ANY (went) AND j.id = ANY (places_of);
    UPDATE jobs j SET parked_on = n.bucket, enqueued_at = NULL,
        limited = CASE WHEN n.id = ANY (places_of) THEN true ELSE j.limited END,
        scheduled_at = clock_timestamp() + interval '5 minutes' -- should nobody let it go before
    FROM unnest(parked, parked_in) n (id, bucket) WHERE j.id = n.id;

    FOR i IN 1 .. cardinality(names) LOOP
        IF rates[i] > 0 THEN
            is_limit := limit_of(names[i]);
            UPDATE limit_buckets b
            SET full_at = least(greatest(b.full_at, clock_timestamp()), clock_timestamp()
                    + is_limit.burst * is_limit.per_seconds * interval '1 second' / is_limit.rate)
                + rates[i] * is_limit.per_seconds * interval '1 second' / is_limit.rate
            WHERE b.bucket = names[i] AND is_limit.rate IS NOT NULL;
        END IF;
        -- Room that is there belongs to those who were parked before: they are to be let go now.
        IF names[i] = ANY (parked_in) THEN
            SELECT * INTO found FROM limit_room(names[i]);
            UPDATE limit_buckets b SET look_at = CASE WHEN found.room > 0 THEN clock_timestamp()
                ELSE found.due_at END
            WHERE b.bucket = names[i];
        END IF;
    END LOOP;
END $$;

-- Lets one bucket's parked jobs go, oldest first, as many as there is room for, at most `most`. Those of
-- a key whose task has a limit, too, go on to wait for that: a row with `next`.
CREATE FUNCTION release_bucket(name text, most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, next text) LANGUAGE plpgsql AS $$
DECLARE
    found record;
    has_limit boolean := (limit_of(release_bucket.name)).scope IS NOT NULL;
    given integer;
    next_look timestamptz;
BEGIN
    INSERT INTO limit_buckets AS b (bucket) VALUES (release_bucket.name)
    ON CONFLICT (bucket) DO UPDATE SET used_at = clock_timestamp();
    SELECT * INTO found FROM limit_room(release_bucket.name);
    given := least(found.room, most);
    IF given > 0 THEN
        RETURN QUERY
            WITH picked AS (
                SELECT j.id, CASE WHEN starts_with(release_bucket.name, 'key:')
                    AND (limit_of('task:' || j.task)).scope IS NOT NULL
                    THEN 'task:' || j.task END AS next
                FROM jobs j
                WHERE j.parked_on = release_bucket.name AND j.enqueued_at IS NULL
                    AND j.finished_at IS NULL AND j.state IN ('PENDING', 'RETRY')
                ORDER BY j.created_at, j.id LIMIT given FOR NO KEY UPDATE SKIP LOCKED
            ), placed AS (
                INSERT INTO limit_places (job_id, bucket, running)
                SELECT p.id, release_bucket.name, false FROM picked p WHERE has_limit
                ON CONFLICT DO NOTHING
            )
            UPDATE jobs j SET parked_on = p.next, limited = true,
                enqueued_at = CASE WHEN p.next IS NULL THEN clock_timestamp() END
            FROM picked p WHERE j.id = p.id
            RETURNING j.id, j.queue, j.priority, p.next;
        GET DIAGNOSTICS given = ROW_COUNT;
    END IF;
    IF given = most THEN
        INSERT INTO limit_freed VALUES (release_bucket.name); -- there may be more: go on next time
    END IF;
    SELECT * INTO found FROM limit_room(release_bucket.name);
    -- Where there is room left, somebody has just locked the rows: look again soon.
    next_look := CASE WHEN found.room > 0 THEN clock_timestamp() + interval '1 second'
        ELSE found.due_at END;
    UPDATE limit_buckets b SET look_at = CASE WHEN EXISTS (
            SELECT FROM jobs j WHERE j.parked_on = release_bucket.name AND j.enqueued_at IS NULL
                AND j.finished_at IS NULL) THEN next_look END
    WHERE b.bucket = release_bucket.name;
END $$;

-- Lets parked jobs go where a place or a token has become free; the caller puts them into their streams.
-- The last row has no id and tells in how many microseconds to look again (NULL: when told).
CREATE FUNCTION till_release_parked(most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, wait_us bigint) LANGUAGE plpgsql AS $$
DECLARE
    keys text[];
    tasks text[];
    name text;
    job record;
    count integer := 0;
BEGIN
    IF EXISTS (SELECT FROM limit_freed)
        OR EXISTS (SELECT FROM limit_buckets b WHERE b.look_at <= clock_timestamp()) THEN
        WITH freed AS (
            DELETE FROM limit_freed f WHERE f.ctid = ANY (ARRAY(SELECT ctid FROM limit_freed LIMIT 1000))
            RETURNING f.bucket
        ), due AS (
            SELECT bucket FROM freed
            UNION SELECT b.bucket FROM limit_buckets b WHERE b.look_at <= clock_timestamp()
        )
        SELECT array_agg(bucket ORDER BY bucket) FILTER (WHERE starts_with(bucket, 'key:')),
            array_agg(bucket) FILTER (WHERE starts_with(bucket, 'task:')) INTO keys, tasks FROM due;
        -- Keys first: whom they let go may have to wait for its task. Each in the order of names.
        FOREACH name IN ARRAY coalesce(keys, '{}') LOOP
            IF count >= most THEN
                INSERT INTO limit_freed VALUES (name);
                CONTINUE;
            END IF;
            FOR job IN SELECT * FROM release_bucket(name, most - count) LOOP
                count := count + 1;
                IF job.next IS NOT NULL THEN
                    tasks := tasks || job.next;
                    CONTINUE;
                END IF;
                id := job.id; queue := job.queue; priority := job.priority;
                RETURN NEXT;
            END LOOP;
        END LOOP;
        FOR name IN SELECT DISTINCT t FROM unnest(tasks) t ORDER BY t LOOP
            IF count >= most THEN
                INSERT INTO limit_freed VALUES (name);
                CONTINUE;
            END IF;
            FOR job IN SELECT * FROM release_bucket(name, most - count) LOOP
                count := count + 1;
                id := job.id; queue := job.queue; priority := job.priority;
                RETURN NEXT;
            END LOOP;
        END LOOP;
    END IF;
    id := NULL; queue := ''; priority := 0;
    -- greatest() alone would make 0 of NULL.
    SELECT CASE WHEN EXISTS (SELECT FROM limit_freed) THEN 0 WHEN min(b.look_at) IS NOT NULL THEN
        (greatest(extract(epoch FROM min(b.look_at) - clock_timestamp()), 0) * 1000000)::bigint END
    INTO wait_us FROM limit_buckets b WHERE b.look_at IS NOT NULL;
    RETURN NEXT;
END $$;

-- A job that stops running, or ends before it began, gives its places back, whoever wrote that. The WHEN
-- clauses cost a job without a limit nothing.
CREATE FUNCTION give_places_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (DELETE FROM limit_places p WHERE p.job_id = OLD.id RETURNING p.bucket)
    INSERT INTO limit_freed (bucket) SELECT bucket FROM gone;
    IF FOUND THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_limit_left AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.limited IS NOT NULL AND NEW.state <> OLD.state AND NEW.state <> 'STARTED')
    EXECUTE FUNCTION give_places_back();
CREATE TRIGGER jobs_limit_deleted AFTER DELETE ON jobs FOR EACH ROW
    WHEN (OLD.limited IS NOT NULL) EXECUTE FUNCTION give_places_back();

-- Jobs that run under a limit that was not known when they began get their places, and places of jobs
-- that are over go: so whatever happened, the count is that of the table of jobs.
CREATE FUNCTION till_count_places() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM limits l WHERE l.scope <> 'queue' AND l.concurrency IS NOT NULL)
        AND NOT EXISTS (SELECT FROM limit_places) THEN
        RETURN;
    END IF;
    WITH running AS (
        SELECT j.id, b.bucket FROM started_jobs s JOIN jobs j ON j.id = s.id,
            LATERAL (VALUES ('key:' || j.limit_key), ('task:' || j.task)) b (bucket)
        WHERE b.bucket IS NOT NULL AND (limit_of(b.bucket)).concurrency IS NOT NULL
            AND NOT EXISTS (SELECT FROM limit_places p WHERE p.job_id = j.id AND p.bucket = b.bucket)
    ), held AS (
        SELECT j.id FROM jobs j WHERE j.id IN (SELECT r.id FROM running r) AND j.state = 'STARTED'
        ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED
    ), marked AS (
        UPDATE jobs j SET limited = true FROM held h WHERE j.id = h.id
    )
    INSERT INTO limit_places (job_id, bucket, running)
    SELECT r.id, r.bucket, true FROM running r JOIN held h ON h.id = r.id ON CONFLICT DO NOTHING;
    WITH gone AS (
        DELETE FROM limit_places p WHERE NOT EXISTS (SELECT FROM jobs j WHERE j.id = p.job_id
            AND j.finished_at IS NULL) RETURNING p.bucket
    )
    INSERT INTO limit_freed (bucket) SELECT bucket FROM gone;
    DELETE FROM limit_buckets b WHERE b.used_at < now() - interval '1 hour'
        AND (b.full_at IS NULL OR b.full_at < now())
        AND NOT EXISTS (SELECT FROM limit_places p WHERE p.bucket = b.bucket)
        AND NOT EXISTS (SELECT FROM jobs j WHERE j.parked_on = b.bucket AND j.enqueued_at IS NULL
            AND j.finished_at IS NULL);
END $$;

-- Another limit, or none: whoever is parked for it is looked at anew.
CREATE FUNCTION review_limit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed limits := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM till_count_places();
    INSERT INTO limit_freed (bucket)
    SELECT DISTINCT j.parked_on FROM jobs j
    WHERE j.parked_on IS NOT NULL AND j.enqueued_at IS NULL AND j.finished_at IS NULL
        AND (j.parked_on = changed.scope || ':' || changed.name
            OR (changed.scope = 'key' AND right(changed.name, 1) = '*'
                AND starts_with(j.parked_on, 'key:' || left(changed.name, -1))));
    PERFORM pg_notify('till_jobs', '');
    RETURN NULL;
END $$;
CREATE TRIGGER limits_review AFTER INSERT OR UPDATE OR DELETE ON limits
    FOR EACH ROW EXECUTE FUNCTION review_limit();

-- SELECT till_enqueue('mail.send', '[42]', unique_key => 'mail 42', limit_key => 'tenant:7');
-- NULL in any place but the task is what leaving it out is: queue and attempts then come from the
-- task's declaration. The same rules and limits as jobs_insert() in common/jobs.c.
DROP FUNCTION till_enqueue(text, jsonb, jsonb, text, integer, timestamptz, integer, uuid);
CREATE FUNCTION till_enqueue(
    task text,
    args jsonb DEFAULT NULL,
    kwargs jsonb DEFAULT NULL,
    queue text DEFAULT NULL,
    priority integer DEFAULT NULL,
    scheduled_at timestamptz DEFAULT NULL,
    max_attempts integer DEFAULT NULL,
    id uuid DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    headers jsonb DEFAULT NULL,
    traceparent text DEFAULT NULL,
    retention interval DEFAULT NULL,
    unique_key text DEFAULT NULL,
    unique_ttl interval DEFAULT NULL,
    on_conflict text DEFAULT NULL,
    limit_key text DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    name_form CONSTANT text := '^[A-Za-z0-9_.-]+$';
    json_max CONSTANT integer := 256 * 1024;
    keeps_s CONSTANT bigint := ceil(extract(epoch FROM till_enqueue.retention));
    problem text;
    job jobs;
    met record;
BEGIN
    problem := CASE
        WHEN till_enqueue.task IS NULL THEN 'the name of a task must be given'
        WHEN till_enqueue.task !~ name_form OR length(till_enqueue.task) > 200 THEN
            format('"%s" is no name of a task', left(till_enqueue.task, 40))
        WHEN till_enqueue.queue !~ name_form OR length(till_enqueue.queue) > 200 THEN
            format('"%s" is no name of a queue', left(till_enqueue.queue, 40))
        WHEN jsonb_typeof(till_enqueue.args) <> 'array' THEN
            format('args of a job must be a JSON array, not %s', jsonb_typeof(till_enqueue.args))
        WHEN jsonb_typeof(till_enqueue.kwargs) <> 'object' THEN
            format('kwargs of a job must be a JSON object, not %s', jsonb_typeof(till_enqueue.kwargs))
        WHEN octet_length(till_enqueue.args::text) > json_max THEN
            format('args of a job must be at most %s bytes', json_max)
        WHEN octet_length(till_enqueue.kwargs::text) > json_max THEN
            format('kwargs of a job must be at most %s bytes', json_max)
        WHEN till_enqueue.priority NOT BETWEEN 0 AND 2 THEN
            format('priority is 0 (high), 1 (normal) or 2 (low), not %s', till_enqueue.priority)
        WHEN till_enqueue.max_attempts < 1 THEN
            format('max_attempts is at least 1, not %s', till_enqueue.max_attempts)
        WHEN NOT isfinite(till_enqueue.scheduled_at) THEN
            format('scheduled_at must be a time, not %s', till_enqueue.scheduled_at)
        WHEN till_enqueue.unique_key IS NULL AND
            (till_enqueue.unique_ttl IS NOT NULL OR till_enqueue.on_conflict IS NOT NULL) THEN
            'unique_ttl and on_conflict belong to a unique_key'
        WHEN till_enqueue.unique_ttl NOT BETWEEN interval '1 second' AND interval '10 years' THEN
            'unique_ttl is 1 second to 10 years'
        WHEN till_enqueue.on_conflict NOT IN ('keep', 'replace', 'refuse') THEN
            format('on_conflict is keep, replace or refuse, not "%s"', left(till_enqueue.on_conflict, 40))
        WHEN octet_length(till_enqueue.limit_key) NOT BETWEEN 1 AND 200
            OR till_enqueue.limit_key ~ '[[:cntrl:]]' THEN
            'limit_key is 1 to 200 bytes of printable text'
    END;
    -- A version that is not known yet is understood as far as version 00 goes (W3C, 2.2.5).
    IF till_enqueue.traceparent ~ '^(?!00|ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}($|-)' THEN
        till_enqueue.traceparent := '00' || substr(till_enqueue.traceparent, 3, 53);
    END IF;
    problem := coalesce(problem, job_options_problem(till_enqueue.unique_key, till_enqueue.headers,
        till_enqueue.traceparent, keeps_s, till_enqueue.expires_at, till_enqueue.scheduled_at));
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'invalid_parameter_value';
    END IF;

    job.id := coalesce(till_enqueue.id, new_job_id());
    job.task := till_enqueue.task;
    SELECT coalesce(till_enqueue.queue, t.queue, 'default'),
        coalesce(till_enqueue.max_attempts, t.max_attempts, 10)
    INTO job.queue, job.max_attempts
    FROM (SELECT 1) one LEFT JOIN tasks t ON t.name = till_enqueue.task;
    job.priority := coalesce(till_enqueue.priority, 1);
    job.args := coalesce(till_enqueue.args, '[]');
    job.kwargs := coalesce(till_enqueue.kwargs, '{}');
    job.scheduled_at := coalesce(till_enqueue.scheduled_at, now());
    job.expires_at := till_enqueue.expires_at;
    job.headers := till_enqueue.headers;
    job.traceparent := till_enqueue.traceparent;
    job.retention_s := keeps_s;
    job.limit_key := till_enqueue.limit_key;
    job.unique_key := till_enqueue.unique_key;
    job.unique_until := clock_timestamp() + till_enqueue.unique_ttl;

    IF job.unique_key IS NULL THEN
        INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at,
            expires_at, headers, traceparent, retention_s, limit_key)
        VALUES (job.id, job.task, job.queue, job.priority, job.args, job.kwargs, job.max_attempts,
            job.scheduled_at, job.expires_at, job.headers, job.traceparent, job.retention_s,
            job.limit_key);
        RETURN job.id;
    END IF;
    LOOP
        INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts, scheduled_at,
            expires_at, headers, traceparent, retention_s, limit_key, unique_key, unique_until)
        VALUES (job.id, job.task, job.queue, job.priority, job.args, job.kwargs, job.max_attempts,
            job.scheduled_at, job.expires_at, job.headers, job.traceparent, job.retention_s,
            job.limit_key, job.unique_key, job.unique_until)
        ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL DO NOTHING;
        IF FOUND THEN
            RETURN job.id;
        END IF;
        SELECT * INTO met FROM resolve_unique_key(job.unique_key, coalesce(till_enqueue.on_conflict, 'keep'));
        IF met.outcome = 'kept' AND till_enqueue.on_conflict = 'refuse' THEN
            RAISE EXCEPTION 'unique key "%" is held by job %', job.unique_key, met.holder
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'jobs_unique_key';
        END IF;
        IF met.outcome = 'replace' THEN
            UPDATE jobs j SET task = job.task, queue = job.queue, priority = job.priority,
                args = job.args, kwargs = job.kwargs, max_attempts = j.attempt + job.max_attempts,
                state = 'PENDING', scheduled_at = job.scheduled_at, enqueued_at = NULL,
                expires_at = job.expires_at, headers = job.headers, traceparent = job.traceparent,
                retention_s = job.retention_s, unique_until = job.unique_until,
                limit_key = job.limit_key, parked_on = NULL
            WHERE j.id = met.holder;
        END IF;
        IF met.outcome <> 'again' THEN
            RETURN met.holder;
        END IF;
    END LOOP;
END $$;
