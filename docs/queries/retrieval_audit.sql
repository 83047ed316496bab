-- Does retrieval find what it should? Skills by round and rank: how often, how close, how much of the budget was cut.
SELECT run_id, round, rule, skill, count(*) AS uses, avg(rank) AS mean_rank, avg(score) AS mean_score,
    avg(success::INTEGER) AS success, avg((tokens_cut > 0)::INTEGER) AS share_cut
FROM retrieval_audit
GROUP BY ALL
ORDER BY run_id, round, uses DESC, skill
