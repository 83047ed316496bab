-- What kind of task is learned when? Panel success without skills by round and task type.
WITH typed AS (
    SELECT s.run_id, s.round, e.by_type, unnest(json_keys(e.by_type)) AS type
    FROM stage_run s JOIN evaluation e ON e.artifact_id = s.artifact_id
    WHERE NOT e.with_skills),
counted AS (
    SELECT run_id, round, type, by_type->type AS pair FROM typed)
SELECT run_id, type, round, (pair->>0)::INTEGER AS successes, (pair->>1)::INTEGER AS episodes,
    (pair->>0)::INTEGER / (pair->>1)::INTEGER AS success
FROM counted
ORDER BY run_id, type, round
