-- Does the policy speak the environment's language? Share of actions that could not be read, and the commonest one.
WITH action AS (
    SELECT e.run_id, e.round, t.action, t.valid
    FROM collected_episode e JOIN turn t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id)
SELECT run_id, round, count(*) AS actions, avg((NOT valid)::INTEGER) AS invalid_share,
    mode(action) FILTER (NOT valid) AS commonest
FROM action
GROUP BY run_id, round
ORDER BY run_id, round
