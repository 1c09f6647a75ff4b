-- name: create_executions
-- Makes executions, and tells of each what became of it.
SELECT spane.create_executions(
    :execution_ids, :workflow_ids, :parent_ids, :depths, :content_hashes, :started, :initial_data,
    :initial_data_payloads, :metadata, :metadata_payloads, :holders, :lease_seconds, :payload_calls, :payload_ids,
    :payload_sizes, :payloads, :now_ns, :actor) AS outcomes;

-- name: write_node_results
-- Writes node results, and tells of each what became of it and of its execution.
SELECT spane.write_node_results(
    :execution_ids, :node_ids, :iterations, :attempts, :started, :ended, :are_ends_given, :successes, :skips, :finals,
    :deciders, :workers, :holders, :errors, :nexts, :outputs, :output_payloads, :inputs, :input_payloads, :results,
    :result_payloads, :letter_ids, :job_ids, :jobs, :job_payloads, :tries, :payload_calls,
    :payload_ids, :payload_sizes, :payloads, :now_ns, :actor) AS outcomes;

-- name: list_node_results
-- Lists the latest result of each node of an execution, with who owns that; one row of nulls where there is none.
SELECT DISTINCT ON (held.node_id) execution.origin, held.*, output.data AS packed_data, given.data AS packed_input
  FROM spane.executions AS execution
  LEFT JOIN spane.node_results AS held
    ON held.execution_id = execution.execution_id
   AND held.node_id = ANY (:node_ids::text[]) -- when: node_ids
  LEFT JOIN spane.execution_payloads AS output
    ON output.execution_id = held.execution_id AND output.payload_id = held.data_payload
  LEFT JOIN spane.execution_payloads AS given
    ON given.execution_id = held.execution_id AND given.payload_id = held.input_payload
 WHERE execution.execution_id = :execution_id
 ORDER BY held.node_id, held.iteration DESC, held.attempt DESC;

-- name: list_node_attempts
-- Lists every attempt at a node, or at every node, of an execution, with who owns that; one row of nulls if none.
SELECT execution.origin, held.*, output.data AS packed_data, given.data AS packed_input
  FROM spane.executions AS execution
  LEFT JOIN spane.node_results AS held
    ON held.execution_id = execution.execution_id
   AND held.node_id = :node_id -- when: node_id
  LEFT JOIN spane.execution_payloads AS output
    ON output.execution_id = held.execution_id AND output.payload_id = held.data_payload
  LEFT JOIN spane.execution_payloads AS given
    ON given.execution_id = held.execution_id AND given.payload_id = held.input_payload
 WHERE execution.execution_id = :execution_id
 ORDER BY held.node_id, held.iteration, held.attempt;

-- name: count_nodes
-- Tells how many nodes an execution's version has, how many of them and of any are done, and which its spans could mean.
SELECT origin, nodes_total, nodes_done,
       CASE WHEN nodes_total IS NULL THEN
            (SELECT count(DISTINCT node_id)::integer FROM spane.node_results AS held
              WHERE held.execution_id = execution.execution_id AND is_final) END AS any_done,
       CASE WHEN origin = 'spans' AND version.version IS NOT NULL THEN
            ARRAY(SELECT node.node_id FROM spane.workflow_nodes AS node
                   WHERE node.workflow_id = version.workflow_id AND node.version = version.version) END AS node_ids
  FROM spane.executions AS execution
  LEFT JOIN spane.workflow_versions AS version
    ON version.workflow_id = execution.workflow_id AND version.version = execution.workflow_version
 WHERE execution_id = :execution_id;

-- name: list_audit
-- Lists the changes of an execution's state in their order.
SELECT * FROM spane.state_change_audit
 WHERE execution_id = :execution_id
   AND seq > :after -- when: after
 ORDER BY seq
 LIMIT :limit;

-- name: list_dead_letters
-- Lists dead letters, newest first.
SELECT letter.*, payload.data AS packed_job_data
  FROM spane.dead_letters AS letter
  LEFT JOIN spane.execution_payloads AS payload
    ON payload.execution_id = letter.execution_id AND payload.payload_id = letter.job_data_payload
 WHERE true
   AND letter.execution_id = :execution_id -- when: execution_id
   AND letter.workflow_id = :workflow_id -- when: workflow_id
   AND letter.retried_ns IS NULL -- when: is_waiting
   AND (letter.failed_ns, letter.dead_letter_id) < (:before_ns, :before_id) -- when: before_ns
 ORDER BY letter.failed_ns DESC, letter.dead_letter_id DESC
 LIMIT :limit;

-- name: retry_dead_letter
-- Makes a failed node run again, and tells what became of it.
SELECT spane.retry_dead_letter(:execution_id, :dead_letter_id, :operation_id, :now_ns, :actor) AS outcome;
