-- Every statement that takes rows takes a column as an array, and all arrays together as unnest's rows. An array may be
-- shorter than the others, even empty: unnest fills it up with nulls, and coalesce puts the column's default there.

-- name: ensure_partition
-- Makes the partitions that hold a time.
SELECT spane.ensure_partition(:start_ns);

-- name: insert_resources
-- Stores resources that are not there yet.
INSERT INTO spane.resources (resource_id, attributes, schema_url, dropped_attributes_count, service)
SELECT * FROM unnest(:resource_id::uuid[], :attributes::json[], :schema_url::text[],
                     :dropped_attributes_count::bigint[], :service::text[])
    ON CONFLICT (resource_id) DO NOTHING;

-- name: insert_scopes
-- Stores scopes that are not there yet.
INSERT INTO spane.scopes (scope_id, name, version, attributes, schema_url, dropped_attributes_count)
SELECT * FROM unnest(:scope_id::uuid[], :name::text[], :version::text[], :attributes::json[], :schema_url::text[],
                     :dropped_attributes_count::bigint[])
    ON CONFLICT (scope_id) DO NOTHING;

-- name: upsert_spans
-- Stores spans; of two versions of one span the greater wins: ended, then the end, then the revision.
INSERT INTO spane.execution_spans AS held
    (trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, revision, seq, kind, status,
     dropped_attributes_count, dropped_events_count, dropped_links_count, name, service, status_message, state,
     trace_state, execution_id, node_id, process_id, added_id, attributes, events, links, added_hash)
SELECT trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, coalesce(flags, 0),
       coalesce(revision, 0), coalesce(seq, 0), coalesce(kind, 0::smallint), coalesce(status, 0::smallint),
       coalesce(dropped_attributes_count, 0), coalesce(dropped_events_count, 0), coalesce(dropped_links_count, 0),
       name, service, coalesce(status_message, ''), state, coalesce(trace_state, ''), execution_id, node_id,
       process_id, added_id, attributes, events, links, added_hash
  FROM unnest(:trace_id::uuid[], :span_id::bigint[], :start_ns::bigint[], :end_ns::bigint[], :parent_id::bigint[],
              :resource_id::uuid[], :scope_id::uuid[], :flags::bigint[], :revision::integer[], :seq::integer[],
              :kind::smallint[], :status::smallint[], :dropped_attributes_count::bigint[],
              :dropped_events_count::bigint[], :dropped_links_count::bigint[], :name::text[], :service::text[],
              :status_message::text[], :state::text[], :trace_state::text[], :execution_id::text[], :node_id::text[],
              :process_id::text[], :added_id::text[], :attributes::json[], :events::json[], :links::json[],
              :added_hash::uuid[])
       AS given (trace_id, span_id, start_ns, end_ns, parent_id, resource_id, scope_id, flags, revision, seq, kind,
                 status, dropped_attributes_count, dropped_events_count, dropped_links_count, name, service,
                 status_message, state, trace_state, execution_id, node_id, process_id, added_id, attributes, events,
                 links, added_hash)
    ON CONFLICT (trace_id, span_id, start_ns) DO UPDATE
   SET end_ns = excluded.end_ns, parent_id = excluded.parent_id, resource_id = excluded.resource_id,
       scope_id = excluded.scope_id, flags = excluded.flags, revision = excluded.revision, kind = excluded.kind,
       status = excluded.status, dropped_attributes_count = excluded.dropped_attributes_count,
       dropped_events_count = excluded.dropped_events_count, dropped_links_count = excluded.dropped_links_count,
       name = excluded.name, service = excluded.service, status_message = excluded.status_message,
       state = excluded.state, trace_state = excluded.trace_state, execution_id = excluded.execution_id,
       node_id = excluded.node_id, process_id = excluded.process_id, added_id = excluded.added_id,
       attributes = excluded.attributes, events = excluded.events, links = excluded.links,
       added_hash = excluded.added_hash
 WHERE (excluded.end_ns IS NOT NULL, coalesce(excluded.end_ns, 0), excluded.revision)
     > (held.end_ns IS NOT NULL, coalesce(held.end_ns, 0), held.revision)
RETURNING trace_id, execution_id;

-- name: insert_logs
-- Stores log records that are not there yet.
INSERT INTO spane.execution_logs
    (trace_key, log_id, time_ns, observed_ns, trace_id, span_id, resource_id, scope_id, flags,
     dropped_attributes_count, seq, severity, time_source, severity_text, event_name, service, execution_id, node_id,
     process_id, uid, body, attributes)
SELECT trace_key, log_id, time_ns, coalesce(observed_ns, 0), trace_id, span_id, resource_id, scope_id,
       coalesce(flags, 0), coalesce(dropped_attributes_count, 0), coalesce(seq, 0), coalesce(severity, 0),
       coalesce(time_source, 0::smallint), coalesce(severity_text, ''), coalesce(event_name, ''), service,
       execution_id, node_id, process_id, uid, body, attributes
  FROM unnest(:trace_key::uuid[], :log_id::uuid[], :time_ns::bigint[], :observed_ns::bigint[], :trace_id::uuid[],
              :span_id::bigint[], :resource_id::uuid[], :scope_id::uuid[], :flags::bigint[],
              :dropped_attributes_count::bigint[], :seq::integer[], :severity::integer[], :time_source::smallint[],
              :severity_text::text[], :event_name::text[], :service::text[], :execution_id::text[], :node_id::text[],
              :process_id::text[], :uid::text[], :body::json[], :attributes::json[])
       AS given (trace_key, log_id, time_ns, observed_ns, trace_id, span_id, resource_id, scope_id, flags,
                 dropped_attributes_count, seq, severity, time_source, severity_text, event_name, service,
                 execution_id, node_id, process_id, uid, body, attributes)
    ON CONFLICT (trace_key, log_id, time_ns) DO NOTHING
RETURNING trace_id, execution_id;

-- name: insert_derived_executions
-- Makes the rows of executions that spans name first; the fold fills them in.
INSERT INTO spane.executions (execution_id, origin, status, started_ns, depth)
SELECT execution_id, 'spans', 'running', 0, 0 FROM unnest(:execution_ids::text[]) AS execution_id
    ON CONFLICT (execution_id) DO NOTHING
RETURNING execution_id;

-- name: lock_executions
-- Locks executions in the order of their ids, so that writers never wait in a circle.
SELECT execution_id, origin, workflow_id FROM spane.executions
 WHERE execution_id = ANY (:execution_ids::text[])
 ORDER BY execution_id
   FOR NO KEY UPDATE;

-- name: upsert_execution_traces
-- Stores links and roots; of a link the earliest start wins (of equals the lesser process), of a root the greater version.
INSERT INTO spane.execution_traces AS held
    (execution_id, trace_id, root_span_id, root_start_ns, start_ns, end_ns, revision, workflow_version, depth, state,
     process_id, error, workflow_id, version_label, external_id, parent_execution_id, root_execution_id, input, output)
SELECT * FROM unnest(:execution_id::text[], :trace_id::uuid[], :root_span_id::bigint[], :root_start_ns::bigint[],
                     :start_ns::bigint[], :end_ns::bigint[], :revision::integer[], :workflow_version::integer[],
                     :depth::integer[], :state::text[], :process_id::text[], :error::text[], :workflow_id::text[],
                     :version_label::text[], :external_id::text[], :parent_execution_id::text[],
                     :root_execution_id::text[], :input::json[], :output::json[])
    ON CONFLICT (execution_id, trace_id, root_span_id, root_start_ns) DO UPDATE
   SET start_ns = excluded.start_ns, end_ns = excluded.end_ns, revision = excluded.revision,
       workflow_version = excluded.workflow_version, depth = excluded.depth, state = excluded.state,
       process_id = excluded.process_id, error = excluded.error, workflow_id = excluded.workflow_id,
       version_label = excluded.version_label, external_id = excluded.external_id,
       parent_execution_id = excluded.parent_execution_id, root_execution_id = excluded.root_execution_id,
       input = excluded.input, output = excluded.output
 WHERE CASE WHEN held.root_span_id = 0 AND held.root_start_ns = 0 THEN (excluded.start_ns, coalesce(excluded.process_id, ''))
               < (held.start_ns, coalesce(held.process_id, ''))
            ELSE (excluded.end_ns IS NOT NULL, coalesce(excluded.end_ns, 0), excluded.revision)
               > (held.end_ns IS NOT NULL, coalesce(held.end_ns, 0), held.revision) END
RETURNING execution_id;

-- name: list_execution_traces
-- Lists the rows that the fold needs: every root of an execution and its earliest link.
SELECT * FROM spane.execution_traces
 WHERE execution_id = ANY (:execution_ids::text[]) AND (root_span_id, root_start_ns) <> (0, 0)
UNION ALL
(SELECT DISTINCT ON (execution_id) * FROM spane.execution_traces
  WHERE execution_id = ANY (:execution_ids::text[]) AND root_span_id = 0 AND root_start_ns = 0
  ORDER BY execution_id, start_ns, trace_id);

-- name: update_derived_executions
-- Writes the fold back to executions that no caller owns.
UPDATE spane.executions AS held
   SET status = given.status, started_ns = given.started_ns, ended_ns = given.ended_ns,
       workflow_id = given.workflow_id, workflow_version = given.workflow_version,
       version_label = given.version_label, external_id = given.external_id,
       parent_execution_id = given.parent_execution_id, root_execution_id = given.root_execution_id,
       depth = given.depth, process_id = given.process_id, error = given.error, initial_data = given.initial_data,
       result = given.result
  FROM unnest(:execution_id::text[], :status::text[], :started_ns::bigint[], :ended_ns::bigint[],
              :workflow_id::text[], :workflow_version::integer[], :version_label::text[], :external_id::text[],
              :parent_execution_id::text[], :root_execution_id::text[], :depth::integer[], :process_id::text[],
              :error::text[], :initial_data::json[], :result::json[])
       AS given (execution_id, status, started_ns, ended_ns, workflow_id, workflow_version, version_label, external_id,
                 parent_execution_id, root_execution_id, depth, process_id, error, initial_data, result)
 WHERE held.execution_id = given.execution_id AND held.origin = 'spans';

-- name: insert_changes
-- Tells whoever polls what was written.
INSERT INTO spane.changes (kind, execution_id, trace_id)
SELECT * FROM unnest(:kind::text[], :execution_id::text[], :trace_id::uuid[]);
