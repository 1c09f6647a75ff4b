-- name: list_spans
-- Reads the spans of some traces in order.
SELECT * FROM spane.execution_spans
 WHERE trace_id = ANY (:trace_ids::uuid[])
 ORDER BY start_ns, seq, span_id, trace_id
 LIMIT :limit;

-- name: list_resources
-- Reads resources by their ids.
SELECT * FROM spane.resources WHERE resource_id = ANY (:ids::uuid[]);

-- name: list_scopes
-- Reads instrumentation scopes by their ids.
SELECT * FROM spane.scopes WHERE scope_id = ANY (:ids::uuid[]);

-- name: list_roots
-- Lists each trace by its root, newest first: its earliest parentless span, else its earliest entry span.
SELECT trace_id, span_id, name, service, kind, status, status_message, state, process_id, start_ns, end_ns
  FROM spane.execution_spans AS root
 WHERE (parent_id IS NULL OR flags & 768 = 768)
   AND service = :service -- when: service
   AND name = :name -- when: name
   AND start_ns >= :since -- when: since
   AND start_ns < :until -- when: until
   AND (start_ns, trace_id) < (:before_ns, :before_id::uuid) -- when: before_ns
   AND NOT EXISTS (
       SELECT FROM spane.execution_spans AS other
        WHERE other.trace_id = root.trace_id AND (other.parent_id IS NULL OR other.flags & 768 = 768)
          AND (other.parent_id IS NOT NULL, other.start_ns, other.seq, other.span_id)
            < (root.parent_id IS NOT NULL, root.start_ns, root.seq, root.span_id))
 ORDER BY start_ns DESC, trace_id DESC
 LIMIT :limit;

-- name: count_spans
-- Counts the spans of some traces by execution and node, at most so many of each trace.
SELECT wanted.trace_id, counted.*
  FROM unnest(:trace_ids::uuid[]) AS wanted (trace_id)
 CROSS JOIN LATERAL (
       SELECT execution_id, node_id, count(*) AS spans, count(*) FILTER (WHERE status = 2) AS errors,
              count(*) FILTER (WHERE end_ns IS NULL) AS open
         FROM (SELECT execution_id, node_id, status, end_ns FROM spane.execution_spans AS bounded
                WHERE bounded.trace_id = wanted.trace_id LIMIT :limit) AS bounded
        GROUP BY execution_id, node_id) AS counted;

-- name: count_logs
-- Counts the logs of some traces by execution, at most so many of each trace.
SELECT wanted.trace_id, counted.*
  FROM unnest(:trace_ids::uuid[]) AS wanted (trace_id)
 CROSS JOIN LATERAL (
       SELECT execution_id, count(*) AS logs, count(*) FILTER (WHERE severity BETWEEN 13 AND 16) AS warnings
         FROM (SELECT execution_id, severity FROM spane.execution_logs AS bounded
                WHERE bounded.trace_key = wanted.trace_id LIMIT :limit) AS bounded
        GROUP BY execution_id) AS counted;
