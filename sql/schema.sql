-- What a new database gets. The word "spane" is the schema's name: it is replaced when the file is loaded.
--
-- Every key begins with the column that would distribute its table over several servers; foreign keys stay inside the
-- execution family (executions and what is keyed by execution_id). Text keys sort as bytes, which equals Python's order.
-- Times in *_ns are nanoseconds since 1970 and come from whoever sent them; *_at is this database's own clock.

CREATE TABLE spane.migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE spane.settings (
    name  text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);

-- A partition holds this many UTC days of spans or logs, by their start.
INSERT INTO spane.settings (name, value) VALUES ('partition_days', '1');

-- telemetry -----------------------------------------------------------------------------------------------------

CREATE TABLE spane.resources (
    resource_id              uuid PRIMARY KEY,  -- a hash of what follows
    attributes               json NOT NULL,
    schema_url               text NOT NULL,
    dropped_attributes_count bigint NOT NULL,
    service                  text COLLATE "C" NOT NULL
);

CREATE TABLE spane.scopes (
    scope_id                 uuid PRIMARY KEY,  -- a hash of what follows
    name                     text NOT NULL,
    version                  text NOT NULL,
    attributes               json NOT NULL,
    schema_url               text NOT NULL,
    dropped_attributes_count bigint NOT NULL
);

CREATE TABLE spane.execution_spans (
    trace_id                 uuid NOT NULL,
    span_id                  bigint NOT NULL,
    start_ns                 bigint NOT NULL,
    end_ns                   bigint,            -- null: not ended
    parent_id                bigint,
    resource_id              uuid NOT NULL,
    scope_id                 uuid NOT NULL,
    flags                    bigint NOT NULL,   -- OTLP's, an unsigned 32-bit number
    revision                 integer NOT NULL,  -- numbers the announcements of one span
    seq                      integer NOT NULL,  -- position in the request that brought the first version
    kind                     smallint NOT NULL,
    status                   smallint NOT NULL, -- 0 unset, 1 ok, 2 error
    dropped_attributes_count bigint NOT NULL,
    dropped_events_count     bigint NOT NULL,
    dropped_links_count      bigint NOT NULL,
    name                     text COLLATE "C" NOT NULL,
    service                  text COLLATE "C" NOT NULL,
    status_message           text NOT NULL,
    state                    text COLLATE "C",  -- what the span says of itself; null: derived when read
    trace_state              text NOT NULL,
    execution_id             text COLLATE "C",
    node_id                  text COLLATE "C",
    process_id               text COLLATE "C",
    added_id                 text COLLATE "C",  -- the text a span was added with by hand
    attributes               json NOT NULL,
    events                   json,
    links                    json,
    added_hash               uuid               -- of what a span was added with by hand
) PARTITION BY RANGE (start_ns);

CREATE UNIQUE INDEX execution_spans_key ON spane.execution_spans (trace_id, span_id, start_ns);
CREATE INDEX execution_spans_parent ON spane.execution_spans (trace_id, parent_id);
CREATE INDEX execution_spans_start ON spane.execution_spans (start_ns);
-- Entry spans: without a parent, or with OTLP's flags saying that the parent is remote (256 known, 512 remote).
CREATE INDEX execution_spans_entry ON spane.execution_spans (start_ns, trace_id)
    WHERE parent_id IS NULL OR flags & 768 = 768;
CREATE INDEX execution_spans_service ON spane.execution_spans (service, start_ns, trace_id)
    WHERE parent_id IS NULL OR flags & 768 = 768;
CREATE INDEX execution_spans_error ON spane.execution_spans (start_ns) WHERE status = 2;

CREATE TABLE spane.execution_logs (
    trace_key                uuid NOT NULL,     -- the trace id, else a hash of the execution id, else the log id
    log_id                   uuid NOT NULL,
    time_ns                  bigint NOT NULL,
    observed_ns              bigint NOT NULL,
    trace_id                 uuid,
    span_id                  bigint,
    resource_id              uuid NOT NULL,
    scope_id                 uuid NOT NULL,
    flags                    bigint NOT NULL,
    dropped_attributes_count bigint NOT NULL,
    seq                      integer NOT NULL,
    severity                 integer NOT NULL,
    time_source              smallint NOT NULL, -- what time_ns is: 0 time, 1 observed, 2 receipt
    severity_text            text NOT NULL,
    event_name               text COLLATE "C" NOT NULL,
    service                  text COLLATE "C" NOT NULL,
    execution_id             text COLLATE "C",
    node_id                  text COLLATE "C",
    process_id               text COLLATE "C",
    uid                      text COLLATE "C",  -- log.record.uid, or the text it was added with
    body                     json NOT NULL,
    attributes               json NOT NULL
) PARTITION BY RANGE (time_ns);

CREATE UNIQUE INDEX execution_logs_key ON spane.execution_logs (trace_key, log_id, time_ns);
CREATE INDEX execution_logs_trace ON spane.execution_logs (trace_key, time_ns, seq);
CREATE INDEX execution_logs_time ON spane.execution_logs (time_ns);

-- Makes the partitions that hold start_ns where they are missing. Any role that may use the schema may call it. There
-- is no default partition: a row in it would make creating the row's own partition fail.
CREATE FUNCTION spane.ensure_partition(start_ns bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = spane, pg_temp AS $function$
DECLARE
    width constant bigint := (SELECT value::bigint FROM settings WHERE name = 'partition_days') * 86400000000000;
    parent text;
    partition text;
    lower_ns bigint;
    upper_ns bigint;
    taken boolean;
BEGIN
    IF start_ns > (extract(epoch FROM now()) + 172800) * 1000000000 THEN
        RAISE EXCEPTION 'no partition is made more than two days ahead' USING ERRCODE = 'datetime_field_overflow';
    END IF;
    -- First the lock, then the look: of ten callers one creates, and nine see what it made.
    LOCK TABLE execution_spans IN SHARE UPDATE EXCLUSIVE MODE;
    FOREACH parent IN ARRAY ARRAY['execution_spans', 'execution_logs'] LOOP
        lower_ns := start_ns - ((start_ns % width) + width) % width;
        upper_ns := lower_ns + width;
        -- Partitions made with another width stay: what is new fills the gap between its neighbours.
        SELECT coalesce(bool_or(held.from_ns <= start_ns AND start_ns < held.to_ns), false),
               greatest(lower_ns, max(held.to_ns) FILTER (WHERE held.to_ns <= start_ns)),
               least(upper_ns, min(held.from_ns) FILTER (WHERE held.from_ns > start_ns))
          INTO taken, lower_ns, upper_ns
          FROM (SELECT bound[1]::bigint AS from_ns, bound[2]::bigint AS to_ns
                  FROM pg_inherits
                  JOIN pg_class ON pg_class.oid = inhrelid
                 CROSS JOIN regexp_match(pg_get_expr(relpartbound, pg_class.oid),
                                         $$FROM \('(-?\d+)'\) TO \('(-?\d+)'\)$$) AS bound
                 WHERE inhparent = parent::regclass) AS held;
        CONTINUE WHEN taken;
        partition := parent || to_char(to_timestamp(lower_ns / 1000000000) AT TIME ZONE 'UTC', '_YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING IDENTITY)', partition, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, partition, lower_ns, upper_ns);
    END LOOP;
END
$function$;

-- workflows -----------------------------------------------------------------------------------------------------

CREATE TABLE spane.workflows (
    workflow_id     text COLLATE "C" PRIMARY KEY,
    current_version integer NOT NULL,
    is_active       boolean NOT NULL,
    created_ns      bigint NOT NULL,
    updated_ns      bigint NOT NULL,
    name            text NOT NULL,
    description     text
);

CREATE INDEX workflows_updated ON spane.workflows (updated_ns DESC, workflow_id DESC);

CREATE TABLE spane.workflow_versions (
    workflow_id  text COLLATE "C" NOT NULL REFERENCES spane.workflows (workflow_id) ON DELETE RESTRICT,
    version      integer NOT NULL,
    version_id   bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    content_hash uuid NOT NULL,
    node_count   integer NOT NULL,
    created_ns   bigint NOT NULL,
    created_by   text,
    change_notes text,
    definition   json NOT NULL,
    PRIMARY KEY (workflow_id, version)
);

-- The nodes of every version, so that completion is decided, and statistics are made, without reading definitions.
CREATE TABLE spane.workflow_nodes (
    workflow_id      text COLLATE "C" NOT NULL,
    version          integer NOT NULL,
    node_id          text COLLATE "C" NOT NULL,
    type             text NOT NULL,
    continue_on_fail boolean NOT NULL,
    PRIMARY KEY (workflow_id, version, node_id),
    FOREIGN KEY (workflow_id, version) REFERENCES spane.workflow_versions (workflow_id, version) ON DELETE CASCADE
);

-- executions ----------------------------------------------------------------------------------------------------

CREATE TABLE spane.executions (
    execution_id        text COLLATE "C" PRIMARY KEY,
    started_ns          bigint NOT NULL,
    ended_ns            bigint,
    content_hash        uuid,                   -- what create_execution was given; null: made from spans
    workflow_version    integer,
    depth               integer NOT NULL,
    origin              text COLLATE "C" NOT NULL CHECK (origin IN ('api', 'spans')),
    status              text COLLATE "C" NOT NULL
        CHECK (status IN ('running', 'paused', 'completed', 'failed', 'cancelled')),
    workflow_id         text COLLATE "C",
    version_label       text,
    external_id         text,
    parent_execution_id text COLLATE "C",
    root_execution_id   text COLLATE "C",
    process_id          text COLLATE "C",
    error               text,
    initial_data        json,
    result              json,
    -- Keeps what an execution ran from vanishing; executions that spans make name a version that may not be here.
    version_id          bigint REFERENCES spane.workflow_versions (version_id) ON DELETE RESTRICT,
    changed_ns          bigint NOT NULL DEFAULT 0,  -- the last state change; 0: none since it was made
    timeout_ns          bigint,
    nodes_total         integer,                    -- of the pinned version
    nodes_done          integer NOT NULL DEFAULT 0, -- of them, those with a final result
    nodes_failed        integer NOT NULL DEFAULT 0, -- of those, failures that nobody tolerates
    audit_seq           integer NOT NULL DEFAULT 0, -- the number of the last audit row
    initial_data_payload uuid,
    result_payload      uuid
)
-- Every node result changes the row: with room on its page no index has to know.
WITH (fillfactor = 70);

CREATE INDEX executions_started ON spane.executions (started_ns DESC, execution_id DESC);
CREATE INDEX executions_workflow ON spane.executions (workflow_id, started_ns DESC, execution_id DESC);
-- With process_id, so that a page of running executions leaves out the abandoned ones by the index alone.
CREATE INDEX executions_status ON spane.executions (status, started_ns DESC, execution_id DESC) INCLUDE (process_id);
CREATE INDEX executions_workflow_status ON spane.executions (workflow_id, status, started_ns DESC, execution_id DESC)
    INCLUDE (process_id);
CREATE INDEX executions_parent ON spane.executions (parent_execution_id) WHERE parent_execution_id IS NOT NULL;
CREATE INDEX executions_process ON spane.executions (process_id) WHERE status = 'running';
CREATE INDEX executions_version ON spane.executions (version_id) WHERE version_id IS NOT NULL;
CREATE INDEX executions_timeout ON spane.executions (timeout_ns)
    WHERE timeout_ns IS NOT NULL AND status IN ('running', 'paused');

CREATE TABLE spane.execution_metadata (
    execution_id     text COLLATE "C" PRIMARY KEY,
    metadata         json NOT NULL,
    metadata_payload uuid                       -- where it is kept if it is large
);

-- One row for the link of a trace to an execution (root_span_id and root_start_ns 0), and one for each root of it.
CREATE TABLE spane.execution_traces (
    execution_id        text COLLATE "C" NOT NULL,
    trace_id            uuid NOT NULL,
    root_span_id        bigint NOT NULL,
    root_start_ns       bigint NOT NULL,
    start_ns            bigint NOT NULL,        -- a link: the least start of the trace's stamped spans
    end_ns              bigint,
    revision            integer NOT NULL,
    workflow_version    integer,
    depth               integer,
    state               text COLLATE "C",
    process_id          text COLLATE "C",
    error               text,
    workflow_id         text COLLATE "C",
    version_label       text,
    external_id         text,
    parent_execution_id text COLLATE "C",
    root_execution_id   text COLLATE "C",
    input               json,
    output              json,
    PRIMARY KEY (execution_id, trace_id, root_span_id, root_start_ns)
);

CREATE INDEX execution_traces_trace ON spane.execution_traces (trace_id, execution_id);

ALTER TABLE spane.execution_metadata ADD CONSTRAINT execution_metadata_execution
    FOREIGN KEY (execution_id) REFERENCES spane.executions (execution_id) ON DELETE CASCADE;
ALTER TABLE spane.execution_traces ADD CONSTRAINT execution_traces_execution
    FOREIGN KEY (execution_id) REFERENCES spane.executions (execution_id) ON DELETE CASCADE;

-- state ---------------------------------------------------------------------------------------------------------

-- JSON text above 64 KiB, compressed, under a hash of its content: what one node hands to the next is kept once.
CREATE TABLE spane.execution_payloads (
    execution_id text COLLATE "C" NOT NULL REFERENCES spane.executions (execution_id) ON DELETE CASCADE,
    payload_id   uuid NOT NULL,
    size_bytes   integer NOT NULL,               -- of the text
    encoding     text COLLATE "C" NOT NULL CHECK (encoding = 'zlib'),
    data         bytea NOT NULL,
    PRIMARY KEY (execution_id, payload_id)
);

ALTER TABLE spane.execution_payloads ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE spane.node_results (
    execution_id  text COLLATE "C" NOT NULL REFERENCES spane.executions (execution_id) ON DELETE CASCADE,
    node_id       text COLLATE "C" NOT NULL,
    iteration     integer NOT NULL,
    attempt       integer NOT NULL,
    started_ns    bigint,
    ended_ns      bigint NOT NULL,
    data_payload  uuid,
    input_payload uuid,
    success       boolean NOT NULL,
    skipped       boolean NOT NULL,
    is_final      boolean NOT NULL,              -- no further attempt follows
    worker        text COLLATE "C",
    error         text,
    next_nodes    json,
    data          json,                          -- null: there is none, or it is in execution_payloads
    input         json,
    PRIMARY KEY (execution_id, node_id, iteration, attempt)
);

-- Every state change of an execution that a caller owns, written in the transaction that made it.
CREATE TABLE spane.state_change_audit (
    execution_id text COLLATE "C" NOT NULL REFERENCES spane.executions (execution_id) ON DELETE CASCADE,
    seq          integer NOT NULL,
    changed_ns   bigint NOT NULL,
    operation_id uuid,                           -- tells a repeated call from another one
    iteration    integer,
    attempt      integer,
    change       text COLLATE "C" NOT NULL
        CHECK (change IN ('created', 'adopted', 'status', 'node_result', 'metadata', 'timeout', 'dead_letter')),
    old_value    text,
    new_value    text,
    node_id      text COLLATE "C",
    actor        text,
    detail       text,
    PRIMARY KEY (execution_id, seq)
);

CREATE TABLE spane.dead_letters (
    execution_id     text COLLATE "C" NOT NULL REFERENCES spane.executions (execution_id) ON DELETE CASCADE,
    dead_letter_id   uuid NOT NULL,
    failed_ns        bigint NOT NULL,
    retried_ns       bigint,
    job_data_payload uuid,
    iteration        integer NOT NULL,
    attempt          integer NOT NULL,
    attempts_made    integer NOT NULL,
    node_id          text COLLATE "C" NOT NULL,
    workflow_id      text COLLATE "C",
    job_id           text,
    error            text,
    job_data         json,
    PRIMARY KEY (execution_id, dead_letter_id)
);

CREATE INDEX dead_letters_failed ON spane.dead_letters (failed_ns DESC, dead_letter_id DESC);

-- Who runs an execution; only what an engine runs has a row.
CREATE TABLE spane.execution_leases (
    execution_id text COLLATE "C" PRIMARY KEY REFERENCES spane.executions (execution_id) ON DELETE CASCADE,
    expires_at   timestamptz NOT NULL,
    holder       text COLLATE "C" NOT NULL
);

CREATE INDEX execution_leases_expiry ON spane.execution_leases (expires_at);
CREATE INDEX execution_leases_holder ON spane.execution_leases (holder);

-- How many executions there are: the sum over the slots, so that writers seldom wait for each other's row.
CREATE TABLE spane.execution_counts (
    workflow_id text COLLATE "C" NOT NULL,       -- '': none yet
    slot        smallint NOT NULL,
    count       bigint NOT NULL,
    PRIMARY KEY (workflow_id, slot)
);

-- Moves the numbers of executions by workflow; to be called last in a transaction, since others wait for the rows. A
-- backend has a slot of its own, as far as there are slots.
CREATE FUNCTION spane.add_execution_counts(workflow_ids text[], deltas bigint[]) RETURNS void
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO spane.execution_counts AS held (workflow_id, slot, count)
    SELECT coalesce(moved.workflow_id, ''), pg_backend_pid() % 16, sum(moved.delta)
      FROM unnest(workflow_ids, deltas) AS moved (workflow_id, delta)
     GROUP BY 1
    HAVING sum(moved.delta) <> 0
     ORDER BY 1
        ON CONFLICT (workflow_id, slot) DO UPDATE SET count = held.count + excluded.count;
END
$function$;

-- Finds spans by trace and span id, the earliest of each pair. Every plan but the one by key is ruled out: made while a
-- partition is empty, one that reads the whole trace looks as good. Whoever is about to add spans to executions has them
-- guarded: one adds at a time, and the look sees what the one before has committed; no key holds an id without its start.
CREATE FUNCTION spane.find_spans(trace_ids uuid[], span_ids bigint[], guarded text[]) RETURNS SETOF spane.execution_spans
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $function$
#variable_conflict use_column
BEGIN
    IF guarded <> '{}' THEN
        PERFORM pg_advisory_xact_lock(hashtext('spane.find_spans'), execution) FROM (
            SELECT DISTINCT hashtext(execution_id) AS execution FROM unnest(guarded) AS execution_id ORDER BY 1) AS each;
    END IF;
    IF span_ids <> '{}' THEN
        RETURN QUERY
        SELECT span.*
          FROM generate_subscripts(span_ids, 1) AS i
         CROSS JOIN LATERAL (
               SELECT * FROM spane.execution_spans
                WHERE trace_id = trace_ids[i] AND span_id BETWEEN span_ids[i] AND span_ids[i]
                ORDER BY span_id, start_ns
                LIMIT 1) AS span;
    END IF;
END
$function$;

-- Does the same for log records, of which it tells the ids.
CREATE FUNCTION spane.find_logs(trace_keys uuid[], log_ids uuid[], guarded text[]) RETURNS SETOF uuid
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $function$
#variable_conflict use_column
BEGIN
    IF guarded <> '{}' THEN
        PERFORM pg_advisory_xact_lock(hashtext('spane.find_logs'), execution) FROM (
            SELECT DISTINCT hashtext(execution_id) AS execution FROM unnest(guarded) AS execution_id ORDER BY 1) AS each;
    END IF;
    IF log_ids <> '{}' THEN
        RETURN QUERY
        SELECT log.log_id
          FROM generate_subscripts(log_ids, 1) AS i
         CROSS JOIN LATERAL (
               SELECT log_id FROM spane.execution_logs
                WHERE trace_key = trace_keys[i] AND log_id BETWEEN log_ids[i] AND log_ids[i]
                ORDER BY log_id, time_ns
                LIMIT 1) AS log;
    END IF;
END
$function$;

-- Sets how many nodes of an execution's version are done, and failed, from all its results; the caller has locked it.
CREATE FUNCTION spane.recount_nodes(of_execution text) RETURNS void
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
    UPDATE spane.executions
       SET (nodes_done, nodes_failed) = (
           SELECT count(*), count(*) FILTER (WHERE is_failure AND NOT continue_on_fail)
             FROM (SELECT DISTINCT ON (held.node_id) NOT (success OR skipped) AS is_failure, continue_on_fail
                     FROM spane.node_results AS held
                     JOIN spane.workflow_nodes AS node
                       ON node.workflow_id = executions.workflow_id AND node.version = executions.workflow_version
                      AND node.node_id = held.node_id
                    WHERE held.execution_id = of_execution AND is_final AND executions.nodes_total IS NOT NULL
                    ORDER BY held.node_id, iteration DESC, attempt DESC) AS latest)
     WHERE execution_id = of_execution;
END
$function$;

-- The part of create_executions that meets an execution of this id: makes one that came from spans the caller's. Its
-- start, its traces, and the version that a span named or none, stay.
CREATE FUNCTION spane.adopt_execution(
    of_execution text, of_workflow text, parent_id text, root_id text, given_depth integer, given_hash uuid,
    given_data json, given_data_payload uuid, given_metadata json, given_metadata_payload uuid,
    now_ns bigint, actor text
) RETURNS text
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
    held record;
    pinned record;
BEGIN
    SELECT origin, content_hash, status, workflow_version INTO held
      FROM spane.executions WHERE execution_id = of_execution FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the execution was deleted at this moment' USING ERRCODE = 'serialization_failure';
    ELSIF held.origin = 'api' THEN
        RETURN CASE WHEN held.content_hash = given_hash THEN 'same' ELSE 'exists' END;
    END IF;
    SELECT version_id, node_count INTO pinned
      FROM spane.workflow_versions WHERE workflow_id = of_workflow AND version = held.workflow_version;
    UPDATE spane.executions
       SET origin = 'api', status = 'running', ended_ns = NULL, result = NULL, result_payload = NULL, error = NULL,
           process_id = NULL, content_hash = given_hash, depth = given_depth, workflow_id = of_workflow,
           version_id = pinned.version_id, nodes_total = pinned.node_count, parent_execution_id = parent_id,
           root_execution_id = root_id, initial_data = given_data, initial_data_payload = given_data_payload,
           changed_ns = now_ns, audit_seq = audit_seq + 1
     WHERE execution_id = of_execution;
    INSERT INTO spane.state_change_audit (execution_id, seq, changed_ns, change, old_value, new_value, actor)
    SELECT execution_id, audit_seq, now_ns, 'adopted', held.status, status, actor
      FROM spane.executions WHERE execution_id = of_execution;
    INSERT INTO spane.execution_metadata (execution_id, metadata, metadata_payload)
    VALUES (of_execution, coalesce(given_metadata, '{}'), given_metadata_payload)
        ON CONFLICT (execution_id) DO UPDATE
       SET metadata = excluded.metadata, metadata_payload = excluded.metadata_payload;
    INSERT INTO spane.changes (kind, execution_id) VALUES ('execution', of_execution);
    PERFORM spane.recount_nodes(of_execution);
    RETURN 'adopted';
END
$function$;

-- Makes executions for callers. Returns for each 'created'; 'adopted' where spans had made it; 'same' where this call made
-- it before; 'exists' where it was made of other content; or the depth, as digits, where that is more than 10.
CREATE FUNCTION spane.create_executions(
    execution_ids text[], workflow_ids text[], parent_ids text[], depths integer[], content_hashes uuid[],
    started bigint[], initial_data json[], initial_data_payloads uuid[], metadata json[], metadata_payloads uuid[],
    holders text[], lease_seconds double precision[],
    payload_calls integer[], payload_ids uuid[], payload_sizes integer[], payloads bytea[],
    now_ns bigint, actor text
) RETURNS text[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
    outcomes text[];
    roots text[];
    final_depths integer[];
    workflows text[];
    moves bigint[];
    held_workflow text;
    call integer;
BEGIN
    WITH given AS MATERIALIZED (
        SELECT i, pinned.version, pinned.version_id, pinned.node_count, placed.depth,
               CASE WHEN parent_ids[i] IS NULL THEN execution_ids[i]
                    WHEN parent.execution_id IS NOT NULL THEN parent.root_execution_id
                    WHEN placed.depth = 1 THEN parent_ids[i] END AS root_execution_id
          FROM generate_subscripts(execution_ids, 1) AS i
          LEFT JOIN LATERAL (
               SELECT version.version, version.version_id, version.node_count
                 FROM spane.workflows AS workflow
                 JOIN spane.workflow_versions AS version
                   ON version.workflow_id = workflow.workflow_id AND version.version = workflow.current_version
                WHERE workflow.workflow_id = workflow_ids[i] LIMIT 1) AS pinned ON true
          LEFT JOIN LATERAL (
               SELECT execution_id, depth, root_execution_id FROM spane.executions
                WHERE execution_id = parent_ids[i] LIMIT 1) AS parent ON true
         CROSS JOIN LATERAL (
               SELECT CASE WHEN parent_ids[i] IS NULL THEN 0 WHEN depths[i] > 0 THEN depths[i]
                           ELSE coalesce(parent.depth + 1, 1) END AS depth) AS placed
    ), created AS (
        INSERT INTO spane.executions
               (execution_id, origin, status, started_ns, content_hash, workflow_version, depth, workflow_id,
                parent_execution_id, root_execution_id, initial_data, initial_data_payload, version_id, nodes_total,
                audit_seq)
        SELECT execution_ids[i], 'api', 'running', started[i], content_hashes[i], version, depth,
               workflow_ids[i], parent_ids[i], root_execution_id, initial_data[i], initial_data_payloads[i],
               version_id, node_count, 1
          FROM given
         WHERE depth <= 10
         ORDER BY execution_ids[i]
            ON CONFLICT (execution_id) DO NOTHING
        RETURNING execution_id
    ), audited AS (
        INSERT INTO spane.state_change_audit (execution_id, seq, changed_ns, change, new_value, actor)
        SELECT execution_id, 1, now_ns, 'created', 'running', actor FROM created
    ), told AS (
        INSERT INTO spane.changes (kind, execution_id) SELECT 'execution', execution_id FROM created
    )
    -- What a caller made before stays made, however deep its parent turned out to be: it is looked at below.
    SELECT array_agg(CASE WHEN created.execution_id IS NOT NULL THEN 'created'
                          WHEN depth > 10 AND NOT EXISTS (
                               SELECT FROM spane.executions AS held
                                WHERE held.execution_id = execution_ids[i] AND held.origin = 'api') THEN depth::text END
                     ORDER BY i),
           array_agg(given.root_execution_id ORDER BY i), array_agg(depth ORDER BY i),
           array_agg(workflow_ids[i]) FILTER (WHERE created.execution_id IS NOT NULL),
           array_agg(1::bigint) FILTER (WHERE created.execution_id IS NOT NULL)
      INTO outcomes, roots, final_depths, workflows, moves
      FROM given
      LEFT JOIN created ON created.execution_id = execution_ids[i];
    FOR call IN SELECT i FROM generate_subscripts(outcomes, 1) AS i WHERE outcomes[i] IS NULL ORDER BY execution_ids[i]
    LOOP
        SELECT workflow_id INTO held_workflow
          FROM spane.executions WHERE execution_id = execution_ids[call] FOR NO KEY UPDATE;
        outcomes[call] := spane.adopt_execution(
            execution_ids[call], workflow_ids[call], parent_ids[call], roots[call], final_depths[call],
            content_hashes[call], initial_data[call], initial_data_payloads[call], metadata[call],
            metadata_payloads[call], now_ns, actor);
        IF outcomes[call] = 'adopted' THEN
            workflows := coalesce(workflows, '{}') || ARRAY[held_workflow, workflow_ids[call]];
            moves := coalesce(moves, '{}') || ARRAY[-1, 1]::bigint[];
        END IF;
    END LOOP;
    IF cardinality(metadata) > 0 OR cardinality(metadata_payloads) > 0 THEN
        INSERT INTO spane.execution_metadata (execution_id, metadata, metadata_payload)
        SELECT execution_ids[i], coalesce(metadata[i], '{}'), metadata_payloads[i]
          FROM generate_subscripts(outcomes, 1) AS i
         WHERE outcomes[i] = 'created' AND (metadata[i] IS NOT NULL OR metadata_payloads[i] IS NOT NULL);
    END IF;
    IF cardinality(payload_ids) > 0 THEN
        INSERT INTO spane.execution_payloads (execution_id, payload_id, size_bytes, encoding, data)
        SELECT execution_ids[payload_calls[i]], payload_ids[i], payload_sizes[i], 'zlib', payloads[i]
          FROM generate_subscripts(payload_ids, 1) AS i
         WHERE outcomes[payload_calls[i]] IN ('created', 'adopted')
            ON CONFLICT (execution_id, payload_id) DO NOTHING;
    END IF;
    IF cardinality(holders) > 0 THEN
        INSERT INTO spane.execution_leases AS held (execution_id, holder, expires_at)
        SELECT execution_ids[i], holders[i], clock_timestamp() + make_interval(secs => lease_seconds[i])
          FROM generate_subscripts(outcomes, 1) AS i
         WHERE outcomes[i] IN ('created', 'adopted') AND holders[i] IS NOT NULL
            ON CONFLICT (execution_id) DO UPDATE
           SET holder = excluded.holder, expires_at = excluded.expires_at
         WHERE held.holder = excluded.holder OR held.expires_at <= clock_timestamp();
    END IF;
    IF workflows IS NOT NULL THEN
        PERFORM spane.add_execution_counts(workflows, moves);
    END IF;
    RETURN outcomes;
END
$function$;

-- The part of write_node_results that ends executions none of whose nodes is left.
CREATE FUNCTION spane.complete_executions(
    complete text[], execution_ids text[], deciders boolean[], workers text[], results json[], result_payloads uuid[],
    outcomes text[], now_ns bigint, actor text
) RETURNS text[]
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
    afterwards text[];
BEGIN
    WITH decision AS MATERIALIZED (
        SELECT execution_ids[i] AS execution_id, max(i) FILTER (WHERE deciders[i]) AS call,
               max(i) FILTER (WHERE deciders[i] AND (results[i] IS NOT NULL OR result_payloads[i] IS NOT NULL))
                   AS result_call
          FROM generate_subscripts(execution_ids, 1) AS i
         WHERE execution_ids[i] = ANY (complete) AND outcomes[i] <> 'lost'
         GROUP BY 1
    ), ended AS (
        UPDATE spane.executions AS execution
           SET status = CASE WHEN nodes_failed > 0 THEN 'failed' ELSE 'completed' END,
               ended_ns = now_ns, changed_ns = now_ns, audit_seq = audit_seq + 1,
               result = CASE WHEN nodes_failed = 0 THEN results[result_call] END,
               result_payload = CASE WHEN nodes_failed = 0 THEN result_payloads[result_call] END,
               error = CASE WHEN nodes_failed > 0 THEN (
                   SELECT latest.error
                     FROM spane.workflow_nodes AS node
                    CROSS JOIN LATERAL (
                          SELECT * FROM spane.node_results AS held
                           WHERE held.execution_id = execution.execution_id AND held.node_id = node.node_id AND is_final
                           ORDER BY iteration DESC, attempt DESC LIMIT 1) AS latest
                    WHERE node.workflow_id = execution.workflow_id AND node.version = execution.workflow_version
                      AND NOT node.continue_on_fail AND NOT (latest.success OR latest.skipped)
                    ORDER BY latest.ended_ns, node.node_id LIMIT 1) END
          FROM decision
         WHERE execution.execution_id = decision.execution_id
        RETURNING execution.execution_id, status, error, audit_seq, call
    ), audited AS (
        INSERT INTO spane.state_change_audit
               (execution_id, seq, changed_ns, change, old_value, new_value, actor, detail)
        SELECT execution_id, audit_seq, now_ns, 'status', outcomes[call], status, coalesce(workers[call], actor), error
          FROM ended
    ), told AS (
        INSERT INTO spane.changes (kind, execution_id) SELECT 'execution', execution_id FROM ended
    )
    SELECT array_agg(coalesce(ended.status, outcomes[i]) ORDER BY i)
      INTO afterwards
      FROM generate_subscripts(execution_ids, 1) AS i
      LEFT JOIN ended ON ended.execution_id = execution_ids[i] AND outcomes[i] <> 'lost';
    RETURN afterwards;
END
$function$;

-- The part of write_node_results that keeps what failed for good. The same failure, repeated, leaves its letter alone.
CREATE FUNCTION spane.write_dead_letters(
    execution_ids text[], node_ids text[], iterations integer[], attempts integer[], ended bigint[], workers text[],
    errors text[], letter_ids uuid[], job_ids text[], jobs json[], job_payloads uuid[],
    tries integer[], outcomes text[], changed integer[], now_ns bigint, actor text
) RETURNS void
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
BEGIN
    WITH given AS MATERIALIZED (
        SELECT i, execution_ids[i] AS execution_id
          FROM generate_subscripts(letter_ids, 1) AS i
         WHERE letter_ids[i] IS NOT NULL AND outcomes[i] NOT IN ('unknown', 'lost')
           AND (i = ANY (changed) OR NOT EXISTS (
                SELECT FROM spane.dead_letters
                 WHERE execution_id = execution_ids[i] AND dead_letter_id = letter_ids[i]))
    ), written AS (
        INSERT INTO spane.dead_letters
               (execution_id, dead_letter_id, failed_ns, job_data_payload, iteration, attempt, attempts_made, node_id,
                workflow_id, job_id, error, job_data)
        SELECT given.execution_id, letter_ids[i], ended[i], job_payloads[i], iterations[i], attempts[i],
               tries[i], node_ids[i], execution.workflow_id, job_ids[i], errors[i], jobs[i]
          FROM given
          JOIN spane.executions AS execution ON execution.execution_id = given.execution_id
            ON CONFLICT (execution_id, dead_letter_id) DO UPDATE
           SET failed_ns = excluded.failed_ns, retried_ns = NULL, job_data_payload = excluded.job_data_payload,
               attempts_made = excluded.attempts_made, job_id = excluded.job_id, error = excluded.error,
               job_data = excluded.job_data
    ), audited AS (
        INSERT INTO spane.state_change_audit
               (execution_id, seq, changed_ns, iteration, attempt, change, new_value, node_id, actor, detail)
        SELECT given.execution_id,
               execution.audit_seq + row_number() OVER (PARTITION BY given.execution_id ORDER BY i), now_ns,
               iterations[i], attempts[i], 'dead_letter', 'failed', node_ids[i], coalesce(workers[i], actor),
               replace(letter_ids[i]::text, '-', '')
          FROM given
          JOIN spane.executions AS execution ON execution.execution_id = given.execution_id
    )
    UPDATE spane.executions AS execution
       SET audit_seq = audit_seq + letters, changed_ns = now_ns
      FROM (SELECT execution_id, count(*) AS letters FROM given GROUP BY execution_id) AS counted
     WHERE execution.execution_id = counted.execution_id;
END
$function$;

-- Writes node results, at most one of a node in a call, and completes executions. Returns for each the status of its
-- execution afterwards, or 'unknown' where there is none of this id, or 'lost' where the holder has no lease on it.
--
-- First the rows of the executions are locked, in one order everywhere; what follows sees all that was committed before
-- the lock. Results are found by their keys alone, so that no call costs more the longer an execution is.
CREATE FUNCTION spane.write_node_results(
    execution_ids text[], node_ids text[], iterations integer[], attempts integer[], started bigint[], ended bigint[],
    are_ends_given boolean[], successes boolean[], skips boolean[], finals boolean[], deciders boolean[],
    workers text[], holders text[], errors text[], nexts json[], outputs json[], output_payloads uuid[],
    inputs json[], input_payloads uuid[], results json[], result_payloads uuid[],
    letter_ids uuid[], job_ids text[], jobs json[], job_payloads uuid[], tries integer[],
    payload_calls integer[], payload_ids uuid[], payload_sizes integer[], payloads bytea[],
    now_ns bigint, actor text
) RETURNS text[]
LANGUAGE plpgsql
-- The plan is made once and holds however large the tables grow: index scans inside nested loops.
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
    outcomes text[];
    changed integer[];
    complete text[];
BEGIN
    PERFORM FROM spane.executions WHERE execution_id = ANY (execution_ids) ORDER BY execution_id FOR NO KEY UPDATE;
    IF cardinality(holders) > 0 THEN
        -- Who takes a lease over waits for this, and reads the results afterwards.
        PERFORM FROM spane.execution_leases WHERE execution_id = ANY (execution_ids) ORDER BY execution_id FOR SHARE;
    END IF;
    WITH given AS MATERIALIZED (
        SELECT i, execution.execution_id, execution.status, execution.audit_seq, execution.nodes_total,
               execution.nodes_done, execution.nodes_failed, held.success AS held_success, held.skipped AS held_skipped,
               allowed.it AS is_allowed,
               allowed.it AND (held.success IS NULL OR
                   (held.success, held.skipped, held.is_final, held.started_ns, held.data_payload, held.input_payload,
                    held.worker, held.error, held.next_nodes::text, held.data::text, held.input::text)
                   IS DISTINCT FROM
                   (successes[i], skips[i], finals[i], started[i], output_payloads[i], input_payloads[i],
                    workers[i], errors[i], nexts[i]::text, outputs[i]::text, inputs[i]::text)
                   OR (are_ends_given[i] AND held.ended_ns <> ended[i])) AS is_changed,
               allowed.it AND deciders[i] AS decides,
               CASE WHEN node.continue_on_fail IS NULL OR NOT allowed.it OR other.iteration IS NOT NULL THEN 0
                    ELSE finals[i]::integer - coalesce(held.is_final, false)::integer END AS more_done,
               CASE WHEN node.continue_on_fail IS DISTINCT FROM false OR NOT allowed.it THEN 0
                    ELSE (CASE WHEN finals[i] AND (other.iteration IS NULL
                                                OR (other.iteration, other.attempt) < (iterations[i], attempts[i]))
                               THEN NOT (successes[i] OR skips[i])
                               ELSE coalesce(other.is_failure, false) END)::integer
                       - (CASE WHEN held.is_final AND (other.iteration IS NULL
                                                OR (other.iteration, other.attempt) < (iterations[i], attempts[i]))
                               THEN NOT (held.success OR held.skipped)
                               ELSE coalesce(other.is_failure, false) END)::integer END AS more_failed
          FROM generate_subscripts(execution_ids, 1) AS i
          LEFT JOIN spane.executions AS execution ON execution.execution_id = execution_ids[i]
         CROSS JOIN LATERAL (
               SELECT execution.execution_id IS NOT NULL AND (holders[i] IS NULL OR EXISTS (
                      SELECT FROM spane.execution_leases AS lease
                       WHERE lease.execution_id = execution.execution_id AND lease.holder = holders[i]
                         AND lease.expires_at > clock_timestamp())) AS it OFFSET 0) AS allowed
          -- As a join, a plan made while the tables were small looks up by the first columns of the key alone.
          LEFT JOIN LATERAL (
               SELECT node.node_id, node.continue_on_fail
                 FROM spane.workflow_nodes AS node
                WHERE execution.nodes_total IS NOT NULL AND node.workflow_id = execution.workflow_id
                  AND node.version = execution.workflow_version AND node.node_id = node_ids[i]
                LIMIT 1) AS node ON true
          LEFT JOIN LATERAL (
               SELECT held.*
                 FROM spane.node_results AS held
                WHERE held.execution_id = execution.execution_id AND held.node_id = node_ids[i]
                  AND held.iteration = iterations[i] AND held.attempt = attempts[i]
                LIMIT 1) AS held ON true
          LEFT JOIN LATERAL (
               SELECT iteration, attempt, NOT (success OR skipped) AS is_failure
                 FROM spane.node_results
                WHERE execution_id = execution.execution_id AND node_id = node.node_id AND is_final
                  AND (iteration, attempt) <> (iterations[i], attempts[i])
                ORDER BY iteration DESC, attempt DESC LIMIT 1) AS other ON true
    ), folded AS MATERIALIZED (
        SELECT execution_id, count(*) FILTER (WHERE is_changed) AS changes,
               sum(more_done) AS more_done, sum(more_failed) AS more_failed,
               bool_or(decides) AND status IN ('running', 'paused') AND nodes_done + sum(more_done) >= nodes_total
                   AS is_complete
          FROM given
         WHERE is_allowed
         GROUP BY execution_id, status, nodes_total, nodes_done
    ), written AS (
        INSERT INTO spane.node_results AS held
               (execution_id, node_id, iteration, attempt, started_ns, ended_ns, data_payload, input_payload, success,
                skipped, is_final, worker, error, next_nodes, data, input)
        SELECT execution_id, node_ids[i], iterations[i], attempts[i], started[i], ended[i], output_payloads[i],
               input_payloads[i], successes[i], skips[i], finals[i], workers[i], errors[i], nexts[i], outputs[i],
               inputs[i]
          FROM given
         WHERE is_changed
            ON CONFLICT (execution_id, node_id, iteration, attempt) DO UPDATE
           SET started_ns = excluded.started_ns, ended_ns = excluded.ended_ns, data_payload = excluded.data_payload,
               input_payload = excluded.input_payload, success = excluded.success, skipped = excluded.skipped,
               is_final = excluded.is_final, worker = excluded.worker, error = excluded.error,
               next_nodes = excluded.next_nodes, data = excluded.data, input = excluded.input
    ), counted AS (
        UPDATE spane.executions AS execution
           SET nodes_done = execution.nodes_done + folded.more_done, changed_ns = now_ns,
               nodes_failed = execution.nodes_failed + folded.more_failed,
               audit_seq = execution.audit_seq + folded.changes
          FROM folded
         WHERE execution.execution_id = folded.execution_id AND folded.changes > 0
    ), audited AS (
        INSERT INTO spane.state_change_audit
               (execution_id, seq, changed_ns, iteration, attempt, change, old_value, new_value, node_id, actor, detail)
        SELECT execution_id, audit_seq + row_number() OVER (PARTITION BY execution_id ORDER BY i), now_ns,
               iterations[i], attempts[i], 'node_result',
               CASE WHEN held_skipped THEN 'skipped' WHEN held_success THEN 'completed'
                    WHEN NOT held_success THEN 'failed' END,
               CASE WHEN skips[i] THEN 'skipped' WHEN successes[i] THEN 'completed' ELSE 'failed' END,
               node_ids[i], coalesce(workers[i], actor), errors[i]
          FROM given
         WHERE is_changed
    ), told AS (
        INSERT INTO spane.changes (kind, execution_id)
        SELECT 'execution', execution_id FROM folded WHERE changes > 0
    )
    SELECT array_agg(CASE WHEN is_allowed THEN status WHEN execution_id IS NULL THEN 'unknown' ELSE 'lost' END
                     ORDER BY i),
           array_agg(i) FILTER (WHERE is_changed),
           (SELECT array_agg(execution_id) FROM folded WHERE is_complete)
      INTO outcomes, changed, complete
      FROM given;
    IF cardinality(payload_ids) > 0 THEN
        INSERT INTO spane.execution_payloads (execution_id, payload_id, size_bytes, encoding, data)
        SELECT execution_ids[payload_calls[i]], payload_ids[i], payload_sizes[i], 'zlib', payloads[i]
          FROM generate_subscripts(payload_ids, 1) AS i
         WHERE outcomes[payload_calls[i]] NOT IN ('unknown', 'lost')
            ON CONFLICT (execution_id, payload_id) DO NOTHING;
    END IF;
    IF cardinality(letter_ids) > 0 THEN
        PERFORM spane.write_dead_letters(
            execution_ids, node_ids, iterations, attempts, ended, workers, errors, letter_ids, job_ids,
            jobs, job_payloads, tries, outcomes, changed, now_ns, actor);
    END IF;
    IF complete IS NOT NULL THEN
        outcomes := spane.complete_executions(
            complete, execution_ids, deciders, workers, results, result_payloads, outcomes, now_ns, actor);
    END IF;
    RETURN outcomes;
END
$function$;

-- Makes a failed node run again. Returns 'retried'; 'unknown' where there is no such letter; 'before' where another call
-- retried it; or the execution's status, where that does not allow it.
CREATE FUNCTION spane.retry_dead_letter(
    of_execution text, of_letter uuid, operation uuid, now_ns bigint, actor text
) RETURNS text
LANGUAGE plpgsql AS $function$
#variable_conflict use_column
DECLARE
    held record;
    letter record;
    is_over boolean;
    is_derived boolean;
BEGIN
    SELECT status, origin, audit_seq INTO held
      FROM spane.executions WHERE execution_id = of_execution FOR NO KEY UPDATE;
    SELECT * INTO letter FROM spane.dead_letters WHERE execution_id = of_execution AND dead_letter_id = of_letter;
    IF NOT FOUND THEN
        RETURN 'unknown';
    ELSIF letter.retried_ns IS NOT NULL THEN
        RETURN CASE WHEN EXISTS (
            SELECT FROM spane.state_change_audit WHERE execution_id = of_execution AND operation_id = operation)
            THEN 'retried' ELSE 'before' END;
    ELSIF held.status IN ('completed', 'cancelled') THEN
        RETURN held.status;
    END IF;
    is_over := held.status = 'failed';
    is_derived := is_over AND held.origin = 'spans';
    UPDATE spane.dead_letters SET retried_ns = now_ns WHERE execution_id = of_execution AND dead_letter_id = of_letter;
    UPDATE spane.node_results SET is_final = false
     WHERE execution_id = of_execution AND node_id = letter.node_id AND iteration = letter.iteration
       AND attempt = letter.attempt;
    INSERT INTO spane.state_change_audit
           (execution_id, seq, changed_ns, operation_id, iteration, attempt, change, old_value, new_value, node_id, actor,
            detail)
    SELECT of_execution, held.audit_seq + row_number() OVER (ORDER BY place), now_ns, operation, given.iteration,
           given.attempt, change, old_value, new_value, given.node_id, actor, detail
      FROM (VALUES (1, true, 'dead_letter', 'failed', 'retried', letter.node_id, letter.iteration, letter.attempt,
                    replace(of_letter::text, '-', '')),
                   (2, is_derived, 'adopted', 'failed', 'failed', NULL, NULL, NULL, NULL),
                   (3, is_over, 'status', 'failed', 'running', NULL, NULL, NULL, NULL))
           AS given (place, is_so, change, old_value, new_value, node_id, iteration, attempt, detail)
     WHERE is_so;
    UPDATE spane.executions
       SET status = CASE WHEN is_over THEN 'running' ELSE status END,
           origin = CASE WHEN is_derived THEN 'api' ELSE origin END,
           process_id = CASE WHEN is_over THEN NULL ELSE process_id END,
           ended_ns = CASE WHEN is_over THEN NULL ELSE ended_ns END,
           error = CASE WHEN is_over THEN NULL ELSE error END,
           changed_ns = now_ns, audit_seq = audit_seq + 1 + is_over::integer + is_derived::integer
     WHERE execution_id = of_execution;
    UPDATE spane.execution_leases SET expires_at = '-infinity' WHERE execution_id = of_execution;
    INSERT INTO spane.changes (kind, execution_id) VALUES ('execution', of_execution);
    PERFORM spane.recount_nodes(of_execution);
    RETURN 'retried';
END
$function$;

-- live ----------------------------------------------------------------------------------------------------------

CREATE TABLE spane.processes (
    process_id   text COLLATE "C" PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now()
);

-- What was written lately: one row for each batch and trace, read by the snapshot of whoever polls.
CREATE TABLE spane.changes (
    xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('spans', 'logs', 'execution')),
    execution_id text COLLATE "C",
    trace_id     uuid
);

CREATE INDEX changes_xid ON spane.changes (xid);
CREATE INDEX changes_at ON spane.changes (at);
