-- Everybody takes the place of his key first, then that of his task. One who was on his way with a place of his task
-- while his key got a limit, which was full, waited for the key with that place in his hands, while others waited for
-- it with places of keys: nobody went on. And when the key was free he was sent to his task for a second place, which
-- was counted for ever: a limit with a small burst, or of few places, let nobody go any more. Now he gives it back.

-- From 0055, without 2 of its lines: who is parked for his key keeps no place of his task.
CREATE OR REPLACE FUNCTION till_claim_limited(ids uuid[], entries text[], claimed_by text)
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
    held uuid[];     -- the jobs that are locked: one that waits only since then is not this claim's affair,
                     -- since it would be locked behind the buckets
BEGIN
    SELECT array_agg(j.id) INTO held FROM (SELECT j.id FROM jobs j
        WHERE j.id = ANY (ids) AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
        ORDER BY j.id FOR NO KEY UPDATE) j;
    -- Each bucket's limit, as limit_of() finds it, for all in one pass.
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
            SELECT b.name, b.is_key, count(*) AS jobs, bool_and(j.places IS NULL) AS plain FROM (
                SELECT j.task, j.limit_key, j.places FROM jobs j WHERE j.id = ANY (held)) j,
                LATERAL (VALUES ('key:' || j.limit_key, true), ('task:' || j.task, false)) b (name, is_key)
            WHERE b.name IS NOT NULL GROUP BY b.name, b.is_key) b
    ) n WHERE (n.rule).scope IS NOT NULL;
    names := coalesce(names, '{}');
    -- Buckets in the order of their names, as everybody does.
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
            WHERE j.id = g.id AND j.id = ANY (held)
                AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
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
        SELECT r.name, r.concurrency, r.rate, r.per_seconds, r.burst, b.full_at, b.waiting, b.look_at,
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
            WHERE j.id = ANY (held) AND j.state IN ('PENDING', 'RETRY') AND j.enqueued_at IS NOT NULL
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
        -- A place that nothing counts any more, of a rate alone, goes when the job begins. Nobody waits for a key
        -- with a place of his task in his hands.
        SELECT id, entry, has, runs,
            CASE WHEN key IS NOT NULL THEN key_name END AS key_name,
            CASE WHEN task IS NOT NULL THEN task_name END AS task_name,
            CASE WHEN NOT runs THEN CASE WHEN key_ok THEN task_name ELSE key_name END END AS blocked_on,
            CASE WHEN runs THEN coalesce(key_counts, has & 1) | coalesce(task_counts * 2, has & 2)
                WHEN key_ok THEN has | (key IS NOT NULL)::integer ELSE 0 END AS gets
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
        RETURNING j.task, d.blocked_on, d.key_name, d.has & 2 > d.gets & 2 AS drops, (d.gets & 1) - (d.has & 1) AS more
    ), change AS (
        SELECT name, sum(places)::integer AS places, sum(coming)::integer AS coming, sum(tokens) AS tokens,
            bool_or(parks) AS parks
        FROM (
            SELECT key_name AS name, (gets & 1) - (has & 1) AS places, -(has & 1) AS coming,
                1 - (has & 1) AS tokens, false AS parks FROM claimed
            UNION ALL SELECT task_name, ((gets & 2) - (has & 2)) / 2, -(has & 2) / 2, 1 - (has & 2) / 2, false
                FROM claimed
            UNION ALL SELECT key_name, more, more, more, false FROM parked
            UNION ALL SELECT blocked_on, 0, 0, 0, true FROM parked
        ) x WHERE name IS NOT NULL GROUP BY name
    ), counted AS (
        -- Who has just given a place back may not have seen yet that somebody waits for it, and has told
        -- nobody: so the first that is parked is looked at once more, soon.
        UPDATE limit_buckets b SET places = k.places + coalesce(c.places, 0),
            coming = k.coming + coalesce(c.coming, 0), used_at = now_is,
            waiting = b.waiting OR coalesce(c.parks, false),
            full_at = limit_full_at(k.rate, k.per_seconds, k.burst, k.full_at, now_is, coalesce(c.tokens, 0)),
            look_at = CASE WHEN b.waiting AND c.coming < 0 AND k.rate IS NOT NULL THEN least(b.look_at, greatest(now_is,
                    limit_due(k.rate, k.per_seconds, k.burst, k.coming + c.coming, k.full_at, now_is)))
                WHEN b.waiting OR NOT coalesce(c.parks, false) THEN b.look_at
                ELSE least(now_is + interval '200 milliseconds', limit_due(k.rate, k.per_seconds, k.burst,
                    k.coming + c.coming, limit_full_at(k.rate, k.per_seconds, k.burst, k.full_at, now_is,
                        c.tokens), now_is)) END
        FROM bucket k LEFT JOIN change c ON c.name = k.name WHERE b.bucket = k.name
        RETURNING CASE WHEN (c.parks AND NOT k.waiting) OR b.look_at < k.look_at
            THEN pg_notify('till_jobs', '')::text END
    ), dropped AS (
        INSERT INTO limit_freed (bucket, places, coming, wakes)
        SELECT 'task:' || p.task, 1, 1, coalesce(b.waiting, false)
        FROM parked p LEFT JOIN limit_buckets b ON b.bucket = 'task:' || p.task WHERE p.drops
        RETURNING CASE WHEN wakes THEN pg_notify('till_jobs', '')::text END
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

-- From 0055, without 1 of its lines: whoever has a place of his task needs no second one.
CREATE OR REPLACE FUNCTION release_bucket(name text, most integer)
RETURNS TABLE (id uuid, queue text, priority smallint, next text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    rule CONSTANT limits := limit_of(release_bucket.name);
    place CONSTANT integer := CASE WHEN starts_with(release_bucket.name, 'key:') THEN 1 ELSE 2 END;
    now_is timestamptz;
    own limit_buckets;
    freed record;
    paused text[];
    room integer;
    given integer := 0;
BEGIN
    PERFORM lock_buckets(ARRAY[release_bucket.name]);
    now_is := clock_timestamp();
    WITH gone AS (
        DELETE FROM limit_freed f WHERE f.bucket = release_bucket.name RETURNING f.places, f.coming
    ) SELECT coalesce(sum(g.places), 0) AS places, coalesce(sum(g.coming), 0) AS coming INTO freed FROM gone g;
    -- Asked with <@ below, of which the planner expects to be true seldom: it thinks that <> ALL lets nobody
    -- through where most jobs are of one queue, and sorts the whole line.
    -- After the rows of limit_freed: whoever resumes a queue adds one in the same transaction.
    paused := ARRAY(SELECT q.name FROM queues q WHERE q.paused_at IS NOT NULL);
    SELECT * INTO own FROM limit_buckets b WHERE b.bucket = release_bucket.name;
    own.places := own.places - freed.places;
    own.coming := own.coming - freed.coming;
    room := CASE WHEN rule.scope IS NULL THEN most ELSE limit_room(rule.concurrency, rule.rate,
        rule.per_seconds, rule.burst, own.places, own.coming, own.full_at, now_is) END;
    IF room > 0 AND most > 0 THEN
        RETURN QUERY
            WITH picked AS (
                SELECT j.id, CASE WHEN place = 1 AND coalesce(j.places, 0) & 2 = 0
                    AND (limit_of('task:' || j.task)).scope IS NOT NULL
                    THEN 'task:' || j.task END AS next
                FROM jobs j
                WHERE j.parked_on = release_bucket.name AND j.enqueued_at IS NULL
                    AND j.finished_at IS NULL AND j.state IN ('PENDING', 'RETRY')
                    AND NOT ARRAY[j.queue] <@ paused
                ORDER BY (j.created_at AT TIME ZONE 'UTC') + j.priority * interval '10 minutes', j.id
                LIMIT least(room, most) FOR NO KEY UPDATE SKIP LOCKED
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
        -- Who comes a little late for a token, by less than what one takes or 20 ms, does not put off the next one.
        own.full_at := limit_full_at(rule.rate, rule.per_seconds, rule.burst, own.full_at,
            CASE WHEN own.full_at > now_is - greatest(rule.per_seconds * interval '1 second' / rule.rate,
                interval '20 milliseconds') THEN least(own.full_at, now_is) ELSE now_is END, given);
    END IF;
    own.waiting := EXISTS (SELECT FROM jobs j WHERE j.parked_on = release_bucket.name
        AND j.enqueued_at IS NULL AND j.finished_at IS NULL AND NOT ARRAY[j.queue] <@ paused);
    -- Where there is room left, somebody has just locked the rows: look again soon.
    own.look_at := CASE WHEN NOT own.waiting THEN NULL
        WHEN room > given THEN now_is + interval '1 second'
        -- A token is there, and what holds the line up is not time: whoever changes that tells.
        WHEN limit_due(rule.rate, rule.per_seconds, rule.burst, own.coming, own.full_at, now_is) <= now_is
            THEN now_is + interval '1 second'
        ELSE limit_due(rule.rate, rule.per_seconds, rule.burst, own.coming, own.full_at, now_is) END;
    UPDATE limit_buckets b SET places = own.places, coming = own.coming, waiting = own.waiting,
        look_at = own.look_at, full_at = own.full_at, used_at = now_is
    WHERE b.bucket = release_bucket.name;
END $$;

-- Those who wait with one now.
WITH held AS (
    UPDATE jobs SET places = nullif(places & 1, 0)
    WHERE parked_on IS NOT NULL AND enqueued_at IS NULL AND finished_at IS NULL AND places & 2 <> 0
    RETURNING task
) INSERT INTO limit_freed (bucket, places, coming, wakes) SELECT 'task:' || task, 1, 1, true FROM held;
