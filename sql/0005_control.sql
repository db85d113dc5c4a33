-- What people order: queues that are paused. Workers listen to till_control and read this table.

-- A queue needs no row; one is made when it is paused for the first time.
CREATE TABLE queues (
    name text PRIMARY KEY CHECK (name ~ '^[A-Za-z0-9_.-]{1,200}$'),
    paused_at timestamptz, -- NULL: not paused
    paused_by text,
    CONSTRAINT queues_paused_check CHECK (paused_at IS NOT NULL OR paused_by IS NULL)
);

CREATE FUNCTION notify_control() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('till_control', '');
    RETURN NULL;
END $$;
CREATE TRIGGER queues_notify AFTER INSERT OR UPDATE OR DELETE ON queues
    FOR EACH STATEMENT EXECUTE FUNCTION notify_control();
