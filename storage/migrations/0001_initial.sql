-- Rows of stages are keyed by the artifact they belong to; a run points at artifacts through stage_run, so
-- that runs which branch from one another share rows. Times are ISO 8601 text.

CREATE TABLE _migration (version INTEGER PRIMARY KEY, applied TIMESTAMPTZ NOT NULL);
COMMENT ON TABLE _migration IS 'Schema migrations that were applied to this store.';

CREATE TABLE run (
    id VARCHAR PRIMARY KEY, created VARCHAR NOT NULL, method VARCHAR NOT NULL, seed BIGINT NOT NULL,
    config JSON NOT NULL, parent VARCHAR, status VARCHAR NOT NULL);
COMMENT ON TABLE run IS 'One row per run: a configuration and a seed.';
COMMENT ON COLUMN run.config IS 'Whole configuration; for instance config->>''$.sdar.gate''.';
COMMENT ON COLUMN run.parent IS 'Run that this one branched from.';
COMMENT ON COLUMN run.status IS 'running, done, failed or interrupted; a killed run stays running.';

CREATE TABLE artifact (
    id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, blob VARCHAR, summary JSON NOT NULL, row_counts JSON NOT NULL);
COMMENT ON TABLE artifact IS 'What stages produced: rows in the tables below and, for weights, a folder of files.';
COMMENT ON COLUMN artifact.id IS 'Hash of kind, rows and blob: equal content has equal id.';
COMMENT ON COLUMN artifact.blob IS 'Folder blobs/<this> in the store.';
COMMENT ON COLUMN artifact.row_counts IS 'Number of rows by table.';

CREATE TABLE stage_run (
    run_id VARCHAR NOT NULL, round INTEGER NOT NULL, stage VARCHAR NOT NULL, key VARCHAR NOT NULL,
    version INTEGER NOT NULL, config JSON NOT NULL, inputs JSON NOT NULL, started VARCHAR NOT NULL,
    finished VARCHAR NOT NULL, seconds DOUBLE NOT NULL, artifact_id VARCHAR NOT NULL, status VARCHAR NOT NULL,
    reused_from VARCHAR, summary JSON NOT NULL, PRIMARY KEY (run_id, round, stage));
COMMENT ON TABLE stage_run IS 'Finished stages of a run, by round; artifact_id leads to their rows.';
COMMENT ON COLUMN stage_run.key IS 'Hash of stage, version, config, inputs and seed: equal key, nothing to compute.';
COMMENT ON COLUMN stage_run.config IS 'The configuration fields that the stage reads.';
COMMENT ON COLUMN stage_run.inputs IS 'Artifact ids that the stage read, by role.';
COMMENT ON COLUMN stage_run.reused_from IS 'Run that computed the artifact, when this run only took it.';

CREATE TABLE lineage (
    run_id VARCHAR NOT NULL, round INTEGER NOT NULL, stage VARCHAR NOT NULL, role VARCHAR NOT NULL,
    input_id VARCHAR NOT NULL, artifact_id VARCHAR NOT NULL);
COMMENT ON TABLE lineage IS 'Which artifact was made from which: one row per input of a stage run.';
COMMENT ON COLUMN lineage.role IS 'What the input was to the stage, for instance policy.';

CREATE TABLE task (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, id VARCHAR NOT NULL, environment VARCHAR NOT NULL,
    split VARCHAR NOT NULL, type VARCHAR NOT NULL, goal VARCHAR NOT NULL, seed BIGINT NOT NULL, payload JSON NOT NULL);
COMMENT ON TABLE task IS 'Tasks that episodes were collected on.';
COMMENT ON COLUMN task.payload IS 'What the environment needs to rebuild the task.';

CREATE TABLE panel (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, tasks INTEGER NOT NULL, types VARCHAR NOT NULL);
COMMENT ON TABLE panel IS 'Frozen sets of tasks on which policies are compared.';

CREATE TABLE panel_task (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, id VARCHAR NOT NULL, environment VARCHAR NOT NULL,
    split VARCHAR NOT NULL, type VARCHAR NOT NULL, goal VARCHAR NOT NULL, seed BIGINT NOT NULL, payload JSON NOT NULL);
COMMENT ON TABLE panel_task IS 'Tasks of the panels.';

CREATE TABLE episode (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, id VARCHAR NOT NULL, task_id VARCHAR NOT NULL,
    task_type VARCHAR NOT NULL, group_index INTEGER NOT NULL, sample INTEGER NOT NULL, seed BIGINT NOT NULL,
    prompt_length INTEGER NOT NULL, token_ids INTEGER[] NOT NULL, action_mask BOOLEAN[] NOT NULL,
    sampler_logprobs FLOAT[] NOT NULL, episode_return DOUBLE NOT NULL, success BOOLEAN NOT NULL,
    stop_reason VARCHAR NOT NULL, error VARCHAR, context_policy VARCHAR NOT NULL, engine VARCHAR NOT NULL,
    temperature DOUBLE NOT NULL);
COMMENT ON TABLE episode IS 'One rollout as one row of tokens; exactly the ids that were sampled.';
COMMENT ON COLUMN episode.group_index IS 'Episodes of one task in one round share it.';
COMMENT ON COLUMN episode.sample IS 'Place within the group.';
COMMENT ON COLUMN episode.prompt_length IS 'Tokens before the first action.';
COMMENT ON COLUMN episode.action_mask IS 'True on tokens that the policy produced.';
COMMENT ON COLUMN episode.sampler_logprobs IS 'Natural log-probs at sampling time; 0 outside the action mask.';
COMMENT ON COLUMN episode.temperature IS 'Sampling temperature; 0 is greedy.';

CREATE TABLE turn (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL, turn INTEGER NOT NULL,
    observation VARCHAR NOT NULL, action VARCHAR NOT NULL, reward DOUBLE NOT NULL, valid BOOLEAN NOT NULL,
    token_start INTEGER NOT NULL, token_end INTEGER NOT NULL);
COMMENT ON TABLE turn IS 'Exchanges of an episode: what the policy saw and what it did.';
COMMENT ON COLUMN turn.turn IS 'Number of the turn, from 0.';
COMMENT ON COLUMN turn.valid IS 'False when the environment could not read the action.';
COMMENT ON COLUMN turn.token_start IS 'Position of the first action token in the token_ids of the episode, from 0.';
COMMENT ON COLUMN turn.token_end IS 'Position after the last action token.';

CREATE TABLE teacher_context (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL, rule VARCHAR NOT NULL,
    query VARCHAR NOT NULL, block VARCHAR NOT NULL, prompt_ids INTEGER[] NOT NULL, budget INTEGER NOT NULL,
    tokens_used INTEGER NOT NULL, tokens_cut INTEGER NOT NULL);
COMMENT ON TABLE teacher_context IS 'The skills that the teacher saw for an episode, and how they were found.';
COMMENT ON COLUMN teacher_context.rule IS 'Retrieval rule that applied.';
COMMENT ON COLUMN teacher_context.block IS 'Skill text as the teacher read it.';
COMMENT ON COLUMN teacher_context.prompt_ids IS 'Teacher prompt; replaces the first prompt_length tokens.';
COMMENT ON COLUMN teacher_context.budget IS 'Tokens allowed for the block.';

CREATE TABLE context_skill (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL, skill_id VARCHAR NOT NULL,
    score DOUBLE NOT NULL, rank INTEGER NOT NULL, tokens INTEGER NOT NULL);
COMMENT ON TABLE context_skill IS 'Skills in a teacher context.';
COMMENT ON COLUMN context_skill.score IS 'Retrieval score; higher is closer.';
COMMENT ON COLUMN context_skill.rank IS '0 is the best.';
COMMENT ON COLUMN context_skill.tokens IS 'Tokens of the budget that the skill took.';

CREATE TABLE token_score (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, episode_id VARCHAR NOT NULL,
    positions INTEGER[] NOT NULL, student FLOAT[] NOT NULL, teacher FLOAT[] NOT NULL, entropy FLOAT[] NOT NULL);
COMMENT ON TABLE token_score IS 'Log-probs of the action tokens of an episode without and with skills.';
COMMENT ON COLUMN token_score.positions IS 'Positions in the token_ids of the episode, from 0.';
COMMENT ON COLUMN token_score.student IS 'Natural log-probs without skills.';
COMMENT ON COLUMN token_score.teacher IS 'Natural log-probs with skills in the context.';
COMMENT ON COLUMN token_score.entropy IS 'Entropy of the student over log(vocabulary size), in [0, 1].';

CREATE TABLE skill (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, id VARCHAR NOT NULL, name VARCHAR NOT NULL,
    description VARCHAR NOT NULL, environment VARCHAR NOT NULL, task_types VARCHAR[] NOT NULL, body VARCHAR NOT NULL,
    source VARCHAR NOT NULL, parents VARCHAR[] NOT NULL, version INTEGER NOT NULL);
COMMENT ON TABLE skill IS 'Skills of the banks; one artifact is one bank.';
COMMENT ON COLUMN skill.id IS 'Hash of the content of the skill.';

CREATE TABLE policy (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, id VARCHAR NOT NULL, parent VARCHAR,
    method VARCHAR NOT NULL, round INTEGER NOT NULL, tokenizer_hash VARCHAR NOT NULL, parameters BIGINT NOT NULL);
COMMENT ON TABLE policy IS 'Policies; their weights are in the blob of the artifact.';
COMMENT ON COLUMN policy.id IS 'Hash of weights and tokenizer.';

CREATE TABLE update_step (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, step INTEGER NOT NULL, loss DOUBLE NOT NULL,
    policy_loss DOUBLE NOT NULL, distillation DOUBLE NOT NULL, kl DOUBLE NOT NULL, entropy DOUBLE NOT NULL,
    clip_share DOUBLE NOT NULL, ratio_mean DOUBLE NOT NULL, gate_mean DOUBLE NOT NULL, gate_share DOUBLE NOT NULL,
    gap_mean DOUBLE NOT NULL, gap_std DOUBLE NOT NULL, gradient_norm DOUBLE NOT NULL, skipped BOOLEAN NOT NULL,
    tokens INTEGER NOT NULL);
COMMENT ON TABLE update_step IS 'Optimiser steps; loss parts as they entered the total.';
COMMENT ON COLUMN update_step.clip_share IS 'Share of tokens whose ratio was clipped.';
COMMENT ON COLUMN update_step.gate_share IS 'Share of tokens with a gate above 0.5.';
COMMENT ON COLUMN update_step.skipped IS 'True when the gradient was not finite and no step was taken.';

CREATE TABLE evaluation (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, panel_id VARCHAR NOT NULL, policy_id VARCHAR NOT NULL,
    with_skills BOOLEAN NOT NULL, episodes INTEGER NOT NULL, successes INTEGER NOT NULL, success DOUBLE NOT NULL,
    low DOUBLE NOT NULL, high DOUBLE NOT NULL, mean_return DOUBLE NOT NULL, mean_turns DOUBLE NOT NULL,
    by_type JSON NOT NULL);
COMMENT ON TABLE evaluation IS 'Success of policies on a frozen panel.';
COMMENT ON COLUMN evaluation.with_skills IS 'False is deployment: no skills in the prompt.';
COMMENT ON COLUMN evaluation.low IS 'Lower end of the 95 % Wilson interval; high is the upper end.';
COMMENT ON COLUMN evaluation.by_type IS '[successes, episodes] by task type.';

CREATE TABLE verdict (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, round INTEGER NOT NULL, stop BOOLEAN NOT NULL,
    reason VARCHAR NOT NULL, sentence VARCHAR NOT NULL, best_policy VARCHAR NOT NULL, best_round INTEGER NOT NULL,
    best_success DOUBLE NOT NULL, last_gain JSON);
COMMENT ON TABLE verdict IS 'Why a run went on or stopped after an evaluation.';
COMMENT ON COLUMN verdict.last_gain IS 'Paired comparison of the last two evaluations.';

CREATE TABLE comparison (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, "before" VARCHAR NOT NULL, "after" VARCHAR NOT NULL,
    difference DOUBLE NOT NULL, low DOUBLE NOT NULL, high DOUBLE NOT NULL, verdict VARCHAR NOT NULL);
COMMENT ON TABLE comparison IS 'Paired differences of two policies on one panel, after minus before.';

CREATE TABLE token_piece (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, tokenizer_hash VARCHAR NOT NULL,
    token_id INTEGER NOT NULL, text VARCHAR NOT NULL);
COMMENT ON TABLE token_piece IS 'Vocabulary of the tokenizers, so that SQL can show token text.';

-- The clamp keeps exp() finite; beyond it the result is 0 or 1 in double precision anyway. greatest() and
-- least() skip NULL and order NaN above all numbers, hence the first branch.
CREATE MACRO sigmoid(x) AS
    CASE WHEN x IS NULL OR isnan(x) THEN x ELSE 1 / (1 + exp(-greatest(-700.0, least(700.0, x)))) END;

CREATE MACRO gate_value(gate, beta, gap, entropy) AS CASE gate
    WHEN 'gap' THEN sigmoid(beta * gap)
    WHEN 'entropy' THEN sigmoid(beta * entropy)
    WHEN 'soft_or' THEN sigmoid(beta * (1 - (1 - entropy) * (1 - gap)))
    WHEN 'none' THEN 1.0::DOUBLE
    WHEN 'half' THEN 0.5::DOUBLE END;

CREATE VIEW collected_episode AS
SELECT s.run_id, s.round, e.* FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
WHERE s.stage = 'collect';
COMMENT ON VIEW collected_episode IS 'Training episodes with the run and round that collected or reused them.';

CREATE VIEW token_value AS
WITH scored AS (
    SELECT s.run_id, s.round, r.config->>'$.sdar.gate' AS gate_name,
        (r.config->>'$.sdar.beta')::DOUBLE AS beta, t.episode_id, unnest(t.positions) AS position,
        unnest(t.student)::DOUBLE AS student, unnest(t.teacher)::DOUBLE AS teacher,
        unnest(t.entropy)::DOUBLE AS entropy
    FROM stage_run s JOIN token_score t ON t.artifact_id = s.artifact_id JOIN run r ON r.id = s.run_id)
SELECT run_id, round, episode_id, position, student, teacher, entropy, teacher - student AS gap,
    gate_value(gate_name, beta, teacher - student, entropy) AS gate
FROM scored;
COMMENT ON VIEW token_value IS 'Gap and gate of every scored token; token_gap without the texts, and cheaper.';
COMMENT ON COLUMN token_value.gap IS 'Teacher minus student log-prob: above 0 the skills favour the token.';
COMMENT ON COLUMN token_value.gate IS 'Weight of the self-distillation term, by sdar.gate and sdar.beta of the run.';

CREATE VIEW token_gap AS
WITH tokenizer AS (
    SELECT l.run_id, l.round, min(p.tokenizer_hash) AS tokenizer_hash
    FROM lineage l JOIN policy p ON p.artifact_id = l.input_id WHERE l.stage = 'collect' GROUP BY ALL),
piece AS (SELECT tokenizer_hash, token_id, any_value(text) AS text FROM token_piece GROUP BY ALL),
skill_name AS (SELECT id, any_value(name) AS name FROM skill GROUP BY id),
context AS (
    SELECT s.run_id, s.round, c.episode_id,
        list(coalesce(n.name, c.skill_id) ORDER BY c.rank, c.ordinal) AS skills
    FROM stage_run s JOIN context_skill c ON c.artifact_id = s.artifact_id
    LEFT JOIN skill_name n ON n.id = c.skill_id GROUP BY ALL)
SELECT v.run_id, v.round, v.episode_id, e.task_type, e.success, t.turn, v.position,
    e.token_ids[v.position + 1] AS token_id, p.text AS token, v.student, v.teacher, v.gap, v.gate,
    coalesce(c.skills, []) AS skills
FROM token_value v
JOIN collected_episode e ON e.run_id = v.run_id AND e.round = v.round AND e.id = v.episode_id
LEFT JOIN turn t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id
    AND v.position >= t.token_start AND v.position < t.token_end
LEFT JOIN tokenizer k ON k.run_id = v.run_id AND k.round = v.round
LEFT JOIN piece p ON p.tokenizer_hash = k.tokenizer_hash AND p.token_id = e.token_ids[v.position + 1]
LEFT JOIN context c ON c.run_id = v.run_id AND c.round = v.round AND c.episode_id = v.episode_id
ORDER BY v.run_id, v.round, e.ordinal, v.position;
COMMENT ON VIEW token_gap IS 'One row per scored token: what the policy wrote and what the skills made of it.';
COMMENT ON COLUMN token_gap.position IS 'Position in the token_ids of the episode, from 0.';
COMMENT ON COLUMN token_gap.token IS 'Text of the token; NULL when its vocabulary is not stored.';
COMMENT ON COLUMN token_gap.gap IS 'Teacher minus student log-prob: above 0 the skills favour the token.';
COMMENT ON COLUMN token_gap.gate IS 'Weight of the self-distillation term, by sdar.gate and sdar.beta of the run.';
COMMENT ON COLUMN token_gap.skills IS 'Names of the skills in the teacher context, best first.';

CREATE VIEW learning_curve AS
SELECT s.run_id, r.method, s.round, e.success, e.low, e.high, e.episodes, e.policy_id, e.panel_id
FROM stage_run s JOIN evaluation e ON e.artifact_id = s.artifact_id JOIN run r ON r.id = s.run_id
WHERE NOT e.with_skills ORDER BY r.created, s.run_id, s.round, e.ordinal;
COMMENT ON VIEW learning_curve IS 'Success on the frozen panel without skills, by round.';
COMMENT ON COLUMN learning_curve.low IS 'Lower end of the 95 % Wilson interval; high is the upper end.';

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
    SELECT s.run_id, s.round, avg(u.kl) AS kl, avg(u.entropy) AS entropy
    FROM stage_run s JOIN update_step u ON u.artifact_id = s.artifact_id WHERE NOT u.skipped GROUP BY ALL)
SELECT s.run_id, s.round, e.episodes, e.success, e.mean_return, e.mean_turns, g.gap_mean, g.gate_mean, g.gate_share,
    u.kl, u.entropy, coalesce(s.seconds, 0) AS seconds
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

CREATE VIEW retrieval_audit AS
WITH skill_name AS (SELECT id, any_value(name) AS name FROM skill GROUP BY id)
SELECT s.run_id, s.round, c.episode_id, e.task_type, e.success, c.rule, c.query, n.name AS skill, k.skill_id,
    k.rank, k.score, k.tokens, c.budget, c.tokens_used, c.tokens_cut
FROM stage_run s
JOIN teacher_context c ON c.artifact_id = s.artifact_id
LEFT JOIN context_skill k ON k.artifact_id = c.artifact_id AND k.episode_id = c.episode_id
LEFT JOIN skill_name n ON n.id = k.skill_id
LEFT JOIN collected_episode e ON e.run_id = s.run_id AND e.round = s.round AND e.id = c.episode_id
ORDER BY s.run_id, s.round, c.ordinal, k.rank;
COMMENT ON VIEW retrieval_audit IS 'Which skill was retrieved for which episode and why; NULL where none was.';
COMMENT ON COLUMN retrieval_audit.score IS 'Retrieval score; higher is closer.';
COMMENT ON COLUMN retrieval_audit.tokens_cut IS 'Tokens that did not fit into the budget.';

CREATE VIEW skill_usefulness AS
WITH gaps AS (SELECT run_id, round, episode_id, avg(gap) AS gap FROM token_value GROUP BY ALL)
SELECT a.run_id, coalesce(a.skill, a.skill_id) AS skill, count(*) AS uses,
    avg(g.gap) FILTER (a.success) AS gap_on_success, avg(g.gap) FILTER (NOT a.success) AS gap_on_failure,
    avg(g.gap) FILTER (a.success) - avg(g.gap) FILTER (NOT a.success) AS difference
FROM retrieval_audit a LEFT JOIN gaps g USING (run_id, round, episode_id)
WHERE a.skill_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, difference DESC NULLS LAST, 2;
COMMENT ON VIEW skill_usefulness IS 'How far a skill raises the tokens of successful episodes above those of failed ones.';
COMMENT ON COLUMN skill_usefulness.uses IS 'Teacher contexts that held the skill.';
COMMENT ON COLUMN skill_usefulness.gap_on_success IS 'Mean gap of successful episodes; every episode counts once.';
COMMENT ON COLUMN skill_usefulness.difference IS 'gap_on_success minus gap_on_failure: above 0 the skill tells them apart.';
