-- What a till-api may keep of a look-up for some milliseconds (api/leases.c): who asks, as long as no user
-- was changed since, and the version of the catalogue, as long as no other till-api serves this database.

-- One row, so that its version and the users are seen in one snapshot, which a sequence's would not be.
-- Changes of users therefore wait for each other; nothing in Till changes or deletes one, people do.
-- New users raise nothing: nobody keeps a user that is not there.
CREATE TABLE users_changed (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),
    version bigint NOT NULL DEFAULT 1
);
INSERT INTO users_changed DEFAULT VALUES;

-- With its owner's rights: who may change a user need not know of this table.
CREATE FUNCTION raise_users_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE users_changed SET version = version + 1;
    RETURN NULL;
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION raise_users_changed() SET search_path = %I, pg_temp', current_schema());
END $$;

CREATE TRIGGER users_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION raise_users_changed();

-- Raised by each session over which a till-api looks up who asks, once it holds its lock: whoever finds
-- the same number twice, and nobody else's lock either time, knows that nobody held it in between.
CREATE SEQUENCE api_sessions AS bigint;
