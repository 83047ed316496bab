-- Does the policy know when it succeeded? AUROC of its self-judgement against the truth; below 0.6 it is an echo chamber.
WITH ranked AS (
    SELECT *, rank() OVER same + (count(*) OVER (PARTITION BY run_id, round, score) - 1) / 2 AS place
    FROM self_evaluation WINDOW same AS (PARTITION BY run_id, round ORDER BY score)),
counted AS (
    SELECT run_id, round, count(*) AS episodes, count(*) FILTER (success) AS good, sum(place) FILTER (success) AS places,
        avg(score) FILTER (success) AS score_on_success, avg(score) FILTER (NOT success) AS score_on_failure,
        avg(consistency) AS consistency
    FROM ranked GROUP BY run_id, round)
SELECT run_id, round, episodes, good / episodes AS success, score_on_success, score_on_failure, consistency,
    (places - good * (good + 1) / 2) / nullif(good * (episodes - good), 0) AS auroc
FROM counted
ORDER BY run_id, round
