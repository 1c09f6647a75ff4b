-- name: read_snapshot
-- Tells the present: which transactions are visible now, and the time.
SELECT pg_current_snapshot()::text AS snapshot, (extract(epoch FROM now()) * 1000000)::bigint AS at_us;

-- name: poll_changes
-- Reads what is visible now and was not visible to a snapshot, with the snapshot of now.
SELECT pg_current_snapshot()::text AS snapshot, (extract(epoch FROM now()) * 1000000)::bigint AS at_us, change.*
  FROM (VALUES (true)) AS once
  LEFT JOIN LATERAL (
       SELECT DISTINCT kind, execution_id, trace_id
         FROM spane.changes
        WHERE xid >= pg_snapshot_xmin(:snapshot::text::pg_snapshot)
          AND NOT pg_visible_in_snapshot(xid, :snapshot::text::pg_snapshot)
          AND at > timestamptz 'epoch' + (:at_us::bigint - 60000000) * interval '1 microsecond') AS change ON true;

-- name: list_executions_gone_stale
-- Lists running executions whose process went stale between two moments.
SELECT execution_id
  FROM spane.executions
  JOIN spane.processes USING (process_id)
 WHERE status = 'running'
   AND last_seen_at >= timestamptz 'epoch' + :then_us::bigint * interval '1 microsecond' - make_interval(secs => :stale_seconds)
   AND last_seen_at < timestamptz 'epoch' + :now_us::bigint * interval '1 microsecond' - make_interval(secs => :stale_seconds);

-- name: delete_old_changes
-- Deletes changes that nobody asks for any more.
DELETE FROM spane.changes WHERE at < now() - interval '1 hour';
