-- Which skills help? A skill is useful when it raises the tokens of successful episodes above those of failed ones.
SELECT run_id, skill, uses, last_round, gap_on_success, gap_on_failure, difference, low, high
FROM skill_usefulness
ORDER BY difference DESC NULLS LAST, uses DESC, run_id, skill
LIMIT 20
