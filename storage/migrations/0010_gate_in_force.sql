-- A branch shares rounds with the run that it began in, which were updated under that run's gate. So the gate of a
-- token is that of the round's update; the settings of the run say it only while there is no update.

CREATE OR REPLACE VIEW token_value AS
WITH scored AS (
    SELECT s.run_id, s.round, coalesce(u.config->>'$.sdar.gate', r.config->>'$.sdar.gate') AS gate_name,
        coalesce(u.config->>'$.sdar.beta', r.config->>'$.sdar.beta')::DOUBLE AS beta, t.episode_id,
        unnest(t.positions) AS position, unnest(t.student)::DOUBLE AS student, unnest(t.teacher)::DOUBLE AS teacher,
        unnest(t.entropy)::DOUBLE AS entropy
    FROM stage_run s JOIN token_score t ON t.artifact_id = s.artifact_id JOIN run r ON r.id = s.run_id
    LEFT JOIN stage_run u ON u.run_id = s.run_id AND u.round = s.round AND u.stage = 'update')
SELECT run_id, round, episode_id, position, student, teacher, entropy, teacher - student AS gap,
    gate_value(gate_name, beta, teacher - student, entropy) AS gate
FROM scored;
COMMENT ON VIEW token_value IS 'Gap and gate of every scored token; token_gap without the texts, and cheaper.';
COMMENT ON COLUMN token_value.run_id IS 'Run that scored it or shares the round.';
COMMENT ON COLUMN token_value.round IS 'Round that scored it.';
COMMENT ON COLUMN token_value.episode_id IS 'Episode of the token.';
COMMENT ON COLUMN token_value.position IS 'Position in the token_ids of the episode, from 0.';
COMMENT ON COLUMN token_value.student IS 'Natural log-prob without skills.';
COMMENT ON COLUMN token_value.teacher IS 'Natural log-prob with skills in the context.';
COMMENT ON COLUMN token_value.entropy IS 'Entropy of the student over log(vocabulary size), in [0, 1].';
COMMENT ON COLUMN token_value.gap IS 'Teacher minus student log-prob: above 0 the skills favour the token.';
COMMENT ON COLUMN token_value.gate IS 'Weight of the self-distillation term, by sdar.gate and sdar.beta of the update; NULL for centred_gap.';

CREATE OR REPLACE VIEW scored_token AS
WITH tokenizer AS (
    SELECT l.run_id, l.round, min(p.tokenizer_hash) AS tokenizer_hash
    FROM lineage l JOIN policy p ON p.artifact_id = l.input_id WHERE l.stage = 'collect' GROUP BY ALL),
piece AS (SELECT tokenizer_hash, token_id, any_value(text) AS text FROM token_piece GROUP BY ALL),
scored AS (
    SELECT s.run_id, s.round, coalesce(u.config->>'$.sdar.gate', r.config->>'$.sdar.gate') AS gate_name,
        coalesce(u.config->>'$.sdar.beta', r.config->>'$.sdar.beta')::DOUBLE AS beta,
        k.tokenizer_hash, e.artifact_id, e.ordinal, e.id AS episode_id, e.task_type, e.success,
        unnest(t.positions) AS position,
        unnest(list_select(e.token_ids, list_transform(t.positions, lambda place: place + 1))) AS token_id,
        unnest(t.student)::DOUBLE AS student, unnest(t.teacher)::DOUBLE AS teacher,
        unnest(t.entropy)::DOUBLE AS entropy
    FROM stage_run s JOIN token_score t ON t.artifact_id = s.artifact_id JOIN run r ON r.id = s.run_id
    JOIN collected_episode e ON e.run_id = s.run_id AND e.round = s.round AND e.id = t.episode_id
    LEFT JOIN tokenizer k ON k.run_id = s.run_id AND k.round = s.round
    LEFT JOIN stage_run u ON u.run_id = s.run_id AND u.round = s.round AND u.stage = 'update')
SELECT s.run_id, s.round, s.artifact_id, s.ordinal, s.episode_id, s.task_type, s.success, s.position, s.token_id,
    p.text AS token, s.student, s.teacher, s.entropy, s.teacher - s.student AS gap,
    gate_value(s.gate_name, s.beta, s.teacher - s.student, s.entropy) AS gate
FROM scored s LEFT JOIN piece p ON p.tokenizer_hash = s.tokenizer_hash AND p.token_id = s.token_id;
COMMENT ON VIEW scored_token IS 'token_gap without turns and skills, and cheaper: for sums over whole runs.';
COMMENT ON COLUMN scored_token.run_id IS 'Run that scored it or shares the round.';
COMMENT ON COLUMN scored_token.round IS 'Round that scored it.';
COMMENT ON COLUMN scored_token.artifact_id IS 'Artifact of the episode.';
COMMENT ON COLUMN scored_token.ordinal IS 'Place of the episode within its artifact, from 0.';
COMMENT ON COLUMN scored_token.episode_id IS 'Episode of the token.';
COMMENT ON COLUMN scored_token.task_type IS 'Type of its task.';
COMMENT ON COLUMN scored_token.success IS 'Whether the episode succeeded.';
COMMENT ON COLUMN scored_token.position IS 'Position in the token_ids of the episode, from 0.';
COMMENT ON COLUMN scored_token.token_id IS 'Number of the token.';
COMMENT ON COLUMN scored_token.token IS 'Text of the token; NULL when its vocabulary is not stored.';
COMMENT ON COLUMN scored_token.student IS 'Natural log-prob without skills.';
COMMENT ON COLUMN scored_token.teacher IS 'Natural log-prob with skills in the context.';
COMMENT ON COLUMN scored_token.entropy IS 'Entropy of the student over log(vocabulary size), in [0, 1].';
COMMENT ON COLUMN scored_token.gap IS 'Teacher minus student log-prob: above 0 the skills favour the token.';
COMMENT ON COLUMN scored_token.gate IS 'Weight of the self-distillation term, by sdar.gate and sdar.beta of the update; NULL for centred_gap.';

COMMENT ON COLUMN token_gap.run_id IS 'Run that scored it or shares the round.';
COMMENT ON COLUMN token_gap.gate IS 'Weight of the self-distillation term, by sdar.gate and sdar.beta of the update; NULL for centred_gap.';
