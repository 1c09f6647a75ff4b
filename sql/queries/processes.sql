-- name: introduce_processes
-- Makes processes known that a row names; one that is known stays as it is: rows may be late.
INSERT INTO spane.processes (process_id)
SELECT process_id FROM unnest(:process_ids::text[]) AS process_id
    ON CONFLICT (process_id) DO NOTHING;

-- name: lock_stale_processes
-- Finds which of some processes are stale, and keeps them so until the heartbeat is written.
SELECT process_id FROM spane.processes
 WHERE process_id = ANY (:process_ids::text[]) AND last_seen_at < now() - make_interval(secs => :stale_seconds)
 ORDER BY process_id
   FOR UPDATE;

-- name: upsert_heartbeats
-- Notes by this database's clock that processes are alive.
INSERT INTO spane.processes AS held (process_id, last_seen_at)
SELECT process_id, now() FROM unnest(:process_ids::text[]) AS process_id
    ON CONFLICT (process_id) DO UPDATE SET last_seen_at = greatest(held.last_seen_at, excluded.last_seen_at);

-- name: list_executions_run_by
-- Lists running executions of some processes.
SELECT execution_id FROM spane.executions
 WHERE status = 'running' AND process_id = ANY (:process_ids::text[]);

-- name: list_processes
-- Tells of each process when it was last heard of, and whether that is too long ago.
SELECT process_id, (extract(epoch FROM last_seen_at) * 1000000000)::bigint AS last_seen_ns,
       last_seen_at < now() - make_interval(secs => :stale_seconds) AS is_stale
  FROM spane.processes
 WHERE process_id = ANY (:process_ids::text[]);
