-- Whatever reads spans to show them begins with these columns in this order, in which reading.py takes them apart.

-- name: list_spans
-- Reads the spans of some traces in order.
SELECT trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, kind, status,
       dropped_attributes_count, dropped_events_count, dropped_links_count, name, status_message, state, trace_state,
       execution_id, node_id, process_id, added_id, attributes, events, links, seq
  FROM spane.execution_spans
 WHERE trace_id = ANY (:trace_ids::uuid[])
 ORDER BY start_ns, seq, span_id, trace_id
 LIMIT :limit;

-- name: list_execution_spans
-- Reads of each execution that is there its traces, each with its spans, unless another execution has it too.
SELECT link.trace_id, span.span_id, span.start_ns, span.end_ns, span.parent_id, span.resource_id, span.scope_id,
       span.flags, span.kind, span.status, span.dropped_attributes_count, span.dropped_events_count,
       span.dropped_links_count, span.name, span.status_message, span.state, span.trace_state, span.execution_id,
       span.node_id, span.process_id, span.added_id, span.attributes, span.events, span.links, span.seq,
       asked.n::integer, link.start_ns AS linked_ns, link.is_shared, link.traces
  FROM unnest((SELECT :execution_ids::text[])) WITH ORDINALITY AS asked (execution_id, n)
 CROSS JOIN LATERAL (
       SELECT FROM spane.executions AS held WHERE held.execution_id = asked.execution_id OFFSET 0) AS known
  LEFT JOIN LATERAL (
       SELECT trace_id, start_ns, count(*) OVER () AS traces,
              EXISTS (SELECT FROM spane.execution_traces AS other
                       WHERE other.trace_id = own.trace_id AND other.execution_id <> own.execution_id
                         AND other.root_span_id = 0 AND other.root_start_ns = 0 OFFSET 0) AS is_shared
         FROM spane.execution_traces AS own
        WHERE own.execution_id = asked.execution_id AND own.root_span_id = 0 AND own.root_start_ns = 0
       OFFSET 0) AS link ON true
  LEFT JOIN LATERAL (
       SELECT * FROM spane.execution_spans AS held
        WHERE held.trace_id = link.trace_id AND NOT link.is_shared
        ORDER BY held.start_ns, held.seq, held.span_id
        LIMIT :limit) AS span ON true;

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
