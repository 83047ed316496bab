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
tested AS (  -- on the panel of that run: other runs may have played another one
    SELECT run_id, policy_id, arg_max(success, round) AS success FROM learning_curve GROUP BY ALL)
SELECT a.run_id, a.generation, k.round, k.method, a.id, t.success,
    k.blob IS NOT NULL AND k.blob NOT IN (SELECT blob FROM pruned) AS has_weights,
    a.id IN (SELECT policy_id FROM pin) AS pinned
FROM ancestor a LEFT JOIN known k ON k.id = a.id LEFT JOIN tested t ON t.run_id = a.run_id AND t.policy_id = a.id
ORDER BY a.run_id, a.generation
