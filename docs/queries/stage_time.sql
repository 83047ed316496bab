-- Where did the time go? Seconds by stage, of stages that were computed and not taken over from earlier work.
SELECT run_id, stage, count(*) AS times, sum(seconds) AS seconds, max(seconds) AS longest,
    sum(seconds) / sum(sum(seconds)) OVER (PARTITION BY run_id) AS share
FROM stage_run
WHERE reused_from IS NULL
GROUP BY run_id, stage
ORDER BY run_id, seconds DESC, stage
