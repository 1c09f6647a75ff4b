-- name: get_execution
-- Reads an execution with its metadata, its traces (oldest first), and since when it is abandoned, if it is.
SELECT e.*, m.metadata,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = e.initial_data_payload) AS initial_data_kept,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = e.result_payload) AS result_kept,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = m.metadata_payload) AS metadata_kept,
       (SELECT (extract(epoch FROM last_seen_at) * 1000000000)::bigint FROM spane.processes AS stale
         WHERE stale.process_id = e.process_id AND e.status = 'running'
           AND last_seen_at < now() - make_interval(secs => :stale_seconds)) AS abandoned_since_ns,
       ARRAY(SELECT trace_id FROM spane.execution_traces AS link
              WHERE link.execution_id = e.execution_id AND root_span_id = 0 AND root_start_ns = 0
              ORDER BY start_ns, trace_id) AS trace_ids
  FROM spane.executions AS e
  LEFT JOIN spane.execution_metadata AS m ON m.execution_id = e.execution_id
 WHERE e.execution_id = :execution_id;

-- name: list_executions
-- Chooses executions by keys and filters alone, in one of three orders, then reads those as get_execution does.
WITH page AS (
    SELECT execution_id
      FROM spane.executions AS e
     WHERE true
       AND execution_id = ANY (:execution_ids::text[]) -- when: execution_ids
       AND parent_execution_id = :parent_execution_id -- when: parent_execution_id
       AND workflow_id = :workflow_id -- when: workflow_id
       AND status = :status -- when: status
       AND status IN ('running', 'paused') -- when: is_unfinished
       AND NOT EXISTS (SELECT FROM spane.processes AS stale -- when: is_alive
                        WHERE stale.process_id = e.process_id -- when: is_alive
                          AND last_seen_at < now() - make_interval(secs => :stale_seconds)) -- when: is_alive
       AND EXISTS (SELECT FROM spane.processes AS stale -- when: is_abandoned
                    WHERE stale.process_id = e.process_id -- when: is_abandoned
                      AND last_seen_at < now() - make_interval(secs => :stale_seconds)) -- when: is_abandoned
       AND started_ns >= :since -- when: since
       AND started_ns < :until -- when: until
       AND started_ns <= :latest_ns -- when: latest_ns
       AND changed_ns <= :latest_ns -- when: is_idle
       AND (started_ns, execution_id) < (:before_ns, :before_id) -- when: before_ns
     ORDER BY started_ns DESC, execution_id DESC -- when: newest_first
     ORDER BY started_ns, execution_id -- when: oldest_first
     ORDER BY greatest(started_ns, changed_ns), execution_id -- when: is_idle
     LIMIT :limit::bigint OFFSET :offset::bigint
)
SELECT e.*, m.metadata,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = e.initial_data_payload) AS initial_data_kept,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = e.result_payload) AS result_kept,
       (SELECT data FROM spane.execution_payloads AS p
         WHERE p.execution_id = e.execution_id AND p.payload_id = m.metadata_payload) AS metadata_kept,
       (SELECT (extract(epoch FROM last_seen_at) * 1000000000)::bigint FROM spane.processes AS stale
         WHERE stale.process_id = e.process_id AND e.status = 'running'
           AND last_seen_at < now() - make_interval(secs => :stale_seconds)) AS abandoned_since_ns,
       ARRAY(SELECT trace_id FROM spane.execution_traces AS link
              WHERE link.execution_id = e.execution_id AND root_span_id = 0 AND root_start_ns = 0
              ORDER BY start_ns, trace_id) AS trace_ids
  FROM page
  JOIN spane.executions AS e ON e.execution_id = page.execution_id
  LEFT JOIN spane.execution_metadata AS m ON m.execution_id = e.execution_id
 ORDER BY e.started_ns DESC, e.execution_id DESC -- when: newest_first
 ORDER BY e.started_ns, e.execution_id -- when: oldest_first
 ORDER BY greatest(e.started_ns, e.changed_ns), e.execution_id -- when: is_idle
;

-- name: count_executions
-- Tells how many executions there are, all or those of a workflow.
SELECT coalesce(sum(count), 0)::bigint AS count FROM spane.execution_counts
 WHERE true
   AND workflow_id = :workflow_id -- when: workflow_id
;

-- name: add_execution_counts
-- Moves the numbers of executions by workflow.
SELECT spane.add_execution_counts(:workflow_ids::text[], :deltas::bigint[]);

-- name: list_known_executions
-- Lists which of some executions there are, how many nodes their versions have, and what is needed to count those done.
SELECT e.execution_id, CASE WHEN e.origin = 'api' THEN e.nodes_total ELSE version.node_count END AS nodes_total,
       CASE WHEN e.origin = 'api' AND e.nodes_total IS NOT NULL THEN e.nodes_done END AS nodes_done,
       CASE WHEN e.origin = 'spans'
            THEN ARRAY(SELECT node_id FROM spane.workflow_nodes AS node
                        WHERE node.workflow_id = e.workflow_id AND node.version = e.workflow_version) END AS node_ids
  FROM spane.executions AS e
  LEFT JOIN spane.workflow_versions AS version
    ON version.workflow_id = e.workflow_id AND version.version = e.workflow_version
 WHERE e.execution_id = ANY (:execution_ids::text[]);

-- name: list_done_nodes
-- Lists the nodes of some executions that have a final result.
SELECT DISTINCT execution_id, node_id FROM spane.node_results
 WHERE execution_id = ANY (:execution_ids::text[]) AND is_final;

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

-- name: find_relatives
-- Finds the parent and the root of an execution.
SELECT parent_execution_id, root_execution_id FROM spane.executions WHERE execution_id = :execution_id;

-- name: lock_execution
-- Reads what decides about a change of an execution, and locks it.
SELECT origin, status, content_hash FROM spane.executions WHERE execution_id = :execution_id FOR NO KEY UPDATE;

-- name: lock_execution_to_delete
-- Reads which workflow an execution belongs to, and keeps everybody else from it.
SELECT workflow_id FROM spane.executions WHERE execution_id = :execution_id FOR UPDATE;

-- name: find_operation
-- Finds the status change that an operation of the caller's has made already.
SELECT seq FROM spane.state_change_audit
 WHERE execution_id = :execution_id AND operation_id = :operation_id AND change = 'status';

-- name: change_status
-- Changes an execution's status, with audit and announcement; it is the caller's from now on.
WITH changed AS (
    UPDATE spane.executions
       SET status = :status, origin = 'api', process_id = NULL, changed_ns = :now_ns,
           audit_seq = audit_seq + cardinality(:change::text[])
           , ended_ns = :ended_ns -- when: ended_ns
           , error = :error -- when: error
           , result = :result, result_payload = :result_payload -- when: has_result
     WHERE execution_id = :execution_id
    RETURNING audit_seq - cardinality(:change::text[]) AS seq
), kept AS (
    INSERT INTO spane.execution_payloads (execution_id, payload_id, size_bytes, encoding, data)
    SELECT execution_id, payload_id, size_bytes, 'zlib', data
      FROM unnest(:payload_execution_id::text[], :payload_id::uuid[], :payload_size::integer[], :payload_data::bytea[])
           AS payload (execution_id, payload_id, size_bytes, data)
        ON CONFLICT (execution_id, payload_id) DO NOTHING
), audited AS (
    INSERT INTO spane.state_change_audit
        (execution_id, seq, changed_ns, operation_id, change, old_value, new_value, actor, detail)
    SELECT :execution_id, changed.seq + place, :now_ns, operation_id, change, old_value, new_value, :actor, detail
      FROM changed, unnest(:operation_id::uuid[], :change::text[], :old_value::text[], :new_value::text[],
                           :detail::text[])
           WITH ORDINALITY AS entry (operation_id, change, old_value, new_value, detail, place)
)
INSERT INTO spane.changes (kind, execution_id) VALUES ('execution', :execution_id);

-- name: read_metadata
-- Reads an execution's metadata.
SELECT metadata, metadata_payload, data AS metadata_kept
  FROM spane.execution_metadata AS m
  LEFT JOIN spane.execution_payloads AS p ON p.execution_id = m.execution_id AND p.payload_id = m.metadata_payload
 WHERE m.execution_id = :execution_id;

-- name: write_metadata
-- Stores an execution's metadata, with audit (where a caller owns the execution) and announcement.
WITH kept AS (
    INSERT INTO spane.execution_payloads (execution_id, payload_id, size_bytes, encoding, data)
    SELECT execution_id, payload_id, size_bytes, 'zlib', data
      FROM unnest(:payload_execution_id::text[], :payload_id::uuid[], :payload_size::integer[], :payload_data::bytea[])
           AS payload (execution_id, payload_id, size_bytes, data)
        ON CONFLICT (execution_id, payload_id) DO NOTHING
), written AS (
    INSERT INTO spane.execution_metadata (execution_id, metadata, metadata_payload)
    VALUES (:execution_id, :metadata, :metadata_payload)
        ON CONFLICT (execution_id) DO UPDATE
       SET metadata = excluded.metadata, metadata_payload = excluded.metadata_payload
), changed AS (
    UPDATE spane.executions SET changed_ns = :now_ns, audit_seq = audit_seq + 1
     WHERE execution_id = :execution_id AND origin = 'api'
    RETURNING audit_seq AS seq
), audited AS (
    INSERT INTO spane.state_change_audit (execution_id, seq, changed_ns, change, actor)
    SELECT :execution_id, seq, :now_ns, 'metadata', :actor FROM changed
)
INSERT INTO spane.changes (kind, execution_id) VALUES ('execution', :execution_id);

-- name: drop_payload
-- Deletes a payload that nothing of its execution points to any more.
DELETE FROM spane.execution_payloads AS p
 WHERE execution_id = :execution_id AND payload_id = :payload_id
   AND NOT EXISTS (SELECT FROM spane.executions AS e
                    WHERE e.execution_id = p.execution_id AND p.payload_id IN (initial_data_payload, result_payload))
   AND NOT EXISTS (SELECT FROM spane.execution_metadata AS m
                    WHERE m.execution_id = p.execution_id AND p.payload_id = metadata_payload)
   AND NOT EXISTS (SELECT FROM spane.node_results AS r
                    WHERE r.execution_id = p.execution_id AND p.payload_id IN (data_payload, input_payload))
   AND NOT EXISTS (SELECT FROM spane.dead_letters AS d
                    WHERE d.execution_id = p.execution_id AND p.payload_id = job_data_payload);

-- name: set_execution_timeout
-- Sets when an execution is failed, with audit (where a caller owns it) and announcement; nothing where that is set.
WITH changed AS (
    UPDATE spane.executions
       SET timeout_ns = :timeout_ns,
           audit_seq = audit_seq + (origin = 'api')::integer,
           changed_ns = CASE WHEN origin = 'api' THEN :now_ns ELSE changed_ns END
     WHERE execution_id = :execution_id AND timeout_ns IS DISTINCT FROM :timeout_ns
    RETURNING execution_id, audit_seq AS seq, origin
), audited AS (
    INSERT INTO spane.state_change_audit (execution_id, seq, changed_ns, change, actor)
    SELECT execution_id, seq, :now_ns, 'timeout', :actor FROM changed WHERE origin = 'api'
)
INSERT INTO spane.changes (kind, execution_id) SELECT 'execution', execution_id FROM changed;

-- name: lock_overdue_executions
-- Locks executions whose time is up, the longest overdue first, leaving out what others work on at this moment.
SELECT execution_id, status, origin FROM spane.executions
 WHERE timeout_ns <= :now_ns AND status IN ('running', 'paused')
 ORDER BY timeout_ns, execution_id
 LIMIT :limit
   FOR NO KEY UPDATE SKIP LOCKED;

-- name: fail_overdue_executions
-- Fails executions whose time is up, with audit and announcement; they are the callers' from now on.
WITH given AS (
    SELECT * FROM unnest(:execution_id::text[], :status::text[], :is_adopted::boolean[])
                  AS given (execution_id, old_status, is_adopted)
), changed AS (
    UPDATE spane.executions AS held
       SET status = 'failed', error = 'timeout', ended_ns = :now_ns, origin = 'api', process_id = NULL,
           changed_ns = :now_ns, audit_seq = audit_seq + 1 + is_adopted::integer
      FROM given
     WHERE held.execution_id = given.execution_id
    RETURNING held.execution_id, audit_seq AS seq, old_status, is_adopted
), audited AS (
    INSERT INTO spane.state_change_audit (execution_id, seq, changed_ns, change, old_value, new_value, actor, detail)
    SELECT execution_id, seq - 1, :now_ns, 'adopted', old_status, old_status, :actor, NULL FROM changed WHERE is_adopted
    UNION ALL
    SELECT execution_id, seq, :now_ns, 'status', old_status, 'failed', :actor, 'timeout' FROM changed
)
INSERT INTO spane.changes (kind, execution_id) SELECT 'execution', execution_id FROM changed;

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
SELECT (SELECT coalesce(sum(count), 0)::bigint FROM spane.execution_counts) AS executions,
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
