-- name: list_logs
-- Reads logs in order: of some traces, or of all; of shared traces only what belongs to an execution.
SELECT * FROM spane.execution_logs AS log
 WHERE true
   AND trace_key = ANY (:trace_keys::uuid[]) -- when: trace_keys
   AND (trace_key <> ALL (:shared_keys::uuid[]) -- when: shared_keys
        OR execution_id = :execution_id -- when: shared_keys
        OR (execution_id IS NULL -- when: shared_keys
            AND (trace_key, span_id) IN (SELECT * FROM unnest(:span_traces::uuid[], :span_ids::bigint[])))) -- when: shared_keys
   AND span_id = :span_id -- when: span_id
   AND severity >= :least_severity -- when: least_severity
   AND node_id = :node_id -- when: node_id
   AND time_ns >= :since -- when: since
   AND time_ns < :until -- when: until
   AND (time_ns, seq, log_id, trace_key) > (:after_ns, :after_seq, :after_id::uuid, :after_key::uuid) -- when: after_ns
 ORDER BY time_ns, seq, log_id, trace_key
 LIMIT :limit;
