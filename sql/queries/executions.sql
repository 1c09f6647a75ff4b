-- name: get_execution
-- Reads an execution with its metadata, its traces (oldest first), and since when it is abandoned, if it is.
SELECT e.*, m.metadata,
       CASE WHEN stale.process_id IS NOT NULL
            THEN (extract(epoch FROM stale.last_seen_at) * 1000000000)::bigint END AS abandoned_since_ns,
       ARRAY(SELECT trace_id FROM spane.execution_traces AS link
              WHERE link.execution_id = e.execution_id AND root_span_id = 0 AND root_start_ns = 0
              ORDER BY start_ns, trace_id) AS trace_ids
  FROM spane.executions AS e
  LEFT JOIN spane.execution_metadata AS m ON m.execution_id = e.execution_id
  LEFT JOIN spane.processes AS stale
    ON stale.process_id = e.process_id AND e.status = 'running'
   AND stale.last_seen_at < now() - make_interval(secs => :stale_seconds)
 WHERE e.execution_id = :execution_id;

-- name: list_executions
-- Lists executions as get_execution reads them, newest first.
SELECT e.*, m.metadata,
       CASE WHEN stale.process_id IS NOT NULL
            THEN (extract(epoch FROM stale.last_seen_at) * 1000000000)::bigint END AS abandoned_since_ns,
       ARRAY(SELECT trace_id FROM spane.execution_traces AS link
              WHERE link.execution_id = e.execution_id AND root_span_id = 0 AND root_start_ns = 0
              ORDER BY start_ns, trace_id) AS trace_ids
  FROM spane.executions AS e
  LEFT JOIN spane.execution_metadata AS m ON m.execution_id = e.execution_id
  LEFT JOIN spane.processes AS stale
    ON stale.process_id = e.process_id AND e.status = 'running'
   AND stale.last_seen_at < now() - make_interval(secs => :stale_seconds)
 WHERE true
   AND e.workflow_id = :workflow_id -- when: workflow_id
   AND e.status = :status -- when: status
   AND stale.process_id IS NULL -- when: is_alive
   AND stale.process_id IS NOT NULL -- when: is_abandoned
   AND e.started_ns >= :since -- when: since
   AND e.started_ns < :until -- when: until
   AND (e.started_ns, e.execution_id) < (:before_ns, :before_id) -- when: before_ns
 ORDER BY e.started_ns DESC, e.execution_id DESC
 LIMIT :limit OFFSET :offset;

-- name: count_executions
-- Counts executions, all or those of a workflow.
SELECT count(*) AS count FROM spane.executions
 WHERE true
   AND workflow_id = :workflow_id -- when: workflow_id
;

-- name: list_known_executions
-- Lists which of some executions there are.
SELECT execution_id FROM spane.executions WHERE execution_id = ANY (:execution_ids::text[]);

-- name: list_children
-- Lists executions whose parent is one of some.
SELECT execution_id FROM spane.executions
 WHERE parent_execution_id = ANY (:execution_ids::text[])
 ORDER BY started_ns, execution_id;

-- name: list_links
-- Lists the traces of some executions, oldest first.
SELECT execution_id, trace_id FROM spane.execution_traces
 WHERE execution_id = ANY (:execution_ids::text[]) AND root_span_id = 0 AND root_start_ns = 0
 ORDER BY start_ns, trace_id;

-- name: list_owners
-- Lists the executions of some traces, the earliest linked first.
SELECT trace_id, execution_id FROM spane.execution_traces
 WHERE trace_id = ANY (:trace_ids::uuid[]) AND root_span_id = 0 AND root_start_ns = 0
 ORDER BY start_ns, execution_id;

-- name: find_root_execution
-- Finds the root of an execution's family.
SELECT root_execution_id FROM spane.executions WHERE execution_id = :execution_id;

-- name: insert_execution
-- Makes an execution for a caller, unless there is one of this id.
INSERT INTO spane.executions
    (execution_id, origin, status, started_ns, content_hash, depth, workflow_id, parent_execution_id,
     root_execution_id, initial_data)
VALUES (:execution_id, 'api', 'running', :started_ns, :content_hash, :depth, :workflow_id, :parent_execution_id,
        :root_execution_id, :initial_data)
    ON CONFLICT (execution_id) DO NOTHING;

-- name: lock_execution
-- Reads what decides about a change of an execution, and locks it.
SELECT origin, status, content_hash FROM spane.executions WHERE execution_id = :execution_id FOR UPDATE;

-- name: take_over_execution
-- Makes an execution that came from spans a caller's; its start, version and traces stay.
UPDATE spane.executions
   SET origin = 'api', status = 'running', ended_ns = NULL, result = NULL, error = NULL, process_id = NULL,
       content_hash = :content_hash, depth = :depth, workflow_id = :workflow_id,
       parent_execution_id = :parent_execution_id, root_execution_id = :root_execution_id,
       initial_data = :initial_data
 WHERE execution_id = :execution_id;

-- name: upsert_metadata
-- Stores an execution's metadata.
INSERT INTO spane.execution_metadata (execution_id, metadata) VALUES (:execution_id, :metadata)
    ON CONFLICT (execution_id) DO UPDATE SET metadata = excluded.metadata;

-- name: update_execution_status
-- Changes an execution's status; it is the caller's from now on.
UPDATE spane.executions
   SET status = :status, origin = 'api', process_id = NULL
       , ended_ns = :ended_ns -- when: ended_ns
       , error = :error -- when: error
 WHERE execution_id = :execution_id;

-- name: delete_execution
-- Deletes an execution and all that is keyed by it.
DELETE FROM spane.executions WHERE execution_id = :execution_id;

-- name: delete_spans
-- Deletes the spans of some traces, or what of them is stamped with an execution.
DELETE FROM spane.execution_spans
 WHERE trace_id = ANY (:trace_ids::uuid[])
   AND execution_id = :execution_id -- when: execution_id
;

-- name: delete_logs
-- Deletes the logs of some traces, or what of them is stamped with an execution.
DELETE FROM spane.execution_logs
 WHERE trace_key = ANY (:trace_ids::uuid[])
   AND execution_id = :execution_id -- when: execution_id
;

-- name: read_statistics
-- Tells how much is stored: exactly up to a bound, beyond it as the planner estimates.
SELECT (SELECT count(*) FROM spane.executions) AS executions,
       (SELECT count(*) FROM (SELECT FROM spane.execution_spans LIMIT :bound::bigint + 1) AS bounded) AS spans,
       (SELECT count(*) FROM (SELECT FROM spane.execution_logs LIMIT :bound::bigint + 1) AS bounded) AS logs,
       (SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0)::bigint
          FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'spane.execution_spans'::regclass) AS estimated_spans,
       (SELECT coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0)::bigint
          FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
         WHERE inhparent = 'spane.execution_logs'::regclass) AS estimated_logs,
       (SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint
          FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE pg_namespace.oid = 'spane'::regnamespace AND relkind = 'r') AS bytes;
