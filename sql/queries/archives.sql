-- What moves between stores: read in one snapshot, written in the place of what is there.

-- name: read_archived_workflow
-- Reads a workflow's own row.
SELECT is_active, created_ns, updated_ns FROM spane.workflows WHERE workflow_id = :workflow_id;

-- name: list_archived_versions
-- Reads the versions of a workflow with their definitions, the oldest first.
SELECT held.workflow_id, held.version, held.version_id, held.content_hash, held.created_ns, held.created_by,
       held.change_notes, held.version = workflow.current_version AS is_current, held.definition
  FROM spane.workflows AS workflow
  JOIN spane.workflow_versions AS held ON held.workflow_id = workflow.workflow_id
 WHERE workflow.workflow_id = :workflow_id
 ORDER BY held.version;

-- name: insert_archived_workflow
-- Makes a workflow's row, unless there is one of this id; it has no version until one is written in this transaction.
INSERT INTO spane.workflows (workflow_id, current_version, is_active, created_ns, updated_ns, name)
VALUES (:workflow_id, 0, false, :created_ns, :updated_ns, '')
    ON CONFLICT (workflow_id) DO NOTHING;

-- name: update_archived_workflow
-- Makes a version the current one of a workflow that had an older one or this.
UPDATE spane.workflows
   SET current_version = :version, is_active = :is_active, created_ns = least(created_ns, :created_ns),
       updated_ns = :updated_ns, name = :name, description = :description
 WHERE workflow_id = :workflow_id AND current_version <= :version;

-- name: read_archived_state
-- Reads what only an archive has of an execution.
SELECT content_hash, nodes_total, timeout_ns, process_id,
       initial_data IS NOT NULL OR initial_data_payload IS NOT NULL AS has_initial_data,
       result IS NOT NULL OR result_payload IS NOT NULL AS has_result
  FROM spane.executions
 WHERE execution_id = :execution_id;

-- name: list_archived_traces
-- Reads all links and roots of an execution.
SELECT * FROM spane.execution_traces
 WHERE execution_id = :execution_id
 ORDER BY trace_id, root_span_id, root_start_ns;

-- name: list_archived_node_results
-- Reads every attempt at every node of an execution.
SELECT result.*, made.data AS packed_data, given.data AS packed_input
  FROM spane.node_results AS result
  LEFT JOIN spane.execution_payloads AS given
    ON given.execution_id = result.execution_id AND given.payload_id = result.input_payload
  LEFT JOIN spane.execution_payloads AS made
    ON made.execution_id = result.execution_id AND made.payload_id = result.data_payload
 WHERE result.execution_id = :execution_id
 ORDER BY result.node_id, result.iteration, result.attempt;

-- name: insert_archived_execution
-- Makes an execution's row, for the rest to be written to, unless there is one of this id.
INSERT INTO spane.executions (execution_id, origin, status, started_ns, depth)
VALUES (:execution_id, 'api', 'running', 0, 0)
    ON CONFLICT (execution_id) DO NOTHING;

-- name: lock_archived_execution
-- Locks an execution's row and tells which workflow it counts for.
SELECT workflow_id FROM spane.executions WHERE execution_id = :execution_id FOR NO KEY UPDATE;

-- name: clear_execution
-- Deletes all that is keyed by an execution but its own row.
WITH metadata AS (DELETE FROM spane.execution_metadata WHERE execution_id = :execution_id),
     traces AS (DELETE FROM spane.execution_traces WHERE execution_id = :execution_id),
     payloads AS (DELETE FROM spane.execution_payloads WHERE execution_id = :execution_id),
     results AS (DELETE FROM spane.node_results WHERE execution_id = :execution_id),
     audit AS (DELETE FROM spane.state_change_audit WHERE execution_id = :execution_id),
     leases AS (DELETE FROM spane.execution_leases WHERE execution_id = :execution_id)
DELETE FROM spane.dead_letters WHERE execution_id = :execution_id;

-- name: update_archived_execution
-- Writes an execution's own row; the version that it ran is held where it is here.
UPDATE spane.executions
   SET started_ns = :started_ns, ended_ns = :ended_ns, content_hash = :content_hash, depth = :depth, origin = :origin,
       status = :status, workflow_id = :workflow_id, workflow_version = :workflow_version,
       version_label = :version_label, external_id = :external_id, parent_execution_id = :parent_execution_id,
       root_execution_id = :root_execution_id, process_id = :process_id, error = :error,
       initial_data = :initial_data, initial_data_payload = :initial_data_payload,
       result = :result, result_payload = :result_payload, timeout_ns = :timeout_ns, nodes_total = :nodes_total,
       changed_ns = :changed_ns, audit_seq = :audit_seq,
       version_id = (SELECT version_id FROM spane.workflow_versions
                      WHERE workflow_id = :workflow_id::text AND version = :workflow_version::integer
                        AND :origin::text = 'api')
 WHERE execution_id = :execution_id;

-- name: insert_archived_metadata
-- Stores an execution's metadata.
INSERT INTO spane.execution_metadata (execution_id, metadata, metadata_payload)
VALUES (:execution_id, :metadata, :metadata_payload);

-- name: insert_archived_payloads
-- Stores the long texts of an execution.
INSERT INTO spane.execution_payloads (execution_id, payload_id, size_bytes, encoding, data)
SELECT execution_id, payload_id, size_bytes, 'zlib', data
  FROM unnest(:payload_execution_id::text[], :payload_id::uuid[], :payload_size::integer[], :payload_data::bytea[])
       AS given (execution_id, payload_id, size_bytes, data);

-- name: insert_archived_node_results
-- Stores every attempt at every node.
INSERT INTO spane.node_results
    (execution_id, node_id, iteration, attempt, started_ns, ended_ns, data_payload, input_payload, success, skipped,
     is_final, worker, error, next_nodes, data, input)
SELECT :execution_id::text, given.*
  FROM unnest(:node_id::text[], :iteration::integer[], :attempt::integer[], :started_ns::bigint[],
              :ended_ns::bigint[], :data_payload::uuid[], :input_payload::uuid[], :success::boolean[],
              :skipped::boolean[], :is_final::boolean[], :worker::text[], :error::text[], :next_nodes::json[],
              :data::json[], :input::json[]) AS given;

-- name: insert_archived_audit
-- Stores the audit.
INSERT INTO spane.state_change_audit
    (execution_id, seq, changed_ns, iteration, attempt, change, old_value, new_value, node_id, actor, detail)
SELECT :execution_id::text, given.*
  FROM unnest(:seq::integer[], :changed_ns::bigint[], :iteration::integer[], :attempt::integer[], :change::text[],
              :old_value::text[], :new_value::text[], :node_id::text[], :actor::text[], :detail::text[]) AS given;

-- name: insert_archived_dead_letters
-- Stores dead letters.
INSERT INTO spane.dead_letters
    (execution_id, dead_letter_id, failed_ns, retried_ns, job_data_payload, iteration, attempt, attempts_made, node_id,
     workflow_id, job_id, error, job_data)
SELECT :execution_id::text, given.*
  FROM unnest(:dead_letter_id::uuid[], :failed_ns::bigint[], :retried_ns::bigint[], :job_data_payload::uuid[],
              :iteration::integer[], :attempt::integer[], :attempts_made::integer[], :node_id::text[],
              :workflow_id::text[], :job_id::text[], :error::text[], :job_data::json[]) AS given;

-- name: recount_nodes
-- Counts anew which nodes of the pinned version are done, and which of them failed.
SELECT spane.recount_nodes(:execution_id);

-- name: list_archived_spans
-- Reads spans by their keys: all, or those of some traces, of shared ones only what is chosen.
SELECT * FROM spane.execution_spans
 WHERE true
   AND trace_id = ANY (:trace_ids::uuid[]) -- when: trace_ids
   AND (trace_id <> ALL (:shared_ids::uuid[]) -- when: shared_ids
        OR (trace_id, span_id) IN (SELECT * FROM unnest(:span_traces::uuid[], :span_ids::bigint[]))) -- when: shared_ids
   AND (trace_id, span_id, start_ns) > (:after_key::uuid, :after_id::bigint, :after_ns::bigint) -- when: after_key
 ORDER BY trace_id, span_id, start_ns
 LIMIT :limit;

-- name: list_archived_logs
-- Reads logs by their keys: all, or those of some traces, of shared ones only what is an execution's.
SELECT * FROM spane.execution_logs
 WHERE true
   AND trace_key = ANY (:trace_keys::uuid[]) -- when: trace_keys
   AND (trace_key <> ALL (:shared_keys::uuid[]) -- when: shared_keys
        OR execution_id = :execution_id -- when: shared_keys
        OR (execution_id IS NULL -- when: shared_keys
            AND (trace_key, span_id) IN (SELECT * FROM unnest(:span_traces::uuid[], :span_ids::bigint[])))) -- when: shared_keys
   AND (trace_key, log_id, time_ns) > (:after_key::uuid, :after_id::uuid, :after_ns::bigint) -- when: after_key
 ORDER BY trace_key, log_id, time_ns
 LIMIT :limit;

-- name: list_tree
-- Reads of the spans of some traces what tells which belong to an execution.
SELECT trace_id, span_id, parent_id, execution_id FROM spane.execution_spans
 WHERE trace_id = ANY (:trace_ids::uuid[]);
