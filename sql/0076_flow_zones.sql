-- From 0039, without 3 of its lines: a time without a zone was taken in the zone of whoever's session it was; the other
-- entrances refuse it.
CREATE OR REPLACE FUNCTION flow_time_problem(node jsonb) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- RFC 3339, and how PostgreSQL writes a timestamptz.
    form CONSTANT text := '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d(:\d\d)?)$';
    key text;
BEGIN
    FOREACH key IN ARRAY '{scheduled_at,expires_at}'::text[] LOOP
        IF node->>key !~ form OR NOT isfinite((node->>key)::timestamptz) THEN
            RETURN format('"%s" must be a time like 2030-01-01T12:00:00Z, not "%s"', key, left(node->>key, 40));
        END IF;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN format('"%s" must be a time like 2030-01-01T12:00:00Z, not "%s"', key, left(node->>key, 40));
END $$;
