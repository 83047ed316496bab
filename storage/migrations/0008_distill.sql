-- Skills that the agent writes itself: banks with a parent, trials, lifts, retirement; which skill helps, how surely.

CREATE TABLE bank_version (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, parent VARCHAR NOT NULL, round INTEGER NOT NULL,
    skills INTEGER NOT NULL, retired INTEGER NOT NULL);
COMMENT ON TABLE bank_version IS 'Distilled banks and the bank that each was made from.';
COMMENT ON COLUMN bank_version.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN bank_version.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN bank_version.parent IS 'Artifact of the bank before.';
COMMENT ON COLUMN bank_version.round IS 'Round that made it.';
COMMENT ON COLUMN bank_version.skills IS 'Skills in it, retired ones included.';
COMMENT ON COLUMN bank_version.retired IS 'Skills in it that are not retrieved.';

CREATE TABLE skill_state (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, skill_id VARCHAR NOT NULL, evidence VARCHAR[] NOT NULL,
    retired BOOLEAN NOT NULL, reason VARCHAR NOT NULL);
COMMENT ON TABLE skill_state IS 'What a distilled bank knows about its skills, one row per skill.';
COMMENT ON COLUMN skill_state.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN skill_state.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN skill_state.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN skill_state.evidence IS 'Episodes that say the same, those of merged duplicates included.';
COMMENT ON COLUMN skill_state.retired IS 'True when it is kept but not retrieved.';
COMMENT ON COLUMN skill_state.reason IS 'Why it was retired or came back; empty before that.';

CREATE TABLE skill_trial (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, skill_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
    description VARCHAR NOT NULL, task_types VARCHAR[] NOT NULL, body VARCHAR NOT NULL, source VARCHAR NOT NULL,
    parents VARCHAR[] NOT NULL, support INTEGER NOT NULL, contradictions INTEGER NOT NULL, verdict VARCHAR NOT NULL,
    reason VARCHAR NOT NULL, tasks INTEGER NOT NULL, wins_with INTEGER NOT NULL, wins_without INTEGER NOT NULL,
    difference DOUBLE, low DOUBLE, high DOUBLE, successes INTEGER NOT NULL, lift_success DOUBLE, lift_low DOUBLE,
    lift_high DOUBLE, failures INTEGER NOT NULL, lift_failure DOUBLE);
COMMENT ON TABLE skill_trial IS 'How new skills, admitted or not, and skills that were tried again did on held-out material.';
COMMENT ON COLUMN skill_trial.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN skill_trial.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN skill_trial.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN skill_trial.name IS 'Name of the skill.';
COMMENT ON COLUMN skill_trial.description IS 'When to use it, in one sentence.';
COMMENT ON COLUMN skill_trial.task_types IS 'Task types that it is for; empty is all.';
COMMENT ON COLUMN skill_trial.body IS 'Text that the teacher reads.';
COMMENT ON COLUMN skill_trial.source IS 'Who wrote it.';
COMMENT ON COLUMN skill_trial.parents IS 'Episodes that it was made from.';
COMMENT ON COLUMN skill_trial.support IS 'Episodes that state the fact.';
COMMENT ON COLUMN skill_trial.contradictions IS 'Episodes that state another value of the fact.';
COMMENT ON COLUMN skill_trial.verdict IS 'admitted, refused or merged for a new skill; kept or retired for one of the bank.';
COMMENT ON COLUMN skill_trial.reason IS 'Why, in one sentence.';
COMMENT ON COLUMN skill_trial.tasks IS 'Held-out tasks that the teacher played with the skill and without it.';
COMMENT ON COLUMN skill_trial.wins_with IS 'Those that succeeded with it.';
COMMENT ON COLUMN skill_trial.wins_without IS 'Those that succeeded without it.';
COMMENT ON COLUMN skill_trial.difference IS 'Difference of the two shares.';
COMMENT ON COLUMN skill_trial.low IS 'Lower end of its 95 % paired bootstrap interval.';
COMMENT ON COLUMN skill_trial.high IS 'Upper end of its 95 % paired bootstrap interval.';
COMMENT ON COLUMN skill_trial.successes IS 'Held-out successful episodes whose block would hold the skill.';
COMMENT ON COLUMN skill_trial.lift_success IS 'Mean rise of their mean log-prob by the skill, nats a token.';
COMMENT ON COLUMN skill_trial.lift_low IS 'Lower end of its 95 % Student-t interval.';
COMMENT ON COLUMN skill_trial.lift_high IS 'Upper end of its 95 % Student-t interval.';
COMMENT ON COLUMN skill_trial.failures IS 'Held-out failed episodes whose block would hold the skill.';
COMMENT ON COLUMN skill_trial.lift_failure IS 'Mean rise of their mean log-prob by the skill, nats a token.';

CREATE TABLE skill_lift (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, skill_id VARCHAR NOT NULL, successes INTEGER NOT NULL,
    lift_success DOUBLE NOT NULL, failures INTEGER NOT NULL, lift_failure DOUBLE NOT NULL, lift DOUBLE NOT NULL,
    low DOUBLE, high DOUBLE);
COMMENT ON TABLE skill_lift IS 'Counterfactual lift of skills: the teacher with its block, and with the block less that one skill.';
COMMENT ON COLUMN skill_lift.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN skill_lift.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN skill_lift.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN skill_lift.successes IS 'Sampled successful episodes whose context held the skill.';
COMMENT ON COLUMN skill_lift.lift_success IS 'Mean rise of their mean log-prob by the skill, nats a token.';
COMMENT ON COLUMN skill_lift.failures IS 'Sampled failed episodes whose context held the skill.';
COMMENT ON COLUMN skill_lift.lift_failure IS 'Mean rise of their mean log-prob by the skill, nats a token.';
COMMENT ON COLUMN skill_lift.lift IS 'lift_success minus lift_failure.';
COMMENT ON COLUMN skill_lift.low IS 'Lower end of its 95 % Welch interval.';
COMMENT ON COLUMN skill_lift.high IS 'Upper end of its 95 % Welch interval.';

COMMENT ON COLUMN skill.parents IS 'Episodes that it was made from; empty for a skill from a file.';

DROP VIEW skill_usefulness;
CREATE VIEW skill_usefulness AS
WITH gaps AS (SELECT run_id, round, episode_id, avg(gap) AS gap FROM token_value GROUP BY ALL),
used AS (
    SELECT a.run_id, coalesce(a.skill, a.skill_id) AS skill, count(*) AS uses, max(a.round) AS last_round,
        count(g.gap) FILTER (a.success) AS successes, count(g.gap) FILTER (NOT a.success) AS failures,
        avg(g.gap) FILTER (a.success) AS gap_on_success, avg(g.gap) FILTER (NOT a.success) AS gap_on_failure,
        sqrt(var_samp(g.gap) FILTER (a.success) / count(g.gap) FILTER (a.success)
            + var_samp(g.gap) FILTER (NOT a.success) / count(g.gap) FILTER (NOT a.success)) AS error
    FROM retrieval_audit a LEFT JOIN gaps g USING (run_id, round, episode_id)
    WHERE a.skill_id IS NOT NULL GROUP BY 1, 2)
SELECT run_id, skill, uses, last_round, successes, failures, gap_on_success, gap_on_failure,
    gap_on_success - gap_on_failure AS difference, difference - 1.959964 * error AS low,
    difference + 1.959964 * error AS high
FROM used ORDER BY run_id, difference DESC NULLS LAST, skill;
COMMENT ON VIEW skill_usefulness IS 'How far a skill raises the tokens of successful episodes above those of failed ones.';
COMMENT ON COLUMN skill_usefulness.run_id IS 'Run.';
COMMENT ON COLUMN skill_usefulness.skill IS 'Name of the skill.';
COMMENT ON COLUMN skill_usefulness.uses IS 'Teacher contexts that held the skill.';
COMMENT ON COLUMN skill_usefulness.last_round IS 'Last round with such a context.';
COMMENT ON COLUMN skill_usefulness.successes IS 'Scored successful episodes among them.';
COMMENT ON COLUMN skill_usefulness.failures IS 'Scored failed episodes among them.';
COMMENT ON COLUMN skill_usefulness.gap_on_success IS 'Mean gap of successful episodes; every episode counts once.';
COMMENT ON COLUMN skill_usefulness.gap_on_failure IS 'Mean gap of failed episodes; every episode counts once.';
COMMENT ON COLUMN skill_usefulness.difference IS 'gap_on_success minus gap_on_failure: above 0 the skill tells them apart.';
COMMENT ON COLUMN skill_usefulness.low IS 'Lower end of its 95 % normal interval; NULL with fewer than two of either outcome.';
COMMENT ON COLUMN skill_usefulness.high IS 'Upper end of its 95 % normal interval.';

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

CREATE VIEW skill_report AS
WITH names AS (SELECT id, any_value(name) AS name FROM skill GROUP BY id),
lifts AS (
    SELECT s.run_id, n.name AS skill, s.round AS lift_round, l.lift, l.low AS lift_low, l.high AS lift_high
    FROM stage_run s JOIN skill_lift l ON l.artifact_id = s.artifact_id JOIN names n ON n.id = l.skill_id
    WHERE s.stage = 'distill' QUALIFY row_number() OVER (PARTITION BY s.run_id, n.name ORDER BY s.round DESC) = 1),
banks AS (
    SELECT run_id, artifact_id FROM stage_run WHERE stage IN ('bank', 'distill')
    QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY round DESC) = 1),
present AS (
    SELECT b.run_id, k.name AS skill, k.source, k.version, len(k.parents) AS parents,
        coalesce(len(t.evidence), 0) AS support, coalesce(t.retired, false) AS retired, coalesce(t.reason, '') AS reason
    FROM banks b JOIN skill k ON k.artifact_id = b.artifact_id
    LEFT JOIN skill_state t ON t.artifact_id = b.artifact_id AND t.skill_id = k.id
    QUALIFY row_number() OVER (PARTITION BY b.run_id, k.name ORDER BY k.version DESC) = 1)
SELECT p.run_id, p.skill, p.source, p.version, p.parents, p.support, p.retired, p.reason, coalesce(u.uses, 0) AS uses,
    u.last_round, u.difference, u.low, u.high, l.lift_round, l.lift, l.lift_low, l.lift_high
FROM present p LEFT JOIN skill_usefulness u USING (run_id, skill) LEFT JOIN lifts l USING (run_id, skill)
ORDER BY p.run_id, p.retired, l.lift DESC NULLS LAST, u.difference DESC NULLS LAST, p.skill;
COMMENT ON VIEW skill_report IS 'Skills of the latest bank of each run: where they come from, how they were used, whether they help.';
COMMENT ON COLUMN skill_report.run_id IS 'Run.';
COMMENT ON COLUMN skill_report.skill IS 'Name of the skill.';
COMMENT ON COLUMN skill_report.source IS 'Where it came from: file, or the writer.';
COMMENT ON COLUMN skill_report.version IS 'Number of its revision, from 1.';
COMMENT ON COLUMN skill_report.parents IS 'Number of episodes that it was made from.';
COMMENT ON COLUMN skill_report.support IS 'Number of episodes that say the same.';
COMMENT ON COLUMN skill_report.retired IS 'True when it is kept but not retrieved.';
COMMENT ON COLUMN skill_report.reason IS 'Why it was retired or came back.';
COMMENT ON COLUMN skill_report.uses IS 'Teacher contexts that held it.';
COMMENT ON COLUMN skill_report.last_round IS 'Last round with such a context.';
COMMENT ON COLUMN skill_report.difference IS 'Mean gap of successful minus that of failed episodes that used it.';
COMMENT ON COLUMN skill_report.low IS 'Lower end of its 95 % normal interval.';
COMMENT ON COLUMN skill_report.high IS 'Upper end of its 95 % normal interval.';
COMMENT ON COLUMN skill_report.lift_round IS 'Round that last measured its lift.';
COMMENT ON COLUMN skill_report.lift IS 'Counterfactual lift, nats a token; see skill_lift.';
COMMENT ON COLUMN skill_report.lift_low IS 'Lower end of its 95 % Welch interval.';
COMMENT ON COLUMN skill_report.lift_high IS 'Upper end of its 95 % Welch interval.';
