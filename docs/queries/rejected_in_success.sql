-- Which tokens did the teacher reject although the episode succeeded? Candidates for skills that mislead.
SELECT run_id, token, count(*) AS times, avg(gap) AS gap, avg(gate) AS gate
FROM scored_token
WHERE success AND gap < -0.5
GROUP BY run_id, token_id, token
ORDER BY times DESC, gap, run_id, token
LIMIT 20
