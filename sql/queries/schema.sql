-- name: describe_session
-- Tells which process of the server this session has, and how durable its commits are.
SELECT pg_backend_pid() AS pid, current_setting('synchronous_commit') AS synchronous_commit;

-- name: prepare_session
-- Makes plans look rows up by key, also those that are made while a table is empty, and bounds how long anything lasts.
SELECT set_config('jit', 'off', false), set_config('enable_seqscan', 'off', false),
       set_config('max_parallel_workers_per_gather', '0', false),
       set_config('statement_timeout', :statement_timeout, false),
       set_config('idle_in_transaction_session_timeout', '60s', false);

-- name: prepare_transaction
-- Does the same for one transaction, where the session is another client's afterwards.
SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('statement_timeout', :statement_timeout, true),
       set_config('idle_in_transaction_session_timeout', '60s', true);

-- name: raise_commit
-- Makes this transaction's commit wait for the disk.
SELECT set_config('synchronous_commit', 'on', true);

-- name: check_writable
-- Fails on a standby and wherever transactions are read-only.
INSERT INTO spane.changes (kind) SELECT 'spans' WHERE false;

-- name: describe_server
-- Tells version and encoding.
SELECT current_setting('server_version_num')::integer AS version, current_setting('server_encoding') AS encoding;

-- name: limit_lock_waits
-- Lets a migration give way instead of making every writer wait behind it.
SELECT set_config('lock_timeout', '2s', true);

-- name: lock_migrations
-- Lets one migrator of a schema work at a time, until the end of its transaction.
SELECT pg_advisory_xact_lock(:key);

-- name: find_schema
-- Finds a schema by its name.
SELECT nspname FROM pg_namespace WHERE nspname = :schema;

-- name: create_schema
-- Makes our schema.
CREATE SCHEMA spane;

-- name: list_columns
-- Lists a table's columns in order; none if there is no such table.
SELECT attname::text AS name
  FROM pg_attribute
  JOIN pg_class ON pg_class.oid = attrelid
  JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE nspname = :schema AND relname = :table AND attnum > 0 AND NOT attisdropped
 ORDER BY attnum;

-- name: list_relations
-- Lists the tables and views of a schema.
SELECT relname::text AS name
  FROM pg_class
  JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE nspname = :schema AND relkind IN ('r', 'p', 'v', 'm', 'f');

-- name: list_migrations
-- Lists what was applied to this schema.
SELECT name FROM spane.migrations ORDER BY version;

-- name: record_migration
-- Notes a migration as applied.
INSERT INTO spane.migrations (version, name) VALUES (:version, :name);

-- name: identify_schema
-- Names this schema of this database, as no other anywhere is called, under whatever address it is reached.
SELECT system_identifier || '.' || (SELECT oid FROM pg_database WHERE datname = current_database())
           || '.' || :schema::text::regnamespace::oid AS identity
  FROM pg_control_system();
