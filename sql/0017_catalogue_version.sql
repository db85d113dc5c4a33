-- What readers of the catalogue have kept is good for as long as the catalogue's version stands.
-- A sequence, so that orders, which take stock, do not wait for each other in one row.
--
-- Whoever writes holds the lock (shared) until its end and has raised the version before its first
-- row. So a reader who sees version V, then finds nobody holding the lock, then reads, has read all
-- that made V; and whatever comes later makes another.
CREATE SEQUENCE catalogue_version AS bigint;

CREATE FUNCTION raise_catalogue_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('till catalogue', 0));
    PERFORM nextval('catalogue_version');
    RETURN NULL;
END $$;

CREATE TRIGGER products_version BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON products
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version();
CREATE TRIGGER categories_version BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON categories
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version();
-- Products are listed by their ratings, too.
CREATE TRIGGER reviews_version BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON reviews
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_version();
