-- Is it learning? Panel success without skills by round, its 95 % interval, and the gain since the evaluation before.
SELECT run_id, round, success, low, high, success - lag(success) OVER (PARTITION BY run_id ORDER BY round) AS gain
FROM learning_curve
ORDER BY run_id, round
