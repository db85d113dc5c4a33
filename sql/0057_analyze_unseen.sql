-- As 0037 has it, and one case more. Where a table is analyzed while its rows are still in a transaction, or after all of
-- them were pruned, it is known to have pages and no rows. It then has "one row" however many come, every index that
-- has a column looks as good as any other, and a row was looked for by its id in an index by task, which is all of
-- that index: a burst of a million jobs was ended at a second each, until autovacuum came by.
-- From 0037, without 1 of its lines: what has grown is in brackets now.
CREATE OR REPLACE FUNCTION till_analyze_grown() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    grown regclass;
    done integer := 0;
BEGIN
    FOR grown IN SELECT c.oid FROM pg_class c
        WHERE c.oid IN ('jobs'::regclass, 'job_errors'::regclass, 'users'::regclass, 'products'::regclass,
                        'orders'::regclass, 'order_items'::regclass, 'payments'::regclass,
                        'payment_events'::regclass)
          AND (c.relpages < 4096
               AND pg_relation_size(c.oid) > current_setting('block_size')::bigint * (2 * c.relpages + 16)
               OR pg_stat_get_live_tuples(c.oid) > 1000
               AND c.reltuples * 10 < pg_stat_get_live_tuples(c.oid))
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', grown);
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
