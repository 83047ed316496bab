-- Which skills did the agent write, which were admitted, and what did the trial say? Refused ones carry their reason.
SELECT run_id, round, name, source, verdict, support, contradictions, tasks, wins_with, wins_without, low, high,
    successes, lift_success, failures, lift_failure, len(parents) AS parents, body, reason
FROM distilled_skill
ORDER BY run_id, round, verdict, difference DESC NULLS LAST, name
