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
    links                    json
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
    result              json
);

CREATE INDEX executions_started ON spane.executions (started_ns DESC, execution_id DESC);
CREATE INDEX executions_workflow ON spane.executions (workflow_id, started_ns DESC, execution_id DESC);
CREATE INDEX executions_status ON spane.executions (status, started_ns DESC, execution_id DESC);
CREATE INDEX executions_parent ON spane.executions (parent_execution_id) WHERE parent_execution_id IS NOT NULL;
CREATE INDEX executions_process ON spane.executions (process_id) WHERE status = 'running';

CREATE TABLE spane.execution_metadata (
    execution_id text COLLATE "C" PRIMARY KEY,
    metadata     json NOT NULL
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
