-- What each program may do in this database: all of it stands here and nowhere else. `till migrate`
-- applies this file after every migration, to those of the roles that exist (roles.sql makes them), and
-- changes only what differs: granting what is missing, and taking away what is not written here. The
-- owner of the tables suffices for it. A new table is out of everybody's reach until it stands here.
--
-- Triggers and functions run with the rights of whoever fires them, so what those write is here, too;
-- views and foreign keys run with their owner's, and so do raise_users_changed() and
-- raise_catalogue_shape().
DO $$
DECLARE
    change record;
BEGIN
  -- Twice: to take a privilege on a table takes it on its columns, too, those that are wanted included.
  FOR pass IN 1 .. 2 LOOP
    FOR change IN
        WITH line (role, privileges, tables, columns) AS (VALUES
            -- Takes orders and payments, and hands out jobs. Users can be made, but not changed, and no
            -- staff; of a payment only what its gateway tells; jobs are begun, not changed or deleted.
            ('till_api', 'SELECT', 'schema_migrations users refresh_tokens idempotency_keys categories
                products product_ratings shopping_carts cart_items orders order_items payments reviews
                wishlists wishlist_items gateway_events jobs tasks catalogue_version user_writes
                users_changed api_sessions catalogue_shape', ''),
            ('till_api', 'USAGE', 'catalogue_version api_sessions', ''),
            ('till_api', 'INSERT', 'users', 'username email first_name last_name password_hash'),
            ('till_api', 'INSERT', 'refresh_tokens idempotency_keys categories products shopping_carts
                cart_items orders order_items payments payment_events reviews wishlists wishlist_items
                gateway_events jobs user_writes', ''),
            ('till_api', 'UPDATE', 'user_writes', 'writes'),
            ('till_api', 'UPDATE', 'refresh_tokens', 'used_at revoked_at'),
            ('till_api', 'UPDATE', 'categories products shopping_carts cart_items reviews wishlists
                wishlist_items', ''),
            ('till_api', 'UPDATE', 'orders', 'order_status total_amount'),
            ('till_api', 'UPDATE', 'payments',
                'status gateway_reference failure_code failure_message paid_at first_sent_at'),
            ('till_api', 'UPDATE', 'gateway_events', 'outcome payment_id'),
            ('till_api', 'DELETE', 'categories products shopping_carts cart_items reviews wishlists
                wishlist_items', ''),

            -- Runs the jobs. Of users it sees whom to write to, no hash of a password; of sessions and
            -- kept answers, whether they are old.
            ('till_worker', 'SELECT', 'schema_migrations jobs job_errors tasks queues limits limit_buckets limit_ghosts
                limit_freed limit_counts worker_orders started_jobs job_logs job_progress flows flow_gates
                categories products orders order_items payments sales sales_reports trial_counters
                trial_entries catalogue_version time_limits job_search_open', ''),
            ('till_worker', 'SELECT', 'audit', 'id at'),
            ('till_worker', 'SELECT', 'gateway_events', 'id received_at'),
            ('till_worker', 'UPDATE', 'gateway_events', 'received_at'),
            ('till_worker', 'SELECT', 'dashboard_sessions', 'hash expires_at'),
            ('till_worker', 'UPDATE', 'dashboard_sessions', 'expires_at'),
            ('till_worker', 'SELECT', 'users',
                'id username email first_name last_name is_active is_staff created_at'),
            ('till_worker', 'SELECT', 'refresh_tokens', 'jti_hash user_id expires_at revoked_at'),
            ('till_worker', 'UPDATE', 'refresh_tokens', 'revoked_at'),
            ('till_worker', 'SELECT', 'idempotency_keys', 'ctid created_at'),
            ('till_worker', 'UPDATE', 'idempotency_keys', 'created_at'),
            ('till_worker', 'USAGE', 'catalogue_version', ''),
            ('till_worker', 'INSERT', 'jobs job_errors tasks limit_buckets limit_ghosts limit_freed job_logs
                job_progress flows flow_gates payment_events sales_reports trial_entries job_search_open', ''),
            ('till_worker', 'UPDATE', 'jobs tasks limit_buckets limit_ghosts job_progress flows flow_gates
                trial_counters', ''),
            ('till_worker', 'UPDATE', 'job_search_open', 'turn'),
            ('till_worker', 'UPDATE', 'products', 'stock_quantity'),
            ('till_worker', 'UPDATE', 'orders', 'order_status'),
            ('till_worker', 'UPDATE', 'payments',
                'status gateway_reference failure_code failure_message paid_at first_sent_at'),
            ('till_worker', 'DELETE', 'jobs limit_buckets limit_ghosts limit_freed job_logs job_progress
                flows refresh_tokens idempotency_keys audit gateway_events dashboard_sessions', ''),

            -- Brings jobs to their streams. Nothing of the shop.
            ('till_scheduler', 'SELECT', 'schema_migrations jobs tasks queues limits limit_buckets limit_ghosts
                limit_freed limit_counts started_jobs flows flow_gates schedules schedule_runs job_minutes
                worker_counts worker_queue_counts task_secrets job_segments job_grams
                job_search_mark job_search_open', ''),
            ('till_scheduler', 'INSERT', 'jobs job_errors limit_buckets limit_ghosts limit_freed schedules
                schedule_runs job_minutes worker_counts worker_queue_counts job_segments job_grams
                job_search_open', ''),
            ('till_scheduler', 'UPDATE', 'jobs limit_buckets limit_ghosts flows flow_gates schedules
                schedule_runs job_minutes worker_counts worker_queue_counts job_segments
                job_search_mark job_search_open', ''),
            ('till_scheduler', 'DELETE', 'limit_buckets limit_ghosts limit_freed schedules schedule_runs
                job_minutes worker_counts worker_queue_counts job_segments job_grams
                job_search_open', ''),

            -- Shows jobs, and changes them where its users may. Nothing of the shop; what stands in the
            -- audit log stays there.
            ('till_dashboard', 'SELECT', 'schema_migrations jobs job_errors job_logs job_progress
                job_minutes job_replays tasks queues limits limit_buckets limit_ghosts limit_freed limit_counts
                started_jobs flows flow_gates schedules schedule_runs worker_orders audit
                dashboard_sessions time_limits task_secrets job_segments job_grams job_search_mark
                job_search_open', ''),
            ('till_dashboard', 'INSERT', 'jobs job_errors job_replays queues limits limit_buckets limit_ghosts
                limit_freed schedule_runs worker_orders audit dashboard_sessions time_limits
                job_search_open', ''),
            ('till_dashboard', 'UPDATE', 'jobs queues limits limit_buckets limit_ghosts flows flow_gates schedule_runs
                worker_orders time_limits', ''),
            ('till_dashboard', 'UPDATE', 'job_search_open', 'turn'),
            ('till_dashboard', 'UPDATE', 'schedules', 'paused_at paused_by waiting_tick next_tick next_run
                decided_to'),
            ('till_dashboard', 'DELETE', 'jobs job_logs job_progress queues limits limit_buckets limit_ghosts
                limit_freed worker_orders dashboard_sessions time_limits', '')
        ), wanted (role, privilege, relation, kind, name) AS (
            SELECT r.oid, p.privilege, c.oid, c.relkind, a.attname::text
            FROM line l JOIN pg_roles r ON r.rolname = l.role
            CROSS JOIN regexp_split_to_table(l.privileges, '\s+') p (privilege)
            CROSS JOIN regexp_split_to_table(l.tables, '\s+') t (name)
            JOIN pg_class c ON c.relname = t.name AND c.relnamespace = current_schema()::regnamespace
            LEFT JOIN pg_attribute a ON a.attrelid = c.oid
                AND a.attname = ANY (regexp_split_to_array(l.columns, '\s+'))
            WHERE l.columns = '' OR a.attname IS NOT NULL
        ), given (role, privilege, relation, kind, name) AS (
            SELECT r.oid, x.privilege_type, c.oid, c.relkind, x.name
            FROM pg_class c CROSS JOIN LATERAL (
                SELECT g.*, NULL::text AS name FROM aclexplode(c.relacl) g
                UNION ALL SELECT g.*, a.attname::text FROM pg_attribute a, aclexplode(a.attacl) g
                    WHERE a.attrelid = c.oid) x
            JOIN pg_roles r ON r.oid = x.grantee
                AND r.rolname IN ('till_api', 'till_worker', 'till_scheduler', 'till_dashboard')
            WHERE c.relnamespace = current_schema()::regnamespace
        ), different (verb, role, privilege, relation, kind, name) AS (
            (SELECT 'REVOKE', * FROM given EXCEPT SELECT 'REVOKE', * FROM wanted)
            UNION ALL (SELECT 'GRANT', * FROM wanted EXCEPT SELECT 'GRANT', * FROM given)
        )
        SELECT verb, privilege, relation::regclass, role::regrole,
            CASE WHEN kind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
            string_agg(quote_ident(name), ', ') AS columns
        FROM different GROUP BY verb, privilege, relation, role, kind, name IS NULL
        ORDER BY verb DESC, name IS NULL DESC
    LOOP
        EXECUTE format('%s %s%s ON %s %s %s %s', change.verb, change.privilege,
            coalesce(' (' || change.columns || ')', ''), change.kind, change.relation,
            CASE change.verb WHEN 'GRANT' THEN 'TO' ELSE 'FROM' END, change.role);
    END LOOP;
  END LOOP;
END $$;
