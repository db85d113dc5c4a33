-- Limits of tasks and keys, counted in sets. Until here a claim under a limit went through a loop over its
-- jobs, wrote a row for each place, counted those rows, and a trigger for each job took them away: a job
-- under a limit cost four to ten times one without. Now
--  - a bucket counts its places in its own row, which the claim locks once a batch;
--  - a job tells in `places` which it has, written by the very UPDATE that claims it;
--  - who gives places back appends a row to limit_freed and locks nothing, so jobs that end do not wait for
--    each other; whoever next has the bucket locked takes these rows off its count;
--  - nobody is told of a free place unless jobs are parked for it.
-- All of it is in the transaction of the change that it counts, so nothing leaks whoever dies when.
-- A worker of a build before this one claims nothing while there are limits of tasks or keys.

DROP TRIGGER jobs_limit_left ON jobs;
DROP TRIGGER jobs_limit_deleted ON jobs;
DROP FUNCTION give_places_back();
DROP FUNCTION till_admit(uuid[]);
DROP FUNCTION limit_room(text);
DROP FUNCTION release_bucket(text, integer);

ALTER TABLE limit_buckets
    ADD COLUMN places integer NOT NULL DEFAULT 0, -- that are taken, of which limit_freed takes some off again
    ADD COLUMN coming integer NOT NULL DEFAULT 0, -- those of them whose jobs do not run yet
    ADD COLUMN waiting boolean NOT NULL DEFAULT false; -- jobs are parked for it

-- 1 a place with its key, 2 one with its task; 8 it was claimed by them, so it is not on its way any more.
-- Negative: they were given back by the statement that ended it. No index names it.
ALTER TABLE jobs ADD COLUMN places smallint;

UPDATE jobs j SET places = p.places
FROM (SELECT p.job_id, bit_or(CASE WHEN starts_with(p.bucket, 'key:') THEN 1 ELSE 2 END
        | CASE WHEN p.running THEN 8 ELSE 0 END)::smallint AS places
    FROM limit_places p JOIN jobs j ON j.id = p.job_id AND j.finished_at IS NULL
        AND p.bucket IN ('key:' || j.limit_key, 'task:' || j.task) GROUP BY p.job_id) p
WHERE j.id = p.job_id;
INSERT INTO limit_buckets AS b (bucket, places, coming)
SELECT x.bucket, count(*), count(*) FILTER (WHERE j.places & 8 = 0)
FROM jobs j, LATERAL (VALUES (CASE WHEN j.places & 1 <> 0 THEN 'key:' || j.limit_key END),
    (CASE WHEN j.places & 2 <> 0 THEN 'task:' || j.task END)) x (bucket)
WHERE j.places IS NOT NULL AND x.bucket IS NOT NULL GROUP BY x.bucket
ON CONFLICT (bucket) DO UPDATE SET places = excluded.places, coming = excluded.coming;
UPDATE limit_buckets b SET waiting = true, look_at = clock_timestamp()
WHERE EXISTS (SELECT FROM jobs j WHERE j.parked_on = b.bucket AND j.enqueued_at IS NULL AND j.finished_at IS NULL);

DROP TABLE limit_places, limit_freed;
ALTER TABLE jobs DROP COLUMN limited;

-- To be taken off a bucket. `wakes`: jobs are parked for it, the scheduler is to look.
CREATE TABLE limit_freed (
    bucket text NOT NULL,
    places integer NOT NULL,
    coming integer NOT NULL,
    wakes boolean NOT NULL
);
CREATE INDEX limit_freed_bucket ON limit_freed (bucket);
CREATE INDEX limit_freed_wakes ON limit_freed (bucket) WHERE wakes;
CREATE INDEX limit_buckets_waiting ON limit_buckets (used_at) WHERE waiting;
-- Of keys, those that are the beginning of a name.
CREATE INDEX limits_beginnings ON limits (name) WHERE scope = 'key' AND right(name, 1) = '*';

-- What the limits count now.
CREATE VIEW limit_counts AS
    SELECT b.bucket, b.places - coalesce(f.places, 0) AS places, b.coming - coalesce(f.coming, 0) AS coming
    FROM limit_buckets b LEFT JOIN (
        SELECT bucket, sum(places)::integer AS places, sum(coming)::integer AS coming
        FROM limit_freed GROUP BY bucket) f USING (bucket);

-- ---- claiming ----

-- How many more jobs may begin in a bucket, by its limit: places and tokens. Tokens that jobs on their way
-- will need are not given twice. The arguments are those of the limit, then of the bucket.
CREATE FUNCTION limit_room(
    concurrency integer, rate integer, per_seconds integer, burst integer,
    places integer, coming integer, full_at timestamptz, now_is timestamptz
) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT least(1000000, concurrency - places, floor(burst + 0.000001
        - least(greatest(coalesce(extract(epoch FROM full_at - now_is)::double precision, 0), 0)
            * rate / per_seconds, burst))::integer - coming)
$$;

-- When the next token comes, for one that is parked; NULL where no rate is.
CREATE FUNCTION limit_due(
    rate integer, per_seconds integer, burst integer, coming integer, full_at timestamptz, now_is timestamptz
) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT greatest(least(full_at, now_is + burst * per_seconds * interval '1 second' / rate), now_is)
        - (burst - coming - 1) * per_seconds * interval '1 second' / rate
$$;

-- The bucket's clock after so many more tokens: the generic cell rate algorithm.
CREATE FUNCTION limit_full_at(
    rate integer, per_seconds integer, burst integer, full_at timestamptz, now_is timestamptz, tokens bigint
) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN rate IS NULL OR tokens = 0 THEN full_at ELSE
        least(greatest(full_at, now_is), now_is + burst * per_seconds * interval '1 second' / rate)
        + tokens * per_seconds * interval '1 second' / rate END
$$;

-- Makes buckets one's own, in the order of their names, as everybody does, and before any job.
CREATE FUNCTION lock_buckets(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    count integer;
BEGIN
    IF (SELECT count(*) FROM limit_buckets b WHERE b.bucket = ANY (names)) < cardinality(names) THEN
        INSERT INTO limit_buckets AS b (bucket) SELECT n FROM unnest(names) n ORDER BY n
        ON CONFLICT (bucket) DO UPDATE SET used_at = clock_timestamp();
        RETURN;
    END IF;
    SELECT count(*) INTO count FROM (
        SELECT FROM limit_buckets b WHERE b.bucket = ANY (names) ORDER BY b.bucket FOR NO KEY UPDATE) locked;
    IF count < cardinality(names) THEN
        RAISE EXCEPTION 'an unused bucket has just been removed' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

-- Claims those of these jobs that wait and may run; those that have no room yet are parked and do not come
-- back. A key is asked first, then the task; who waits for the task keeps its place with the key. Who
-- comes while others are parked for the same bucket is parked behind them.
CREATE FUNCTION till_claim_limited(ids uuid[], entries text[], claimed_by text)
RETURNS TABLE (
    id uuid, entry text, state job_state, task text, queue text, priority smallint, attempt integer,
    max_attempts integer, args jsonb, kwargs jsonb, created_us bigint, headers jsonb, traceparent text,
    snoozes integer, has_places boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[];
    rules limits[];
    wants bigint[];  -- places and tokens that these jobs want there
    counts jsonb;    -- by name: whether running jobs count
    plain boolean;   -- none of them has a place already
    roomy boolean;
    now_is timestamptz;
BEGIN
    -- Each bucket's limit, as limit_of() finds it, for all of them in one pass.
    SELECT array_agg(n.name ORDER BY n.name), array_agg(n.rule ORDER BY n.name),
        array_agg(n.jobs ORDER BY n.name), bool_and(n.plain),
        jsonb_object_agg(n.name, ((n.rule).concurrency IS NOT NULL)::integer), bool_and(n.known)
    INTO names, rules, wants, plain, counts, roomy
    FROM (
        SELECT b.name, b.jobs, b.plain, EXISTS (SELECT FROM limit_buckets k WHERE k.bucket = b.name) AS known,
            CASE WHEN b.is_key THEN coalesce(
            (SELECT l FROM limits l WHERE l.scope = 'key' AND l.name = substr(b.name, 5)),
            (SELECT l FROM limits l WHERE l.scope = 'key' AND right(l.name, 1) = '*'
                AND starts_with(substr(b.name, 5), left(l.name, -1)) ORDER BY length(l.name) DESC LIMIT 1))
            ELSE (SELECT l FROM limits l WHERE l.scope = 'task' AND l.name = substr(b.name, 6)) END AS rule
        FROM (
            SELECT b.name, b.is_key, count(*) AS jobs, bool_and(j.places IS NULL) AS plain FROM jobs j,
                LATERAL (VALUES ('key:' || j.limit_key, true), ('task:' || j.task, false)) b (name, is_key)
            WHERE j.id = ANY (ids) AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
                AND b.name IS NOT NULL GROUP BY b.name, b.is_key) b
    ) n WHERE (n.rule).scope IS NOT NULL;
    names := coalesce(names, '{}');
    -- Buckets in the order of their names, as everybody does, and before any job.
    IF roomy THEN
        SELECT count(*) = cardinality(names) AND bool_and(NOT b.waiting AND limit_room(r.concurrency, r.rate,
            r.per_seconds, r.burst, b.places, b.coming, b.full_at, clock_timestamp()) >= r.wants)
        INTO roomy
        FROM (SELECT * FROM limit_buckets b WHERE b.bucket = ANY (names)
            ORDER BY b.bucket FOR NO KEY UPDATE) b
        JOIN unnest(names, wants, rules)
            AS r (name, wants, scope, of, concurrency, rate, per_seconds, burst, set_at, set_by)
            ON r.name = b.bucket;
    END IF;
    IF roomy IS NOT TRUE THEN -- also when an unused bucket has just been removed
        PERFORM lock_buckets(names);
    END IF;
    now_is := clock_timestamp();

    -- Mostly there is room for all, even without what was given back since somebody last looked.
    IF plain AND roomy THEN
        RETURN QUERY WITH claimed AS (
            UPDATE jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = claimed_by,
                delivery = g.entry, started_at = clock_timestamp(), parked_on = NULL,
                places = nullif(coalesce((counts ->> ('key:' || j.limit_key))::integer, 0)
                    | coalesce((counts ->> ('task:' || j.task))::integer, 0) * 2, 0) | 8
            FROM unnest(ids, entries) AS g (id, entry)
            WHERE j.id = g.id AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
                AND j.places IS NULL AND j.attempt < j.max_attempts
                AND (j.expires_at IS NULL OR j.expires_at > now())
            RETURNING j.*, g.entry
        ), counted AS (
            UPDATE limit_buckets b SET used_at = now_is, places = b.places + c.places,
                full_at = limit_full_at(r.rate, r.per_seconds, r.burst, b.full_at, now_is, c.tokens)
            FROM unnest(names, rules)
                AS r (name, scope, of, concurrency, rate, per_seconds, burst, set_at, set_by)
            JOIN (SELECT x.name, count(*) AS tokens, count(*) FILTER (WHERE j.places & x.place <> 0) AS places
                FROM claimed j, LATERAL (VALUES ('key:' || j.limit_key, 1), ('task:' || j.task, 2))
                    x (name, place)
                WHERE x.name IS NOT NULL GROUP BY x.name) c ON c.name = r.name
            WHERE b.bucket = r.name
        )
        SELECT c.id, c.entry, c.state, c.task, c.queue, c.priority, c.attempt, c.max_attempts, c.args,
            c.kwargs, (extract(epoch FROM c.created_at) * 1000000)::bigint, c.headers, c.traceparent,
            c.snoozes, c.places IS NOT NULL
        FROM claimed c;
        RETURN;
    END IF;

    -- A statement of its own, which sees what is in the buckets since they are locked.
    RETURN QUERY WITH freed AS (
        DELETE FROM limit_freed f USING limit_buckets b
        WHERE f.bucket = ANY (names) AND b.bucket = f.bucket AND NOT b.waiting
        RETURNING f.bucket, f.places, f.coming
    ), sums AS (
        SELECT bucket, sum(places)::integer AS places, sum(coming)::integer AS coming
        FROM freed GROUP BY bucket
    ), bucket AS MATERIALIZED (
        SELECT r.name, r.concurrency, r.rate, r.per_seconds, r.burst, b.full_at, b.waiting,
            b.places - coalesce(s.places, 0) AS places, b.coming - coalesce(s.coming, 0) AS coming,
            CASE WHEN b.waiting THEN 0 ELSE limit_room(r.concurrency, r.rate, r.per_seconds, r.burst,
                b.places - coalesce(s.places, 0), b.coming - coalesce(s.coming, 0), b.full_at, now_is)
            END AS room
        FROM unnest(names, rules)
            AS r (name, scope, of, concurrency, rate, per_seconds, burst, set_at, set_by)
        JOIN limit_buckets b ON b.bucket = r.name LEFT JOIN sums s ON s.bucket = r.name
    ), rooms AS (
        -- The room of each bucket, doubled, and whether running jobs count there: looked up by name, which
        -- a join of rows whose numbers the planner does not know does by comparing each with each.
        SELECT jsonb_object_agg(name, room::bigint * 2 + (concurrency IS NOT NULL)::integer) AS of FROM bucket
    ), wanted AS (
        SELECT w.*, w.key >> 1 AS key_room, w.key & 1 AS key_counts, w.task >> 1 AS task_room,
            w.task & 1 AS task_counts, w.key IS NOT NULL AND w.has & 1 = 0 AS wants_key,
            w.task IS NOT NULL AND w.has & 2 = 0 AS wants_task
        FROM (
            SELECT j.id, g.entry, j.created_at, coalesce(j.places, 0) & 3 AS has,
                'key:' || j.limit_key AS key_name, 'task:' || j.task AS task_name,
                ((SELECT of FROM rooms) ->> ('key:' || j.limit_key))::integer AS key,
                ((SELECT of FROM rooms) ->> ('task:' || j.task))::integer AS task
            FROM (SELECT DISTINCT ON (u.id) u.id, u.entry FROM unnest(ids, entries) u (id, entry)) g
            JOIN jobs j ON j.id = g.id
            WHERE j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
                AND j.attempt < j.max_attempts AND (j.expires_at IS NULL OR j.expires_at > now())
        ) w
    ), by_key AS (
        SELECT *, NOT wants_key OR count(*) FILTER (WHERE wants_key) OVER (
            PARTITION BY key_name ORDER BY created_at, id ROWS UNBOUNDED PRECEDING) <= key_room AS key_ok
        FROM wanted
    ), by_task AS (
        SELECT *, key_ok AND (NOT wants_task OR count(*) FILTER (WHERE key_ok AND wants_task) OVER (
            PARTITION BY task_name ORDER BY created_at, id ROWS UNBOUNDED PRECEDING) <= task_room) AS runs
        FROM by_key
    ), decided AS (
        -- A place that nothing counts any more, of a rate alone, goes when the job begins.
        SELECT id, entry, has, runs,
            CASE WHEN key IS NOT NULL THEN key_name END AS key_name,
            CASE WHEN task IS NOT NULL THEN task_name END AS task_name,
            CASE WHEN NOT runs THEN CASE WHEN key_ok THEN task_name ELSE key_name END END AS blocked_on,
            CASE WHEN runs THEN coalesce(key_counts, has & 1) | coalesce(task_counts * 2, has & 2)
                ELSE has | (key_ok AND key IS NOT NULL)::integer END AS gets
        FROM by_task
    ), claimed AS (
        UPDATE jobs j SET state = 'STARTED', attempt = j.attempt + 1, worker = claimed_by, delivery = d.entry,
            started_at = clock_timestamp(), parked_on = NULL,
            places = CASE WHEN d.gets <> 0 THEN d.gets | 8 END
        FROM decided d WHERE d.runs AND j.id = d.id AND coalesce(j.places, 0) & 3 = d.has
            AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
        RETURNING j.*, d.entry, d.key_name, d.task_name, d.has, d.gets
    ), parked AS (
        UPDATE jobs j SET parked_on = d.blocked_on, enqueued_at = NULL, places = nullif(d.gets, 0),
            scheduled_at = clock_timestamp() + interval '5 minutes' -- should nobody let it go before
        FROM decided d WHERE NOT d.runs AND j.id = d.id AND coalesce(j.places, 0) & 3 = d.has
            AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
        RETURNING d.blocked_on, d.key_name, (d.gets & 1) - (d.has & 1) AS more
    ), change AS (
        SELECT name, sum(places)::integer AS places, sum(coming)::integer AS coming, sum(tokens) AS tokens,
            bool_or(parks) AS parks
        FROM (
            SELECT key_name AS name, (gets & 1) - (has & 1) AS places, -(has & 1) AS coming, 1 AS tokens,
                false AS parks FROM claimed
            UNION ALL SELECT task_name, ((gets & 2) - (has & 2)) / 2, -(has & 2) / 2, 1, false FROM claimed
            UNION ALL SELECT key_name, more, more, 0, false FROM parked
            UNION ALL SELECT blocked_on, 0, 0, 0, true FROM parked
        ) x WHERE name IS NOT NULL GROUP BY name
    ), counted AS (
        -- Who has just given a place back may not have seen yet that somebody waits for it, and has told
        -- nobody: so the first that is parked is looked at once more, soon.
        UPDATE limit_buckets b SET places = k.places + coalesce(c.places, 0),
            coming = k.coming + coalesce(c.coming, 0), used_at = now_is,
            waiting = b.waiting OR coalesce(c.parks, false),
            full_at = limit_full_at(k.rate, k.per_seconds, k.burst, k.full_at, now_is, coalesce(c.tokens, 0)),
            look_at = CASE WHEN b.waiting OR NOT coalesce(c.parks, false) THEN b.look_at
                ELSE least(now_is + interval '200 milliseconds', limit_due(k.rate, k.per_seconds, k.burst,
                    k.coming + c.coming, limit_full_at(k.rate, k.per_seconds, k.burst, k.full_at, now_is,
                        c.tokens), now_is)) END
        FROM bucket k LEFT JOIN change c ON c.name = k.name WHERE b.bucket = k.name
        RETURNING CASE WHEN c.parks AND NOT k.waiting THEN pg_notify('till_jobs', '')::text END
    ), forgotten AS (
        -- On their way when their limit was deleted.
        INSERT INTO limit_freed (bucket, places, coming, wakes)
        SELECT 'key:' || limit_key, 0, 1, false FROM claimed WHERE key_name IS NULL AND has & 1 <> 0
        UNION ALL SELECT 'task:' || task, 0, 1, false FROM claimed WHERE task_name IS NULL AND has & 2 <> 0
    )
    SELECT c.id, c.entry, c.state, c.task, c.queue, c.priority, c.attempt, c.max_attempts, c.args, c.kwargs,
        (extract(epoch FROM c.created_at) * 1000000)::bigint, c.headers, c.traceparent, c.snoozes,
        c.places IS NOT NULL
    FROM claimed c;
END $$;

-- ---- giving back ----

-- A job that stops running, or ends before it began, gives its places back, whoever wrote that. The WHEN
-- clauses cost a job without a limit next to nothing, and are short, because they are read anew in each
-- statement. What ends many at once gives back in its own statement (common/jobs_run.c).
CREATE FUNCTION give_places_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    woken boolean;
BEGIN
    IF TG_NAME = 'jobs_limit_left' AND (NEW.state = OLD.state OR NEW.state = 'STARTED'
        OR NEW.task <> OLD.task OR NEW.limit_key IS DISTINCT FROM OLD.limit_key) THEN
        RETURN NULL; -- has not left, or is the other trigger's
    END IF;
    WITH freed AS (
        INSERT INTO limit_freed (bucket, places, coming, wakes)
        SELECT x.bucket, 1, (OLD.places & 8 = 0)::integer, coalesce(b.waiting, false)
        FROM (VALUES (CASE WHEN OLD.places & 1 <> 0 THEN 'key:' || OLD.limit_key END),
            (CASE WHEN OLD.places & 2 <> 0 THEN 'task:' || OLD.task END)) x (bucket)
        LEFT JOIN limit_buckets b ON b.bucket = x.bucket WHERE x.bucket IS NOT NULL
        RETURNING wakes
    ) SELECT bool_or(wakes) INTO woken FROM freed;
    IF woken THEN
        PERFORM pg_notify('till_jobs', '');
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.state <> 'SUCCESS' THEN -- after which nothing comes
        UPDATE jobs SET places = NULL WHERE id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_limit_left AFTER UPDATE OF state ON jobs FOR EACH ROW
    WHEN (OLD.places > 0 AND NEW.places > 0)
    EXECUTE FUNCTION give_places_back();
-- Another job by the same id, under a unique key.
CREATE TRIGGER jobs_limit_changed AFTER UPDATE OF task, limit_key ON jobs FOR EACH ROW
    WHEN (OLD.places IS NOT NULL AND OLD.finished_at IS NULL
        AND (NEW.task <> OLD.task OR NEW.limit_key IS DISTINCT FROM OLD.limit_key))
    EXECUTE FUNCTION give_places_back();
CREATE TRIGGER jobs_limit_deleted AFTER DELETE ON jobs FOR EACH ROW
    WHEN (OLD.places IS NOT NULL AND OLD.finished_at IS NULL) EXECUTE FUNCTION give_places_back();

CREATE FUNCTION forget_places() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM limit_freed;
    UPDATE limit_buckets SET places = 0, coming = 0, waiting = false, look_at = NULL
    WHERE places <> 0 OR coming <> 0 OR waiting;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_limit_emptied AFTER TRUNCATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION forget_places();

-- Who is parked is nobody's news but the bucket's.
DROP TRIGGER jobs_notify ON jobs;
CREATE TRIGGER jobs_notify AFTER INSERT OR UPDATE OF enqueued_at, scheduled_at, waits ON jobs FOR EACH ROW
    WHEN (NEW.enqueued_at IS NULL AND NEW.parked_on IS NULL AND NEW.state IN ('PENDING', 'RETRY')
        AND NEW.waits IS NULL)
    EXECUTE FUNCTION notify_jobs();

-- ---- letting go ----

-- Lets one bucket's parked jobs go, oldest first, as many as there is room for, at most `most`. Those of
-- a key whose task has a limit, too, go on to wait for that: a row with `next`.
CREATE FUNCTION release_bucket(name text, most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, next text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    rule CONSTANT limits := limit_of(release_bucket.name);
    place CONSTANT integer := CASE WHEN starts_with(release_bucket.name, 'key:') THEN 1 ELSE 2 END;
    now_is timestamptz;
    own limit_buckets;
    freed record;
    room integer;
    given integer := 0;
BEGIN
    PERFORM lock_buckets(ARRAY[release_bucket.name]);
    now_is := clock_timestamp();
    WITH gone AS (
        DELETE FROM limit_freed f WHERE f.bucket = release_bucket.name RETURNING f.places, f.coming
    ) SELECT coalesce(sum(g.places), 0) AS places, coalesce(sum(g.coming), 0) AS coming INTO freed FROM gone g;
    SELECT * INTO own FROM limit_buckets b WHERE b.bucket = release_bucket.name;
    own.places := own.places - freed.places;
    own.coming := own.coming - freed.coming;
    room := CASE WHEN rule.scope IS NULL THEN most ELSE limit_room(rule.concurrency, rule.rate,
        rule.per_seconds, rule.burst, own.places, own.coming, own.full_at, now_is) END;
    IF room > 0 AND most > 0 THEN
        RETURN QUERY
            WITH picked AS (
                SELECT j.id, CASE WHEN place = 1 AND (limit_of('task:' || j.task)).scope IS NOT NULL
                    THEN 'task:' || j.task END AS next
                FROM jobs j
                WHERE j.parked_on = release_bucket.name AND j.enqueued_at IS NULL
                    AND j.finished_at IS NULL AND j.state IN ('PENDING', 'RETRY')
                ORDER BY j.created_at, j.id LIMIT least(room, most) FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE jobs j SET parked_on = p.next,
                places = CASE WHEN rule.scope IS NULL THEN j.places ELSE coalesce(j.places, 0) | place END,
                enqueued_at = CASE WHEN p.next IS NULL THEN clock_timestamp() END
            FROM picked p WHERE j.id = p.id
            RETURNING j.id, j.queue, j.priority, p.next;
        GET DIAGNOSTICS given = ROW_COUNT;
    END IF;
    IF given = most THEN -- there may be more: go on next time
        INSERT INTO limit_freed VALUES (release_bucket.name, 0, 0, true);
    END IF;
    IF rule.scope IS NOT NULL THEN
        own.places := own.places + given;
        own.coming := own.coming + given;
    END IF;
    own.waiting := EXISTS (SELECT FROM jobs j WHERE j.parked_on = release_bucket.name
        AND j.enqueued_at IS NULL AND j.finished_at IS NULL);
    -- Where there is room left, somebody has just locked the rows: look again soon.
    own.look_at := CASE WHEN NOT own.waiting THEN NULL
        WHEN room > given THEN now_is + interval '1 second'
        ELSE limit_due(rule.rate, rule.per_seconds, rule.burst, own.coming, own.full_at, now_is) END;
    UPDATE limit_buckets b SET places = own.places, coming = own.coming, waiting = own.waiting,
        look_at = own.look_at, used_at = now_is
    WHERE b.bucket = release_bucket.name;
END $$;

-- Lets parked jobs go where a place or a token has become free; the caller puts them into their streams.
-- The last row has no id and tells in how many microseconds to look again (NULL: when told).
CREATE OR REPLACE FUNCTION till_release_parked(most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, wait_us bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    keys text[];
    tasks text[];
    name text;
    job record;
    count integer := 0;
BEGIN
    SELECT array_agg(b ORDER BY b) FILTER (WHERE starts_with(b, 'key:')),
        array_agg(b) FILTER (WHERE starts_with(b, 'task:')) INTO keys, tasks
    FROM (SELECT DISTINCT f.bucket FROM (SELECT f.bucket FROM limit_freed f WHERE f.wakes LIMIT 1000) f
        UNION SELECT b.bucket FROM limit_buckets b WHERE b.look_at <= clock_timestamp()) due (b);
    -- Keys first: whom they let go may have to wait for its task. Each in the order of names. Those that
    -- are not come to keep what woke them.
    FOREACH name IN ARRAY coalesce(keys, '{}') LOOP
        EXIT WHEN count >= most;
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
            INSERT INTO limit_freed VALUES (name, 0, 0, true);
            CONTINUE;
        END IF;
        FOR job IN SELECT * FROM release_bucket(name, most - count) LOOP
            count := count + 1;
            id := job.id; queue := job.queue; priority := job.priority;
            RETURN NEXT;
        END LOOP;
    END LOOP;
    id := NULL; queue := ''; priority := 0;
    -- greatest() alone would make 0 of NULL.
    SELECT CASE WHEN EXISTS (SELECT FROM limit_freed f WHERE f.wakes) THEN 0
        WHEN min(b.look_at) IS NOT NULL THEN
            (greatest(extract(epoch FROM min(b.look_at) - clock_timestamp()), 0) * 1000000)::bigint END
    INTO wait_us FROM limit_buckets b WHERE b.look_at IS NOT NULL;
    RETURN NEXT;
END $$;

-- ---- upkeep ----

-- Jobs that run under a limit that was not known when they began get their places; what was given back
-- in buckets that nobody uses is taken off; and those that wait are looked at now and then, whatever was
-- told or not.
CREATE OR REPLACE FUNCTION till_count_places() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[];
BEGIN
    IF EXISTS (SELECT FROM limits l WHERE l.scope <> 'queue' AND l.concurrency IS NOT NULL) THEN
        SELECT array_agg(DISTINCT b.name) INTO names FROM started_jobs s JOIN jobs j ON j.id = s.id,
            LATERAL (VALUES ('key:' || j.limit_key, 1), ('task:' || j.task, 2)) b (name, place)
        WHERE b.name IS NOT NULL AND coalesce(j.places, 0) & b.place = 0
            AND (limit_of(b.name)).concurrency IS NOT NULL;
    END IF;
    IF names IS NOT NULL THEN
        PERFORM lock_buckets(names);
        WITH held AS (
            SELECT j.id, coalesce(j.places, 0) & 3 AS has, j.limit_key, j.task FROM jobs j
            WHERE j.id IN (SELECT s.id FROM started_jobs s) AND j.state = 'STARTED'
                AND ('key:' || j.limit_key = ANY (names) OR 'task:' || j.task = ANY (names))
            FOR NO KEY UPDATE SKIP LOCKED
        ), marked AS (
            UPDATE jobs j SET places = h.has | 8 | ('task:' || h.task = ANY (names))::integer * 2
                | (h.limit_key IS NOT NULL AND 'key:' || h.limit_key = ANY (names))::integer
            FROM held h WHERE j.id = h.id RETURNING j.places, h.has, h.limit_key, h.task
        )
        UPDATE limit_buckets b SET places = b.places + x.more FROM (
            SELECT y.bucket, count(*)::integer AS more FROM marked m, LATERAL (VALUES
                (CASE WHEN m.places & 1 > m.has & 1 THEN 'key:' || m.limit_key END),
                (CASE WHEN m.places & 2 > m.has & 2 THEN 'task:' || m.task END)) y (bucket)
            WHERE y.bucket IS NOT NULL GROUP BY y.bucket) x
        WHERE b.bucket = x.bucket;
    END IF;
    WITH idle AS (
        SELECT b.bucket FROM limit_buckets b WHERE NOT b.waiting AND b.bucket IN (
            SELECT f.bucket FROM limit_freed f ORDER BY f.bucket LIMIT 1000) FOR NO KEY UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM limit_freed f USING idle i WHERE f.bucket = i.bucket
        RETURNING f.bucket, f.places, f.coming
    )
    UPDATE limit_buckets b SET places = b.places - g.places, coming = b.coming - g.coming
    FROM (SELECT bucket, sum(places) AS places, sum(coming) AS coming FROM gone GROUP BY bucket) g
    WHERE b.bucket = g.bucket;
    UPDATE limit_buckets b SET look_at = clock_timestamp() WHERE b.bucket IN (
        SELECT w.bucket FROM limit_buckets w WHERE w.waiting AND w.used_at < now() - interval '10 seconds'
        ORDER BY w.used_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED);
    DELETE FROM limit_buckets b WHERE b.bucket IN (
        SELECT u.bucket FROM limit_buckets u WHERE u.used_at < now() - interval '1 hour' AND u.places = 0
            AND NOT u.waiting AND (u.full_at IS NULL OR u.full_at < now())
            AND NOT EXISTS (SELECT FROM limit_freed f WHERE f.bucket = u.bucket)
        FOR UPDATE SKIP LOCKED);
END $$;

-- Another limit, or none: whoever is parked for it is looked at anew.
CREATE OR REPLACE FUNCTION review_limit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed limits := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM till_count_places();
    INSERT INTO limit_freed (bucket, places, coming, wakes)
    SELECT b.bucket, 0, 0, true FROM limit_buckets b
    WHERE b.waiting AND (b.bucket = changed.scope || ':' || changed.name
        OR (changed.scope = 'key' AND right(changed.name, 1) = '*'
            AND starts_with(b.bucket, 'key:' || left(changed.name, -1))));
    PERFORM pg_notify('till_jobs', '');
    RETURN NULL;
END $$;
