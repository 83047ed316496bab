-- How far a step is from the policy that sampled: shown for every round, with or without a KL term in the loss.

DROP VIEW round_summary;
ALTER TABLE update_step ADD COLUMN drift DOUBLE DEFAULT 'nan'::DOUBLE;
COMMENT ON COLUMN update_step.drift IS 'Estimated KL from the sampling policy before the step, nats a token; NaN in old rows.';

CREATE VIEW round_summary AS
WITH stages AS (
    SELECT run_id, round, sum(seconds) FILTER (reused_from IS NULL) AS seconds FROM stage_run GROUP BY ALL),
turns AS (SELECT artifact_id, episode_id, count(*) AS turns FROM turn GROUP BY ALL),
episodes AS (
    SELECT e.run_id, e.round, count(*) AS episodes, avg(e.success::INTEGER) AS success,
        avg(e.episode_return) AS mean_return, avg(coalesce(t.turns, 0)) AS mean_turns
    FROM collected_episode e LEFT JOIN turns t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id
    GROUP BY ALL),
gaps AS (
    SELECT run_id, round, avg(gap) AS gap_mean, avg(gate) AS gate_mean, avg((gate > 0.5)::INTEGER) AS gate_share
    FROM token_value GROUP BY ALL),
updates AS (
    SELECT s.run_id, s.round, avg(u.kl) AS kl, avg(u.drift) AS drift, avg(u.entropy) AS entropy
    FROM stage_run s JOIN update_step u ON u.artifact_id = s.artifact_id WHERE NOT u.skipped GROUP BY ALL)
SELECT s.run_id, s.round, e.episodes, e.success, e.mean_return, e.mean_turns, g.gap_mean, g.gate_mean, g.gate_share,
    u.kl, u.drift, u.entropy, coalesce(s.seconds, 0) AS seconds
FROM stages s
LEFT JOIN episodes e USING (run_id, round)
LEFT JOIN gaps g USING (run_id, round)
LEFT JOIN updates u USING (run_id, round)
ORDER BY s.run_id, s.round;
COMMENT ON VIEW round_summary IS 'One row per round: collected success, gap, gate, update and time.';
COMMENT ON COLUMN round_summary.success IS 'Share of collected training episodes that succeeded; see learning_curve for the panel.';
COMMENT ON COLUMN round_summary.gate_share IS 'Share of tokens with a gate above 0.5.';
COMMENT ON COLUMN round_summary.kl IS 'Mean over the optimiser steps that were taken; entropy likewise.';
COMMENT ON COLUMN round_summary.seconds IS 'Wall time of the stages that were computed, not reused.';
COMMENT ON COLUMN round_summary.run_id IS 'Run.';
COMMENT ON COLUMN round_summary.round IS 'Round of the run; 0 is the preparation.';
COMMENT ON COLUMN round_summary.episodes IS 'Collected training episodes.';
COMMENT ON COLUMN round_summary.mean_return IS 'Mean of their returns.';
COMMENT ON COLUMN round_summary.mean_turns IS 'Mean number of their turns.';
COMMENT ON COLUMN round_summary.gap_mean IS 'Mean of teacher minus student log-prob.';
COMMENT ON COLUMN round_summary.gate_mean IS 'Mean gate.';
COMMENT ON COLUMN round_summary.entropy IS 'Mean entropy of the policy over the optimiser steps that were taken.';
COMMENT ON COLUMN round_summary.drift IS 'Mean KL from the policy that sampled, nats a token.';
