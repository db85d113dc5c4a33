-- The roles that hold what each program may do; grants.sql gives it to them. `till migrate --roles`
-- applies this file, by somebody who may create roles.
--
-- Roles belong to the whole server, not to one database: so this is no migration, which would have to
-- run as somebody mighty in every database, and would meet the roles that another one has made. They
-- cannot log in. A site makes its own logins with its own passwords, which Till never sees:
--
--   CREATE ROLE shop_api LOGIN PASSWORD '...' IN ROLE till_api;
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['till_api', 'till_worker', 'till_scheduler', 'till_dashboard'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- somebody has made it in another database at the same moment
        END;
    END LOOP;
END $$;
