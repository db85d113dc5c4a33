-- A plan that is made while a table is small reads all of it, and each session keeps it until the table is analyzed
-- or changed. Autovacuum looks once a minute: until then a first burst of jobs was claimed and ended by reading
-- the whole table each time, a hundred times slower. The leader of the schedulers calls this with each healing.
-- A table past 32 MB has plans by its indexes for long; autovacuum does the rest.
CREATE FUNCTION till_analyze_grown() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    grown regclass;
    done integer := 0;
BEGIN
    FOR grown IN SELECT c.oid FROM pg_class c
        WHERE c.oid IN ('jobs'::regclass, 'job_errors'::regclass, 'users'::regclass, 'products'::regclass,
                        'orders'::regclass, 'order_items'::regclass, 'payments'::regclass,
                        'payment_events'::regclass)
          AND c.relpages < 4096
          AND pg_relation_size(c.oid) > current_setting('block_size')::bigint * (2 * c.relpages + 16)
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', grown);
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
