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
);

CREATE INDEX executions_started ON spane.executions (started_ns DESC, execution_id DESC);
CREATE INDEX executions_workflow ON spane.executions (workflow_id, started_ns DESC, execution_id DESC);
CREATE INDEX executions_status ON spane.executions (status, started_ns DESC, execution_id DESC);
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
