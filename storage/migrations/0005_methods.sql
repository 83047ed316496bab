-- What the methods of the field need: self-judgement, selection, and the lambda that was in force.

ALTER TABLE update_step ADD COLUMN coefficient DOUBLE DEFAULT 'nan'::DOUBLE;
COMMENT ON COLUMN update_step.coefficient IS 'Lambda in force: weight of the self-distillation term; NaN in old rows.';

CREATE TABLE self_judgement (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL,
    verdicts FLOAT[] NOT NULL, score DOUBLE NOT NULL, consistency DOUBLE NOT NULL);
COMMENT ON TABLE self_judgement IS 'How the policy judged its own episodes, one row per episode.';
COMMENT ON COLUMN self_judgement.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN self_judgement.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN self_judgement.episode_id IS 'Episode.';
COMMENT ON COLUMN self_judgement.verdicts IS 'Mean gap under each set of skills, nats a token.';
COMMENT ON COLUMN self_judgement.score IS 'Mean of the verdicts.';
COMMENT ON COLUMN self_judgement.consistency IS 'Share of the verdicts on the majority side of the group median.';

CREATE TABLE selection (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL,
    kept BOOLEAN NOT NULL, reason VARCHAR NOT NULL);
COMMENT ON TABLE selection IS 'Which episodes the update could learn from, one row per episode.';
COMMENT ON COLUMN selection.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN selection.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN selection.episode_id IS 'Episode.';
COMMENT ON COLUMN selection.kept IS 'Whether it was kept.';
COMMENT ON COLUMN selection.reason IS 'Why it was not; empty for a kept one.';

-- All figures of the checks of a round in one place, and its warnings.
DROP VIEW round_summary;
CREATE VIEW round_summary AS
WITH stages AS (
    SELECT run_id, round, sum(seconds) FILTER (reused_from IS NULL) AS seconds,
        sum((summary->>'$.logprob_difference')::DOUBLE) FILTER (stage = 'score') AS logprob_difference,
        sum((summary->>'$.zero_spread_share')::DOUBLE) FILTER (stage = 'update') AS zero_spread_share,
        coalesce(string_agg(nullif(summary->>'$.warnings', ''), ' ' ORDER BY started), '') AS warnings
    FROM stage_run GROUP BY ALL),
turns AS (
    SELECT artifact_id, episode_id, count(*) AS turns, count(*) FILTER (NOT valid) AS invalid FROM turn GROUP BY ALL),
episodes AS (
    SELECT e.run_id, e.round, count(*) AS episodes, avg(e.success::INTEGER) AS success,
        avg(e.episode_return) AS mean_return, avg(coalesce(t.turns, 0)) AS mean_turns,
        sum(t.invalid) / sum(t.turns) AS invalid_share
    FROM collected_episode e LEFT JOIN turns t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id
    GROUP BY ALL),
groups AS (
    SELECT run_id, round, group_index, stddev_pop(episode_return) AS deviation FROM collected_episode GROUP BY ALL),
spreads AS (SELECT run_id, round, avg(deviation) AS spread FROM groups GROUP BY ALL),
gaps AS (
    SELECT run_id, round, avg(gap) AS gap_mean, stddev_pop(gap) AS gap_std, avg(gate) AS gate_mean,
        avg((gate > 0.5)::INTEGER) AS gate_share
    FROM token_value GROUP BY ALL),
updates AS (
    SELECT s.run_id, s.round, count(*) FILTER (u.skipped) AS skipped, avg(u.kl) FILTER (NOT u.skipped) AS kl,
        avg(u.drift) FILTER (NOT u.skipped) AS drift, avg(u.entropy) FILTER (NOT u.skipped) AS entropy,
        avg(u.clip_share) FILTER (NOT u.skipped) AS clip_share,
        avg(u.gate_mean) FILTER (NOT u.skipped) AS gate_mean,
        avg(u.gate_share) FILTER (NOT u.skipped) AS gate_share,
        avg(u.gradient_norm) FILTER (NOT u.skipped) AS gradient_norm,
        avg(u.coefficient) FILTER (NOT u.skipped) AS coefficient
    FROM stage_run s JOIN update_step u ON u.artifact_id = s.artifact_id GROUP BY ALL)
SELECT s.run_id, s.round, e.episodes, e.success, e.mean_return, e.mean_turns, e.invalid_share, p.spread,
    s.zero_spread_share, s.logprob_difference, g.gap_mean, g.gap_std, coalesce(g.gate_mean, u.gate_mean) AS gate_mean,
    coalesce(g.gate_share, u.gate_share) AS gate_share, u.kl, u.drift, u.entropy, u.clip_share, u.gradient_norm,
    u.skipped, u.coefficient, s.warnings, coalesce(s.seconds, 0) AS seconds
FROM stages s
LEFT JOIN episodes e USING (run_id, round)
LEFT JOIN spreads p USING (run_id, round)
LEFT JOIN gaps g USING (run_id, round)
LEFT JOIN updates u USING (run_id, round)
ORDER BY s.run_id, s.round;
COMMENT ON VIEW round_summary IS 'One row per round: collected success, gap, gate, update, checks, warnings and time.';
COMMENT ON COLUMN round_summary.run_id IS 'Run.';
COMMENT ON COLUMN round_summary.round IS 'Round of the run; 0 is the preparation.';
COMMENT ON COLUMN round_summary.episodes IS 'Collected training episodes.';
COMMENT ON COLUMN round_summary.success IS 'Share of collected training episodes that succeeded; see learning_curve for the panel.';
COMMENT ON COLUMN round_summary.mean_return IS 'Mean of their returns.';
COMMENT ON COLUMN round_summary.mean_turns IS 'Mean number of their turns.';
COMMENT ON COLUMN round_summary.invalid_share IS 'Share of their turns whose action the environment could not read.';
COMMENT ON COLUMN round_summary.spread IS 'Mean over groups of the deviation of their returns.';
COMMENT ON COLUMN round_summary.zero_spread_share IS 'Share of groups whose returns were all equal, as the update saw them.';
COMMENT ON COLUMN round_summary.logprob_difference IS 'Largest difference of sampler and learner log-probs, in nats.';
COMMENT ON COLUMN round_summary.gap_mean IS 'Mean of teacher minus student log-prob.';
COMMENT ON COLUMN round_summary.gap_std IS 'Its standard deviation over tokens.';
COMMENT ON COLUMN round_summary.gate_mean IS 'Mean gate.';
COMMENT ON COLUMN round_summary.gate_share IS 'Share of tokens with a gate above 0.5.';
COMMENT ON COLUMN round_summary.kl IS 'Mean over the optimiser steps that were taken; this holds for all columns up to gradient_norm.';
COMMENT ON COLUMN round_summary.drift IS 'Mean KL from the policy that sampled, nats a token.';
COMMENT ON COLUMN round_summary.entropy IS 'Mean entropy of the policy over log(vocabulary size), in [0, 1].';
COMMENT ON COLUMN round_summary.clip_share IS 'Mean share of tokens whose ratio was clipped.';
COMMENT ON COLUMN round_summary.gradient_norm IS 'Mean norm of the gradient before the clip.';
COMMENT ON COLUMN round_summary.skipped IS 'Optimiser steps that were not taken because the gradient was not finite.';
COMMENT ON COLUMN round_summary.coefficient IS 'Mean lambda in force.';
COMMENT ON COLUMN round_summary.warnings IS 'Warnings of the round as sentences; empty for none.';
COMMENT ON COLUMN round_summary.seconds IS 'Wall time of the stages that were computed, not reused.';

CREATE VIEW self_evaluation AS
SELECT s.run_id, s.round, j.episode_id, e.task_id, e.task_type, e.group_index, j.score, j.consistency, j.verdicts, e.success
FROM stage_run s JOIN self_judgement j ON j.artifact_id = s.artifact_id
JOIN collected_episode e ON e.run_id = s.run_id AND e.round = s.round AND e.id = j.episode_id
ORDER BY s.run_id, s.round, j.ordinal;
COMMENT ON VIEW self_evaluation IS 'What the policy thought of its episodes beside what the environment said.';
COMMENT ON COLUMN self_evaluation.run_id IS 'Run.';
COMMENT ON COLUMN self_evaluation.round IS 'Round that judged it.';
COMMENT ON COLUMN self_evaluation.episode_id IS 'Episode.';
COMMENT ON COLUMN self_evaluation.task_id IS 'Its task.';
COMMENT ON COLUMN self_evaluation.task_type IS 'Type of the task.';
COMMENT ON COLUMN self_evaluation.group_index IS 'Attempts at one task in one round share it.';
COMMENT ON COLUMN self_evaluation.score IS 'Mean of the verdicts: above another episode the policy thinks better of this one.';
COMMENT ON COLUMN self_evaluation.consistency IS 'Share of the verdicts on the majority side of the group median, from 0.5.';
COMMENT ON COLUMN self_evaluation.verdicts IS 'Mean gap under each set of skills, nats a token.';
COMMENT ON COLUMN self_evaluation.success IS 'Whether the environment called it a success.';
