-- Workflows with versions, node results, payloads, audit, dead letters, leases, counters.

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

-- version_id keeps what an execution ran from vanishing; executions that spans make name a version that may not be here.
ALTER TABLE spane.executions
    ADD COLUMN version_id           bigint REFERENCES spane.workflow_versions (version_id) ON DELETE RESTRICT,
    ADD COLUMN changed_ns           bigint NOT NULL DEFAULT 0,  -- the last state change; 0: none since it was made
    ADD COLUMN timeout_ns           bigint,
    ADD COLUMN nodes_total          integer,                    -- of the pinned version
    ADD COLUMN nodes_done           integer NOT NULL DEFAULT 0, -- of them, those with a final result
    ADD COLUMN nodes_failed         integer NOT NULL DEFAULT 0, -- of those, failures that nobody tolerates
    ADD COLUMN audit_seq            integer NOT NULL DEFAULT 0, -- the number of the last audit row
    ADD COLUMN initial_data_payload uuid,
    ADD COLUMN result_payload       uuid;

CREATE INDEX executions_version ON spane.executions (version_id) WHERE version_id IS NOT NULL;
CREATE INDEX executions_timeout ON spane.executions (timeout_ns)
    WHERE timeout_ns IS NOT NULL AND status IN ('running', 'paused');

ALTER TABLE spane.execution_metadata ADD COLUMN metadata_payload uuid;

ALTER TABLE spane.execution_spans ADD COLUMN added_hash uuid;

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

INSERT INTO spane.execution_counts (workflow_id, slot, count)
SELECT coalesce(workflow_id, ''), 0, count(*) FROM spane.executions GROUP BY 1;

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
