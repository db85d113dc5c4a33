-- Beside the version of the whole catalogue (0017) one of its shape: of all that decides which products a
-- list shows and in what order, of categories and of ratings. Orders take and give back stock and leave it
-- alone. So who knows the shape and the versions of the rows that an answer shows (each row tells its own,
-- its xmin) knows whether the answer is still good, whatever was sold meanwhile. See common/catalogue.h.
--
-- As with 0017: whoever changes the shape holds the lock (shared) until its end and has raised the version
-- before its first row.
CREATE SEQUENCE catalogue_shape AS bigint;

-- With its owner's rights: who may change a product need not know of this sequence.
CREATE FUNCTION raise_catalogue_shape() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('till catalogue shape', 0));
    PERFORM nextval('catalogue_shape');
    RETURN NULL;
END $$;
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION raise_catalogue_shape() SET search_path = %I, pg_temp', current_schema());
END $$;

-- What of a product only its own row shows is not here: description, stock and the time of the change.
CREATE TRIGGER products_shape
    BEFORE INSERT OR DELETE OR TRUNCATE OR UPDATE OF id, name, price, category_id, created_at ON products
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_shape();
CREATE TRIGGER categories_shape BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON categories
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_shape();
CREATE TRIGGER reviews_shape BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON reviews
    FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_shape();
