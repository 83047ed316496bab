-- What strategy `ucb` chooses by. The view skill_usefulness sums up a run as it is now, by skill name; this is what
-- a round had learnt from the rounds before it when it chose, by skill id, as sums that the next round adds to.

CREATE TABLE skill_stat (
    artifact_id VARCHAR NOT NULL, ordinal INTEGER NOT NULL, skill_id VARCHAR NOT NULL, uses INTEGER NOT NULL,
    successes INTEGER NOT NULL, gap_success DOUBLE NOT NULL, failures INTEGER NOT NULL,
    gap_failure DOUBLE NOT NULL);
COMMENT ON TABLE skill_stat IS 'What the rounds before a round taught about the skills; strategy ucb chooses by it.';
COMMENT ON COLUMN skill_stat.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN skill_stat.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN skill_stat.skill_id IS 'Hash of the content of the skill.';
COMMENT ON COLUMN skill_stat.uses IS 'Scored episodes whose context held the skill: successes and failures.';
COMMENT ON COLUMN skill_stat.successes IS 'Those that succeeded.';
COMMENT ON COLUMN skill_stat.gap_success IS 'Sum of their mean gaps, in nats.';
COMMENT ON COLUMN skill_stat.failures IS 'Those that failed.';
COMMENT ON COLUMN skill_stat.gap_failure IS 'Sum of their mean gaps, in nats.';
