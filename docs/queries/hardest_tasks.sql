-- Which tasks does the policy fail at most? Tasks by their success over all rounds, the hardest first.
-- Episodes that runs share, as a branch does with the run it began in, count once.
WITH goal AS (SELECT id, any_value(goal) AS goal FROM task GROUP BY id),
played AS (
    SELECT artifact_id, ordinal, any_value(task_id) AS task_id, any_value(task_type) AS task_type,
        any_value(success) AS success, any_value(stop_reason) AS stop_reason, max(round) AS round
    FROM collected_episode GROUP BY ALL)
SELECT e.task_id, any_value(e.task_type) AS type, any_value(g.goal) AS goal, count(*) AS episodes,
    avg(e.success::INTEGER) AS success, arg_max(e.stop_reason, e.round) AS last_stop
FROM played e LEFT JOIN goal g ON g.id = e.task_id
GROUP BY e.task_id
ORDER BY success, episodes DESC, e.task_id
LIMIT 20
