-- Why do episodes end? Share of each stop reason by round; a rising max_tokens or max_steps calls for a larger limit.
SELECT run_id, round, stop_reason, count(*) AS episodes,
    count(*) / sum(count(*)) OVER (PARTITION BY run_id, round) AS share, any_value(error) AS example_error
FROM collected_episode
GROUP BY run_id, round, stop_reason
ORDER BY run_id, round, episodes DESC, stop_reason
