-- Spans and logs that are written by hand, many calls in one statement. The rows of their executions are locked against
-- deletion, which takes all that is written with them. An execution's traces are those that it is linked to.

-- name: find_added_parents
-- Finds the spans that some texts stand for: one added to the execution, else one of its traces with that id.
SELECT DISTINCT ON (given.n) given.n::integer, span.trace_id, span.span_id
  FROM unnest(:execution_id::text[], :added_id::text[], :hashed_id::bigint[], :span_id::bigint[])
       WITH ORDINALITY AS given (execution_id, added_id, hashed_id, span_id, n)
  JOIN spane.execution_traces AS link
    ON link.execution_id = given.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
  JOIN spane.execution_spans AS span
    ON span.trace_id = link.trace_id AND span.span_id = ANY (ARRAY[given.hashed_id, given.span_id])
 WHERE span.span_id = given.span_id OR (span.added_id = given.added_id AND span.execution_id = given.execution_id)
 ORDER BY given.n, span.span_id <> given.hashed_id, link.start_ns, link.trace_id, span.start_ns;

-- name: add_spans
-- Stores spans that are not there yet, links their traces, and tells of each what became of it.
WITH given AS MATERIALIZED (
    SELECT *
      FROM unnest(:execution_id::text[], :trace_id::uuid[], :span_id::bigint[], :start_ns::bigint[],
                  :has_start::boolean[], :is_named::boolean[], :end_ns::bigint[], :parent_id::bigint[],
                  :seq::integer[], :status::smallint[], :dropped_attributes_count::bigint[], :name::text[],
                  :status_message::text[], :state::text[], :node_id::text[], :added_id::text[], :attributes::json[],
                  :added_hash::uuid[])
           AS given (execution_id, trace_id, span_id, start_ns, has_start, is_named, end_ns, parent_id, seq, status,
                     dropped_attributes_count, name, status_message, state, node_id, added_id, attributes, added_hash)
), known AS MATERIALIZED (
    SELECT execution_id FROM spane.executions
     WHERE execution_id = ANY (:execution_ids::text[])
     ORDER BY execution_id
       FOR KEY SHARE
), held AS MATERIALIZED (
    SELECT given.execution_id, given.span_id,
           bool_or(span.added_hash IS NOT DISTINCT FROM given.added_hash
                   AND (span.start_ns = given.start_ns OR NOT given.has_start)) AS is_same
      FROM given
      JOIN spane.execution_traces AS link
        ON link.execution_id = given.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
      JOIN spane.execution_spans AS span ON span.trace_id = link.trace_id AND span.span_id = given.span_id
     WHERE given.is_named
     GROUP BY given.execution_id, given.span_id
), inserted AS (
    INSERT INTO spane.execution_spans
        (trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, revision, seq, kind, status,
         dropped_attributes_count, dropped_events_count, dropped_links_count, name, service, status_message, state,
         trace_state, execution_id, node_id, added_id, attributes, added_hash)
    SELECT trace_id, span_id, start_ns, end_ns, parent_id, :resource_id::uuid, :scope_id::uuid, 0, 0, seq, 1, status,
           dropped_attributes_count, 0, 0, name, :service::text, status_message, state,
           '', execution_id, node_id, added_id, attributes, added_hash
      FROM given
     WHERE execution_id IN (SELECT execution_id FROM known)
       AND (execution_id, span_id) NOT IN (SELECT execution_id, span_id FROM held)
        ON CONFLICT (trace_id, span_id, start_ns) DO NOTHING
    RETURNING execution_id, trace_id, span_id, start_ns
), starts AS MATERIALIZED (
    SELECT execution_id, trace_id, min(start_ns) AS start_ns FROM inserted GROUP BY execution_id, trace_id
), linked AS (
    INSERT INTO spane.execution_traces AS held
        (execution_id, trace_id, root_span_id, root_start_ns, start_ns, revision)
    SELECT execution_id, trace_id, 0, 0, start_ns, 0
      FROM starts
     WHERE NOT EXISTS (SELECT FROM spane.execution_traces AS link
                        WHERE link.execution_id = starts.execution_id AND link.trace_id = starts.trace_id
                          AND link.root_span_id = 0 AND link.root_start_ns = 0 AND link.start_ns <= starts.start_ns)
        ON CONFLICT (execution_id, trace_id, root_span_id, root_start_ns) DO UPDATE
       SET start_ns = excluded.start_ns
     WHERE excluded.start_ns < held.start_ns
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT 'spans', execution_id, trace_id FROM starts
)
SELECT given.execution_id, given.span_id, known.execution_id IS NOT NULL AS is_known, held.is_same,
       inserted.span_id IS NOT NULL AS is_inserted
  FROM given
  LEFT JOIN known ON known.execution_id = given.execution_id
  LEFT JOIN held ON held.execution_id = given.execution_id AND held.span_id = given.span_id
  LEFT JOIN inserted ON inserted.execution_id = given.execution_id AND inserted.span_id = given.span_id;

-- name: read_added_spans
-- Reads spans by the texts that they were added with, one row for each text whose execution is there.
SELECT given.n::integer, span.*
  FROM unnest(:execution_id::text[], :span_id::bigint[], :added_id::text[])
       WITH ORDINALITY AS given (execution_id, span_id, added_id, n)
  JOIN spane.executions ON executions.execution_id = given.execution_id
  LEFT JOIN LATERAL (
       SELECT held.*
         FROM spane.execution_traces AS link
         JOIN spane.execution_spans AS held ON held.trace_id = link.trace_id
        WHERE link.execution_id = given.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
          AND held.span_id = given.span_id AND held.added_id = given.added_id
          AND held.execution_id = given.execution_id
        ORDER BY held.start_ns
        LIMIT 1) AS span ON true;

-- name: update_spans
-- Changes spans that are as the caller saw them, and tells which.
WITH changed AS (
    UPDATE spane.execution_spans AS held
       SET end_ns = given.end_ns, status = given.status, status_message = given.status_message, state = given.state,
           attributes = given.attributes, revision = given.revision
      FROM unnest(:trace_id::uuid[], :span_id::bigint[], :start_ns::bigint[], :held_revision::integer[],
                  :revision::integer[], :end_ns::bigint[], :status::smallint[], :status_message::text[],
                  :state::text[], :attributes::json[])
           AS given (trace_id, span_id, start_ns, held_revision, revision, end_ns, status, status_message, state,
                     attributes)
     WHERE held.trace_id = given.trace_id AND held.span_id = given.span_id AND held.start_ns = given.start_ns
       AND held.revision = given.held_revision
    RETURNING held.trace_id, held.span_id, held.start_ns, held.execution_id
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT DISTINCT 'spans', execution_id, trace_id FROM changed
)
SELECT trace_id, span_id, start_ns FROM changed;

-- name: add_logs
-- Stores log records that are not there yet, and tells of each what became of it.
WITH given AS MATERIALIZED (
    SELECT *
      FROM unnest(:execution_id::text[], :log_id::uuid[], :trace_key::uuid[], :own_key::uuid[], :trace_id::uuid[],
                  :span_id::bigint[], :time_ns::bigint[], :observed_ns::bigint[], :is_named::boolean[],
                  :seq::integer[], :severity::integer[], :dropped_attributes_count::bigint[], :severity_text::text[],
                  :node_id::text[], :uid::text[], :body::json[], :attributes::json[])
           AS given (execution_id, log_id, trace_key, own_key, trace_id, span_id, time_ns, observed_ns, is_named, seq,
                     severity, dropped_attributes_count, severity_text, node_id, uid, body, attributes)
), known AS MATERIALIZED (
    SELECT execution_id FROM spane.executions
     WHERE execution_id = ANY (:execution_ids::text[])
     ORDER BY execution_id
       FOR KEY SHARE
), keys AS MATERIALIZED (
    SELECT execution_id, log_id, own_key AS trace_key FROM given WHERE is_named
    UNION
    SELECT execution_id, log_id, link.trace_id
      FROM given
      JOIN spane.execution_traces AS link USING (execution_id)
     WHERE is_named AND link.root_span_id = 0 AND link.root_start_ns = 0
), held AS MATERIALIZED (
    SELECT DISTINCT log_id
      FROM keys
      JOIN spane.execution_logs AS log USING (trace_key, log_id)
), inserted AS (
    INSERT INTO spane.execution_logs
        (trace_key, log_id, time_ns, observed_ns, trace_id, span_id, resource_id, scope_id, flags,
         dropped_attributes_count, seq, severity, time_source, severity_text, event_name, service, execution_id,
         node_id, uid, body, attributes)
    SELECT trace_key, log_id, time_ns, observed_ns, trace_id, span_id, :resource_id::uuid, :scope_id::uuid, 0,
           dropped_attributes_count, seq, severity, 0, severity_text, '', :service::text, execution_id,
           node_id, uid, body, attributes
      FROM given
     WHERE execution_id IN (SELECT execution_id FROM known)
       AND log_id NOT IN (SELECT log_id FROM held)
        ON CONFLICT (trace_key, log_id, time_ns) DO NOTHING
    RETURNING execution_id, trace_id
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT DISTINCT 'logs', execution_id, trace_id FROM inserted
)
SELECT execution_id FROM known;
