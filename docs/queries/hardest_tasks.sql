-- Which tasks does the policy fail at most? Tasks by their success over all rounds, the hardest first.
WITH goal AS (SELECT id, any_value(goal) AS goal FROM task GROUP BY id)
SELECT e.task_id, any_value(e.task_type) AS type, any_value(g.goal) AS goal, count(*) AS episodes,
    avg(e.success::INTEGER) AS success, arg_max(e.stop_reason, e.round) AS last_stop
FROM collected_episode e LEFT JOIN goal g ON g.id = e.task_id
GROUP BY e.task_id
ORDER BY success, episodes DESC, e.task_id
LIMIT 20
