-- 0038 wrote this function anew from 0018, and lost what 0021 had added: a finished job that is to run again was
-- not noted for the search any more, which then found it by its former end. Both stand here.

CREATE OR REPLACE FUNCTION refuse_illegal_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT (CASE OLD.state
        WHEN 'PENDING' THEN NEW.state IN ('STARTED', 'FAILURE', 'REVOKED')
        WHEN 'RETRY' THEN NEW.state IN ('STARTED', 'PENDING', 'FAILURE', 'REVOKED')
        WHEN 'STARTED' THEN NEW.state IN ('PENDING', 'RETRY', 'SUCCESS', 'FAILURE', 'REVOKED')
        WHEN 'FAILURE' THEN NEW.state = 'PENDING'
        WHEN 'REVOKED' THEN NEW.state = 'PENDING'
        ELSE false END)
    THEN
        RAISE EXCEPTION 'illegal change of jobs.state from % to %', OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    IF OLD.state IN ('FAILURE', 'REVOKED') THEN
        INSERT INTO job_search_open (job_id) VALUES (NEW.id)
            ON CONFLICT (job_id) DO UPDATE SET turn = job_search_open.turn + 1;
    END IF;
    IF NEW.superseded IS NOT NULL AND OLD.state = 'STARTED' AND NEW.state IN ('PENDING', 'RETRY') THEN
        UPDATE jobs SET state = 'REVOKED', finished_at = now(), parked_on = NULL,
            error = format('superseded: a newer job took its unique key "%s" while it ran', NEW.superseded)
        WHERE id = NEW.id AND state = NEW.state;
    END IF;
    RETURN NULL;
END $$;
