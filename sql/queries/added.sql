-- Spans and logs that are written by hand, many calls in one statement. The rows of their executions are locked against
-- deletion, which takes all that is written with them. An execution's traces are those that it is linked to.
--
-- Plans are made once, often while a partition is empty, and must hold when it is large. So spans and logs are looked up
-- by functions that admit one plan, and other tables in a LATERAL that OFFSET keeps from becoming a join of another kind;
-- the order of the key is asked for where another index would do as well. (SELECT :x) hides how long an array is: seeing
-- it, PostgreSQL takes a plan for one row to be the cheaper one, and plans anew each time.

-- name: find_added_parents
-- Finds the spans that some texts stand for: one added to the execution, else one of its traces with that id.
WITH given AS MATERIALIZED (
    SELECT *
      FROM unnest((SELECT :execution_id::text[]), :added_id::text[], :hashed_id::bigint[], :span_id::bigint[])
           WITH ORDINALITY AS given (execution_id, added_id, hashed_id, span_id, n)
     CROSS JOIN LATERAL (
           SELECT link.trace_id, link.start_ns FROM spane.execution_traces AS link
            WHERE link.execution_id = given.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
            ORDER BY link.trace_id, link.root_span_id, link.root_start_ns
           OFFSET 0) AS link
), found AS MATERIALIZED (
    SELECT span.*
      FROM (SELECT array_agg(trace_id) || array_agg(trace_id) AS trace_ids,
                   array_agg(hashed_id) || array_agg(span_id) AS span_ids
              FROM given) AS pairs
     CROSS JOIN LATERAL spane.find_spans(pairs.trace_ids, pairs.span_ids, '{}') AS span
)
SELECT DISTINCT ON (given.n) given.n::integer, found.trace_id, found.span_id
  FROM given
  JOIN found ON found.trace_id = given.trace_id AND found.span_id IN (given.hashed_id, given.span_id)
 WHERE found.span_id = given.span_id OR (found.added_id = given.added_id AND found.execution_id = given.execution_id)
 ORDER BY given.n, found.added_id IS DISTINCT FROM given.added_id, given.start_ns, given.trace_id;

-- name: add_spans
-- Stores spans that are not there yet, links their traces, and tells what became of those that it did not store.
WITH known AS MATERIALIZED (
    SELECT execution_id FROM spane.executions
     WHERE execution_id = ANY ((SELECT :execution_ids::text[])::text[])
     ORDER BY execution_id
       FOR KEY SHARE
), held AS MATERIALIZED (
    SELECT span.span_id, span.start_ns, span.added_hash
      FROM (SELECT array_agg(key.trace_id) AS trace_ids, array_agg(named.span_id) AS span_ids
              FROM unnest((SELECT :named_execution_id::text[]), :named_trace_id::uuid[], :named_span_id::bigint[])
                   AS named (execution_id, trace_id, span_id)
             CROSS JOIN LATERAL (
                   SELECT named.trace_id
                    UNION
                   (SELECT link.trace_id FROM spane.execution_traces AS link
                     WHERE link.execution_id = named.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
                     ORDER BY link.trace_id, link.root_span_id, link.root_start_ns
                    OFFSET 0)) AS key) AS pairs
     CROSS JOIN LATERAL spane.find_spans(pairs.trace_ids, pairs.span_ids, :named_execution_id::text[]) AS span
), given AS MATERIALIZED (
    SELECT given.*, known.execution_id IS NOT NULL AS is_known,
           CASE WHEN held.span_id IS NOT NULL THEN
                held.added_hash IS NOT DISTINCT FROM given.added_hash
                AND (held.start_ns = given.start_ns OR given.has_start IS NOT TRUE) END AS is_same
      FROM unnest((SELECT :execution_id::text[]), :trace_id::uuid[], :span_id::bigint[], :start_ns::bigint[],
                  :has_start::boolean[], :end_ns::bigint[], :parent_id::bigint[], :seq::integer[],
                  :status::smallint[], :dropped_attributes_count::bigint[], :name::text[], :status_message::text[],
                  :state::text[], :node_id::text[], :added_id::text[], :attributes::json[], :added_hash::uuid[])
           AS given (execution_id, trace_id, span_id, start_ns, has_start, end_ns, parent_id, seq, status,
                     dropped_attributes_count, name, status_message, state, node_id, added_id, attributes, added_hash)
      LEFT JOIN known ON known.execution_id = given.execution_id
      LEFT JOIN held ON held.span_id = given.span_id
), inserted AS (
    INSERT INTO spane.execution_spans
        (trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, revision, seq, kind, status,
         dropped_attributes_count, dropped_events_count, dropped_links_count, name, service, status_message, state,
         trace_state, execution_id, node_id, added_id, attributes, added_hash)
    SELECT trace_id, span_id, start_ns, end_ns, parent_id, :resource_id::uuid, :scope_id::uuid, 0, 0, coalesce(seq, 0),
           1, coalesce(status, 0::smallint), coalesce(dropped_attributes_count, 0), 0, 0, name, :service::text,
           coalesce(status_message, ''), state, '', execution_id, node_id, added_id, attributes, added_hash
      FROM given
     WHERE is_known AND is_same IS NULL
        ON CONFLICT (trace_id, span_id, start_ns) DO NOTHING
    RETURNING execution_id, trace_id, span_id, start_ns
), starts AS MATERIALIZED (
    SELECT execution_id, trace_id, min(start_ns) AS start_ns FROM inserted GROUP BY execution_id, trace_id
), linked AS (
    INSERT INTO spane.execution_traces AS held
        (execution_id, trace_id, root_span_id, root_start_ns, start_ns, revision)
    SELECT execution_id, trace_id, 0, 0, starts.start_ns, 0
      FROM starts
      LEFT JOIN LATERAL (
           SELECT start_ns FROM spane.execution_traces AS link
            WHERE link.execution_id = starts.execution_id AND link.trace_id = starts.trace_id
              AND link.root_span_id = 0 AND link.root_start_ns = 0
           OFFSET 0) AS link ON true
     WHERE link.start_ns IS NULL OR starts.start_ns < link.start_ns
        ON CONFLICT (execution_id, trace_id, root_span_id, root_start_ns) DO UPDATE
       SET start_ns = excluded.start_ns
     WHERE excluded.start_ns < held.start_ns
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT 'spans', execution_id, trace_id FROM starts
)
SELECT span_id, is_known, is_same
  FROM given
 WHERE span_id NOT IN (SELECT span_id FROM inserted);

-- name: read_added_spans
-- Reads spans by the texts that they were added with, at least one row for each text whose execution is there.
WITH given AS MATERIALIZED (
    SELECT given.*, link.trace_id
      FROM unnest((SELECT :execution_id::text[]), :span_id::bigint[], :added_id::text[])
           WITH ORDINALITY AS given (execution_id, span_id, added_id, n)
     CROSS JOIN LATERAL (
           SELECT FROM spane.executions AS held WHERE held.execution_id = given.execution_id OFFSET 0) AS known
      LEFT JOIN LATERAL (
           SELECT link.trace_id FROM spane.execution_traces AS link
            WHERE link.execution_id = given.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
            ORDER BY link.trace_id, link.root_span_id, link.root_start_ns
           OFFSET 0) AS link ON true
), found AS MATERIALIZED (
    SELECT span.*
      FROM (SELECT array_agg(trace_id) AS trace_ids, array_agg(span_id) AS span_ids
              FROM given WHERE trace_id IS NOT NULL) AS pairs
     CROSS JOIN LATERAL spane.find_spans(pairs.trace_ids, pairs.span_ids, '{}') AS span
)
SELECT DISTINCT ON (given.n) given.n::integer, found.*
  FROM given
  LEFT JOIN found ON found.trace_id = given.trace_id AND found.span_id = given.span_id
                 AND found.added_id = given.added_id AND found.execution_id = given.execution_id
 ORDER BY given.n, found.start_ns;

-- name: update_spans
-- Changes spans that are there with the revision before the one given, and tells of which this is not so.
WITH known AS MATERIALIZED (
    SELECT execution_id FROM spane.executions
     WHERE execution_id = ANY ((SELECT :execution_ids::text[])::text[])
     ORDER BY execution_id
       FOR KEY SHARE
), changed AS (
    -- Never inserts: what is there stays there while its execution is locked. An UPDATE would join the whole table.
    INSERT INTO spane.execution_spans AS held
        (trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, revision, seq, kind, status,
         dropped_attributes_count, dropped_events_count, dropped_links_count, name, service, status_message, state,
         trace_state, execution_id, node_id, process_id, added_id, attributes, events, links, added_hash)
    SELECT span.trace_id, span.span_id, span.start_ns, given.end_ns, parent_id, resource_id, scope_id, flags,
           given.revision, seq, kind, coalesce(given.status, 0::smallint), dropped_attributes_count,
           dropped_events_count, dropped_links_count, name, service, coalesce(given.status_message, ''), given.state,
           trace_state, given.execution_id,
           node_id, process_id, added_id, given.attributes, events, links, added_hash
      FROM unnest((SELECT :execution_id::text[]), :trace_id::uuid[], :span_id::bigint[], :start_ns::bigint[],
                  :revision::integer[], :end_ns::bigint[], :status::smallint[], :status_message::text[],
                  :state::text[], :attributes::json[])
           AS given (execution_id, trace_id, span_id, start_ns, revision, end_ns, status, status_message, state,
                     attributes)
      JOIN known ON known.execution_id = given.execution_id
      JOIN spane.find_spans(:trace_id::uuid[], :span_id::bigint[], '{}') AS span
        ON span.span_id = given.span_id AND span.trace_id = given.trace_id AND span.start_ns = given.start_ns
       AND span.execution_id = given.execution_id
        ON CONFLICT (trace_id, span_id, start_ns) DO UPDATE
       SET end_ns = excluded.end_ns, status = excluded.status, status_message = excluded.status_message,
           state = excluded.state, attributes = excluded.attributes, revision = excluded.revision
     WHERE held.revision = excluded.revision - 1
    RETURNING span_id, execution_id, trace_id
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT DISTINCT 'spans', execution_id, trace_id FROM changed
)
SELECT span_id FROM unnest((SELECT :span_id::bigint[])) AS span_id WHERE span_id NOT IN (SELECT span_id FROM changed);

-- name: add_logs
-- Stores log records that are not there yet, and tells which executions there are not.
WITH known AS MATERIALIZED (
    SELECT execution_id FROM spane.executions
     WHERE execution_id = ANY ((SELECT :execution_ids::text[])::text[])
     ORDER BY execution_id
       FOR KEY SHARE
), held AS MATERIALIZED (
    SELECT log_id
      FROM (SELECT array_agg(key.trace_key) AS trace_keys, array_agg(named.log_id) AS log_ids
              FROM unnest((SELECT :named_execution_id::text[]), :named_own_key::uuid[], :named_log_id::uuid[])
                   AS named (execution_id, own_key, log_id)
             CROSS JOIN LATERAL (
                   SELECT named.own_key AS trace_key
                    UNION ALL
                   (SELECT link.trace_id FROM spane.execution_traces AS link
                     WHERE link.execution_id = named.execution_id AND link.root_span_id = 0 AND link.root_start_ns = 0
                     ORDER BY link.trace_id, link.root_span_id, link.root_start_ns
                    OFFSET 0)) AS key) AS pairs
     CROSS JOIN LATERAL spane.find_logs(pairs.trace_keys, pairs.log_ids, :named_execution_id::text[]) AS log_id
), inserted AS (
    INSERT INTO spane.execution_logs
        (trace_key, log_id, time_ns, observed_ns, trace_id, span_id, resource_id, scope_id, flags,
         dropped_attributes_count, seq, severity, time_source, severity_text, event_name, service, execution_id,
         node_id, uid, body, attributes)
    SELECT trace_key, log_id, time_ns, observed_ns, trace_id, span_id, :resource_id::uuid, :scope_id::uuid, 0,
           coalesce(dropped_attributes_count, 0), coalesce(seq, 0), severity, 0, severity_text, '', :service::text,
           given.execution_id, node_id, uid, body, attributes
      FROM unnest((SELECT :execution_id::text[]), :log_id::uuid[], :trace_key::uuid[], :trace_id::uuid[],
                  :span_id::bigint[], :time_ns::bigint[], :observed_ns::bigint[], :seq::integer[],
                  :severity::integer[], :dropped_attributes_count::bigint[], :severity_text::text[],
                  :node_id::text[], :uid::text[], :body::json[], :attributes::json[])
           AS given (execution_id, log_id, trace_key, trace_id, span_id, time_ns, observed_ns, seq,
                     severity, dropped_attributes_count, severity_text, node_id, uid, body, attributes)
      JOIN known ON known.execution_id = given.execution_id
     WHERE given.log_id NOT IN (SELECT log_id FROM held)
        ON CONFLICT (trace_key, log_id, time_ns) DO NOTHING
    RETURNING execution_id, trace_id
), announced AS (
    INSERT INTO spane.changes (kind, execution_id, trace_id)
    SELECT DISTINCT 'logs', execution_id, trace_id FROM inserted
)
SELECT execution_id FROM unnest((SELECT :execution_ids::text[])) AS execution_id
 WHERE execution_id NOT IN (SELECT execution_id FROM known);
