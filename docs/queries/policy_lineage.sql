-- Where does each run's last policy come from? Its ancestors with their panel success and whether weights are kept.
WITH RECURSIVE known AS (
    SELECT p.id, any_value(p.parent) AS parent, any_value(p.method) AS method, min(p.round) AS round,
        any_value(a.blob) AS blob
    FROM policy p JOIN artifact a ON a.id = p.artifact_id GROUP BY p.id),
latest AS (
    SELECT s.run_id, arg_max(p.id, s.round) AS id
    FROM stage_run s JOIN policy p ON p.artifact_id = s.artifact_id GROUP BY s.run_id),
ancestor AS (
    SELECT run_id, id, 0 AS generation FROM latest
    UNION ALL
    SELECT a.run_id, k.parent, a.generation + 1 FROM ancestor a JOIN known k ON k.id = a.id
    WHERE k.parent <> a.id AND a.generation < 10_000),  -- an update without effect is its own parent
tested AS (SELECT policy_id, avg(success) AS success FROM evaluation WHERE NOT with_skills GROUP BY policy_id)
SELECT a.run_id, a.generation, k.round, k.method, a.id, t.success,
    k.blob IS NOT NULL AND k.blob NOT IN (SELECT blob FROM pruned) AS has_weights,
    a.id IN (SELECT policy_id FROM pin) AS pinned
FROM ancestor a LEFT JOIN known k ON k.id = a.id LEFT JOIN tested t ON t.policy_id = a.id
ORDER BY a.run_id, a.generation
