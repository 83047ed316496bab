-- What a skill costs the teacher in turns, and by what strategy ucb chose.

DROP VIEW distilled_skill;
ALTER TABLE skill_trial ADD COLUMN turns_with DOUBLE;
ALTER TABLE skill_trial ADD COLUMN turns_without DOUBLE;
ALTER TABLE skill_trial ADD COLUMN turns_low DOUBLE;
ALTER TABLE skill_trial ADD COLUMN turns_high DOUBLE;
COMMENT ON COLUMN skill_trial.turns_with IS 'Mean turns of those tasks with it; a failure counts as the most turns allowed.';
COMMENT ON COLUMN skill_trial.turns_without IS 'Mean turns of those tasks without it.';
COMMENT ON COLUMN skill_trial.turns_low IS 'Lower end of the 99 % Student-t interval of their mean difference.';
COMMENT ON COLUMN skill_trial.turns_high IS 'Upper end of the 99 % Student-t interval of their mean difference.';

CREATE VIEW distilled_skill AS
SELECT s.run_id, s.round, s.artifact_id AS bank, v.parent, t.* EXCLUDE (artifact_id, ordinal)
FROM stage_run s JOIN skill_trial t ON t.artifact_id = s.artifact_id
JOIN bank_version v ON v.artifact_id = s.artifact_id
WHERE s.stage = 'distill' ORDER BY s.run_id, s.round, t.ordinal;
COMMENT ON VIEW distilled_skill IS 'Every skill that a run tried, with the numbers of its trial and its lineage.';
COMMENT ON COLUMN distilled_skill.run_id IS 'Run.';
COMMENT ON COLUMN distilled_skill.round IS 'Round that tried it.';
COMMENT ON COLUMN distilled_skill.bank IS 'Artifact of the bank that came out.';
COMMENT ON COLUMN distilled_skill.parent IS 'Artifact of the bank before.';
COMMENT ON COLUMN distilled_skill.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN distilled_skill.name IS 'Name of the skill.';
COMMENT ON COLUMN distilled_skill.description IS 'When to use it, in one sentence.';
COMMENT ON COLUMN distilled_skill.task_types IS 'Task types that it is for; empty is all.';
COMMENT ON COLUMN distilled_skill.body IS 'Text that the teacher reads.';
COMMENT ON COLUMN distilled_skill.source IS 'Who wrote it.';
COMMENT ON COLUMN distilled_skill.parents IS 'Episodes that it was made from.';
COMMENT ON COLUMN distilled_skill.support IS 'Episodes that state the fact.';
COMMENT ON COLUMN distilled_skill.contradictions IS 'Episodes that state another value of the fact.';
COMMENT ON COLUMN distilled_skill.verdict IS 'admitted, refused or merged for a new skill; kept or retired for one of the bank.';
COMMENT ON COLUMN distilled_skill.reason IS 'Why, in one sentence.';
COMMENT ON COLUMN distilled_skill.tasks IS 'Held-out tasks that the teacher played with the skill and without it.';
COMMENT ON COLUMN distilled_skill.wins_with IS 'Those that succeeded with it.';
COMMENT ON COLUMN distilled_skill.wins_without IS 'Those that succeeded without it.';
COMMENT ON COLUMN distilled_skill.difference IS 'Difference of the two shares.';
COMMENT ON COLUMN distilled_skill.low IS 'Lower end of its 95 % paired bootstrap interval.';
COMMENT ON COLUMN distilled_skill.high IS 'Upper end of its 95 % paired bootstrap interval.';
COMMENT ON COLUMN distilled_skill.successes IS 'Held-out successful episodes whose block would hold the skill.';
COMMENT ON COLUMN distilled_skill.lift_success IS 'Mean rise of their mean log-prob by the skill, nats a token.';
COMMENT ON COLUMN distilled_skill.lift_low IS 'Lower end of its 95 % Student-t interval.';
COMMENT ON COLUMN distilled_skill.lift_high IS 'Upper end of its 95 % Student-t interval.';
COMMENT ON COLUMN distilled_skill.failures IS 'Held-out failed episodes whose block would hold the skill.';
COMMENT ON COLUMN distilled_skill.lift_failure IS 'Mean rise of their mean log-prob by the skill, nats a token.';
COMMENT ON COLUMN distilled_skill.turns_with IS 'Mean turns of those tasks with it; a failure counts as the most turns allowed.';
COMMENT ON COLUMN distilled_skill.turns_without IS 'Mean turns of those tasks without it.';
COMMENT ON COLUMN distilled_skill.turns_low IS 'Lower end of the 99 % Student-t interval of their mean difference.';
COMMENT ON COLUMN distilled_skill.turns_high IS 'Upper end of the 99 % Student-t interval of their mean difference.';

CREATE VIEW skill_choice AS
WITH rounds AS (
    SELECT run_id, round, artifact_id, json_extract_string(inputs, '$.bank') AS bank,
        CAST(json_extract_string(config, '$.skills.exploration') AS DOUBLE) AS exploration
    FROM stage_run WHERE stage = 'retrieve' AND json_extract_string(config, '$.skills.strategy') = 'ucb'),
totals AS (SELECT artifact_id, sum(uses) AS total FROM skill_stat GROUP BY ALL),
found AS (SELECT artifact_id, skill_id, count(*) AS contexts FROM context_skill GROUP BY ALL)
SELECT r.run_id, r.round, k.name AS skill, k.id AS skill_id, coalesce(t.uses, 0) AS uses,
    coalesce(t.successes, 0) AS successes, coalesce(t.failures, 0) AS failures,
    CASE WHEN t.uses > 0 THEN
        CASE WHEN t.successes > 0 AND t.failures > 0
            THEN t.gap_success / t.successes - t.gap_failure / t.failures ELSE 0 END END AS usefulness,
    CASE WHEN t.uses > 0 THEN r.exploration * sqrt(ln(n.total) / t.uses) END AS bonus,
    usefulness + bonus AS score, coalesce(f.contexts, 0) AS contexts
FROM rounds r
JOIN skill k ON k.artifact_id = r.bank
LEFT JOIN skill_state z ON z.artifact_id = r.bank AND z.skill_id = k.id
LEFT JOIN skill_stat t ON t.artifact_id = r.artifact_id AND t.skill_id = k.id
LEFT JOIN totals n ON n.artifact_id = r.artifact_id
LEFT JOIN found f ON f.artifact_id = r.artifact_id AND f.skill_id = k.id
WHERE NOT coalesce(z.retired, false)
ORDER BY r.run_id, r.round, score DESC NULLS FIRST, skill;
COMMENT ON VIEW skill_choice IS 'By what strategy ucb put the skills of a bank in order in each round; see retrieval_audit for what each episode got.';
COMMENT ON COLUMN skill_choice.run_id IS 'Run.';
COMMENT ON COLUMN skill_choice.round IS 'Round that chose.';
COMMENT ON COLUMN skill_choice.skill IS 'Name of the skill.';
COMMENT ON COLUMN skill_choice.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN skill_choice.uses IS 'Scored episodes of the rounds before whose context held it.';
COMMENT ON COLUMN skill_choice.successes IS 'Those that succeeded.';
COMMENT ON COLUMN skill_choice.failures IS 'Those that failed.';
COMMENT ON COLUMN skill_choice.usefulness IS 'Mean gap of successes minus that of failures, 0 while there is only one of the two; NULL if never used.';
COMMENT ON COLUMN skill_choice.bonus IS 'skills.exploration * sqrt(ln(all uses) / uses); NULL if never used.';
COMMENT ON COLUMN skill_choice.score IS 'usefulness + bonus, which orders the similar skills; NULL if never used, and then it comes before all others.';
COMMENT ON COLUMN skill_choice.contexts IS 'Teacher contexts of this round that held it.';
