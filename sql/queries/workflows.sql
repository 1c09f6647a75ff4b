-- name: insert_workflow
-- Makes a workflow's row, unless there is one of this id; it has no version until one is saved in this transaction.
INSERT INTO spane.workflows (workflow_id, current_version, is_active, created_ns, updated_ns, name)
VALUES (:workflow_id, 0, false, :now_ns, :now_ns, '')
    ON CONFLICT (workflow_id) DO NOTHING;

-- name: lock_workflow
-- Lets one at a time change a workflow.
SELECT current_version FROM spane.workflows WHERE workflow_id = :workflow_id FOR NO KEY UPDATE;

-- name: find_content_hash
-- Reads the hash of a version's content.
SELECT content_hash FROM spane.workflow_versions WHERE workflow_id = :workflow_id AND version = :version;

-- name: insert_workflow_version
-- Stores a version.
INSERT INTO spane.workflow_versions
    (workflow_id, version, content_hash, node_count, created_ns, created_by, change_notes, definition)
VALUES (:workflow_id, :version, :content_hash, :node_count, :now_ns, :created_by, :change_notes, :definition);

-- name: insert_workflow_nodes
-- Stores the nodes of a version.
INSERT INTO spane.workflow_nodes (workflow_id, version, node_id, type, continue_on_fail)
SELECT :workflow_id::text, :version::integer, node.*
  FROM unnest(:node_id::text[], :type::text[], :continue_on_fail::boolean[]) AS node;

-- name: update_workflow
-- Makes a version the current one of a workflow, which is active from now on.
UPDATE spane.workflows
   SET current_version = :version, is_active = true, updated_ns = :now_ns, name = :name, description = :description
 WHERE workflow_id = :workflow_id;

-- name: set_workflow_activity
-- Makes a workflow active or not; writes nothing where it is that already.
UPDATE spane.workflows
   SET is_active = :is_active, updated_ns = :now_ns
 WHERE workflow_id = :workflow_id AND is_active <> :is_active;

-- name: get_workflow
-- Reads a version of a workflow, the current one where none is named.
SELECT held.version, held.version_id, held.definition
  FROM spane.workflows AS workflow
  JOIN spane.workflow_versions AS held
    ON held.workflow_id = workflow.workflow_id AND held.version = coalesce(:version::integer, workflow.current_version)
 WHERE workflow.workflow_id = :workflow_id;

-- name: get_workflow_version
-- Reads the number and the id of a workflow's version, of the current one where none is named.
SELECT held.version, held.version_id
  FROM spane.workflows AS workflow
  JOIN spane.workflow_versions AS held
    ON held.workflow_id = workflow.workflow_id AND held.version = coalesce(:version::integer, workflow.current_version)
 WHERE workflow.workflow_id = :workflow_id;

-- name: list_workflow_versions
-- Lists the versions of a workflow, the oldest first.
SELECT held.workflow_id, held.version, held.version_id, held.content_hash, held.created_ns, held.created_by,
       held.change_notes, held.version = workflow.current_version AS is_current
  FROM spane.workflows AS workflow
  JOIN spane.workflow_versions AS held ON held.workflow_id = workflow.workflow_id
 WHERE workflow.workflow_id = :workflow_id
 ORDER BY held.version;

-- name: list_workflows
-- Lists workflows by their current version, the one changed last first.
SELECT workflow.is_active, workflow.created_ns, workflow.updated_ns, current.version, current.definition
  FROM spane.workflows AS workflow
  JOIN spane.workflow_versions AS current
    ON current.workflow_id = workflow.workflow_id AND current.version = workflow.current_version
 WHERE true
   AND workflow.is_active -- when: is_active
   AND (workflow.updated_ns, workflow.workflow_id) < (:before_ns, :before_id) -- when: before_ns
 ORDER BY workflow.updated_ns DESC, workflow.workflow_id DESC
 LIMIT :limit OFFSET :offset;

-- name: count_workflows
-- Counts workflows, all or the active ones.
SELECT count(*) AS count FROM spane.workflows
 WHERE true
   AND is_active -- when: is_active
;
