-- What people look at: lists newest first, by state, and counts, at any number of rows.

-- Lists are in the order of ids. A producer that leaves the id to the table gets one that sorts by
-- time like Till's own (RFC 9562, version 7, milliseconds).
CREATE FUNCTION new_job_id() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(set_byte(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6), 6, (floor(random() * 16))::int | 112), 'hex')::uuid
$$;
ALTER TABLE jobs ALTER COLUMN id SET DEFAULT new_job_id();

-- Every state but STARTED (jobs_started holds those) and SUCCESS (nearly all rows: found by the
-- primary key). A job that succeeds at once enters it once, when it is inserted.
CREATE INDEX jobs_state ON jobs (state, id)
    WHERE state IN ('PENDING', 'RETRY', 'FAILURE', 'REVOKED');
