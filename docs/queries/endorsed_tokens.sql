-- Which tokens do the skills endorse most? Sum of the positive gaps by token: what the teacher would write more often.
SELECT run_id, token, count(*) AS times, sum(gap) AS total_gap, avg(success::INTEGER) AS success
FROM scored_token
WHERE gap > 0
GROUP BY run_id, token_id, token
ORDER BY total_gap DESC, run_id, token
LIMIT 20
