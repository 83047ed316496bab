-- Studies: arms x seeds that `sdar compare` runs, and which run belongs to each pair.

CREATE TABLE study (
    name VARCHAR PRIMARY KEY, created VARCHAR NOT NULL, command VARCHAR NOT NULL, definition JSON NOT NULL);
COMMENT ON TABLE study IS 'Comparisons of arms over seeds, made by sdar compare.';
COMMENT ON COLUMN study.name IS 'Name that the user gave, or one that follows from the definition.';
COMMENT ON COLUMN study.created IS 'When it began, ISO 8601.';
COMMENT ON COLUMN study.command IS 'Command that began it.';
COMMENT ON COLUMN study.definition IS 'Arms with their whole configurations, and seeds.';

CREATE TABLE study_member (
    study VARCHAR NOT NULL, arm VARCHAR NOT NULL, seed BIGINT NOT NULL, run_id VARCHAR NOT NULL,
    PRIMARY KEY (study, arm, seed));
COMMENT ON TABLE study_member IS 'Runs of the studies, one per arm and seed; a run that has not begun is in no other table.';
COMMENT ON COLUMN study_member.study IS 'Name of the study.';
COMMENT ON COLUMN study_member.arm IS 'Label of the arm.';
COMMENT ON COLUMN study_member.seed IS 'Seed of the run.';
COMMENT ON COLUMN study_member.run_id IS 'Id of the run.';

CREATE VIEW study_curve AS
SELECT m.study, m.arm, m.seed, m.run_id, c.round, c.success, c.low, c.high, c.episodes
FROM study_member m JOIN learning_curve c ON c.run_id = m.run_id
ORDER BY m.study, m.arm, m.seed, c.round;
COMMENT ON VIEW study_curve IS 'Success on the frozen panel without skills, by study, arm, seed and round.';
COMMENT ON COLUMN study_curve.study IS 'Name of the study.';
COMMENT ON COLUMN study_curve.arm IS 'Label of the arm.';
COMMENT ON COLUMN study_curve.seed IS 'Seed of the run.';
COMMENT ON COLUMN study_curve.run_id IS 'Run.';
COMMENT ON COLUMN study_curve.round IS 'Round that ended with the evaluation.';
COMMENT ON COLUMN study_curve.success IS 'Share of the tasks of the panel that succeeded.';
COMMENT ON COLUMN study_curve.high IS 'Upper end of the 95 % Wilson interval.';
COMMENT ON COLUMN study_curve.episodes IS 'Tasks of the panel.';
COMMENT ON COLUMN study_curve.low IS 'Lower end of the 95 % Wilson interval.';
