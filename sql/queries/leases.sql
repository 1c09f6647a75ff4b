-- name: acquire_lease
-- Takes or renews a lease unless another holder's is in force; tells whether there is such an execution, and the outcome.
WITH known AS (
    SELECT execution_id FROM spane.executions WHERE execution_id = :execution_id FOR KEY SHARE
), taken AS (
    INSERT INTO spane.execution_leases AS held (execution_id, holder, expires_at)
    SELECT execution_id, :holder, now() + make_interval(secs => :seconds) FROM known
        ON CONFLICT (execution_id) DO UPDATE
       SET holder = excluded.holder, expires_at = excluded.expires_at
     WHERE held.holder = excluded.holder OR held.expires_at <= now()
    RETURNING execution_id
)
SELECT EXISTS (SELECT FROM known) AS is_known, EXISTS (SELECT FROM taken) AS is_held;

-- name: renew_leases
-- Renews a holder's leases in force on what has not ended, locked in the order in which writers of results lock them.
WITH mine AS (
    SELECT execution_id FROM spane.execution_leases AS held
     WHERE holder = :holder AND expires_at > now()
       AND EXISTS (SELECT FROM spane.executions AS e
                    WHERE e.execution_id = held.execution_id AND e.status IN ('running', 'paused'))
     ORDER BY execution_id
       FOR NO KEY UPDATE
)
UPDATE spane.execution_leases AS held
   SET expires_at = now() + make_interval(secs => :seconds)
  FROM mine
 WHERE held.execution_id = mine.execution_id
RETURNING held.execution_id;

-- name: release_lease
-- Gives a lease up: for good where the execution has ended (a failed one may be retried), else to be claimed at once.
WITH ended AS (
    DELETE FROM spane.execution_leases AS held
     USING spane.executions AS e
     WHERE held.execution_id = :execution_id AND holder = :holder
       AND e.execution_id = held.execution_id AND e.status IN ('completed', 'cancelled')
)
UPDATE spane.execution_leases AS held
   SET expires_at = now()
 WHERE held.execution_id = :execution_id AND holder = :holder AND expires_at > now()
   AND EXISTS (SELECT FROM spane.executions AS e
                WHERE e.execution_id = held.execution_id AND e.status NOT IN ('completed', 'cancelled'));

-- name: claim_executions
-- Takes over running executions whose lease has run out, the oldest first, leaving out what others claim at this moment.
WITH ended AS (
    DELETE FROM spane.execution_leases
     WHERE execution_id IN (
           SELECT held.execution_id
             FROM spane.execution_leases AS held
             JOIN spane.executions AS e ON e.execution_id = held.execution_id
            WHERE held.expires_at <= now() AND e.status IN ('completed', 'cancelled')
            LIMIT 1000
              FOR UPDATE OF held SKIP LOCKED)
), free AS (
    SELECT held.execution_id, e.started_ns
      FROM spane.execution_leases AS held
      JOIN spane.executions AS e ON e.execution_id = held.execution_id
     WHERE held.expires_at <= now() AND e.status = 'running'
       AND e.workflow_id = ANY (:workflow_ids::text[]) -- when: workflow_ids
     ORDER BY e.started_ns, e.execution_id
     LIMIT :limit
       FOR NO KEY UPDATE OF held SKIP LOCKED
), claimed AS (
    UPDATE spane.execution_leases AS held
       SET holder = :holder, expires_at = now() + make_interval(secs => :seconds)
      FROM free
     WHERE held.execution_id = free.execution_id
    RETURNING held.execution_id
)
SELECT free.execution_id FROM free JOIN claimed USING (execution_id) ORDER BY started_ns, execution_id;
