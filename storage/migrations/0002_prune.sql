-- What prune took away and what it must keep, and a comment on every column that had none.

CREATE TABLE pin (policy_id VARCHAR PRIMARY KEY, note VARCHAR NOT NULL);
COMMENT ON TABLE pin IS 'Policies whose weights prune keeps.';
COMMENT ON COLUMN pin.policy_id IS 'Id of the policy.';
COMMENT ON COLUMN pin.note IS 'Why it is kept.';

CREATE TABLE pruned (blob VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, bytes BIGINT NOT NULL, pruned TIMESTAMPTZ NOT NULL);
COMMENT ON TABLE pruned IS 'Blobs that were taken away to free space; the rows of their artifacts stay.';
COMMENT ON COLUMN pruned.blob IS 'Hash of the folder of files that was removed.';
COMMENT ON COLUMN pruned.kind IS 'Kind of the artifact that had it, or unreferenced.';
COMMENT ON COLUMN pruned.bytes IS 'Size of the files.';
COMMENT ON COLUMN pruned.pruned IS 'When it was removed.';

COMMENT ON COLUMN _migration.version IS 'Number of the migration, from 1.';
COMMENT ON COLUMN _migration.applied IS 'When it was applied.';

COMMENT ON COLUMN run.id IS 'Name of the run: time, method and seed.';
COMMENT ON COLUMN run.created IS 'When it began, ISO 8601.';
COMMENT ON COLUMN run.method IS 'Method preset, for instance sdar or grpo.';
COMMENT ON COLUMN run.seed IS 'Root of every random choice.';

COMMENT ON COLUMN artifact.kind IS 'What it is, for instance episodes or policy.';
COMMENT ON COLUMN artifact.summary IS 'Figures of the stage run that first stored it.';

COMMENT ON COLUMN stage_run.run_id IS 'Run that executed the stage.';
COMMENT ON COLUMN stage_run.round IS 'Round of the run; 0 is the preparation.';
COMMENT ON COLUMN stage_run.stage IS 'Name of the stage.';
COMMENT ON COLUMN stage_run.version IS 'Version of the code of the stage.';
COMMENT ON COLUMN stage_run.started IS 'When it began, ISO 8601.';
COMMENT ON COLUMN stage_run.finished IS 'When it ended, ISO 8601.';
COMMENT ON COLUMN stage_run.seconds IS 'Wall time.';
COMMENT ON COLUMN stage_run.artifact_id IS 'What it produced or took over.';
COMMENT ON COLUMN stage_run.status IS 'Always done: only finished stages are stored.';
COMMENT ON COLUMN stage_run.summary IS 'Figures that the stage reported.';

COMMENT ON COLUMN lineage.run_id IS 'Run that executed the stage.';
COMMENT ON COLUMN lineage.round IS 'Round of the run.';
COMMENT ON COLUMN lineage.stage IS 'Stage that read the input.';
COMMENT ON COLUMN lineage.input_id IS 'Artifact that was read.';
COMMENT ON COLUMN lineage.artifact_id IS 'Artifact that was made from it.';

COMMENT ON COLUMN task.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN task.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN task.id IS 'Id of the task.';
COMMENT ON COLUMN task.environment IS 'Environment that it belongs to.';
COMMENT ON COLUMN task.split IS 'Split of the environment.';
COMMENT ON COLUMN task.type IS 'Type of the task.';
COMMENT ON COLUMN task.goal IS 'Goal as the policy reads it.';
COMMENT ON COLUMN task.seed IS 'Seed that determines the task together with the payload.';

COMMENT ON COLUMN panel.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN panel.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN panel.tasks IS 'Number of tasks.';
COMMENT ON COLUMN panel.types IS 'Task types, separated by commas.';

COMMENT ON COLUMN panel_task.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN panel_task.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN panel_task.id IS 'Id of the task.';
COMMENT ON COLUMN panel_task.environment IS 'Environment that it belongs to.';
COMMENT ON COLUMN panel_task.split IS 'Split of the environment.';
COMMENT ON COLUMN panel_task.type IS 'Type of the task.';
COMMENT ON COLUMN panel_task.goal IS 'Goal as the policy reads it.';
COMMENT ON COLUMN panel_task.seed IS 'Seed that determines the task together with the payload.';
COMMENT ON COLUMN panel_task.payload IS 'What the environment needs to rebuild the task.';

COMMENT ON COLUMN episode.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN episode.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN episode.id IS 'Id of the episode, unique within its artifact.';
COMMENT ON COLUMN episode.task_id IS 'Task that it was rolled out on.';
COMMENT ON COLUMN episode.task_type IS 'Type of that task.';
COMMENT ON COLUMN episode.seed IS 'Seed of its sampling.';
COMMENT ON COLUMN episode.token_ids IS 'Prompt, observations and actions as one row of token ids.';
COMMENT ON COLUMN episode.episode_return IS 'Sum of the rewards.';
COMMENT ON COLUMN episode.success IS 'Whether the goal was reached.';
COMMENT ON COLUMN episode.stop_reason IS 'Why it ended: success, failure, max_steps, max_tokens or environment_error.';
COMMENT ON COLUMN episode.error IS 'Message of the environment when it raised an error.';
COMMENT ON COLUMN episode.context_policy IS 'How turns were put into the context.';
COMMENT ON COLUMN episode.engine IS 'Sampler that produced it.';

COMMENT ON COLUMN turn.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN turn.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN turn.episode_id IS 'Episode that it belongs to.';
COMMENT ON COLUMN turn.observation IS 'What the environment showed.';
COMMENT ON COLUMN turn.action IS 'What the policy wrote.';
COMMENT ON COLUMN turn.reward IS 'Reward of the action.';

COMMENT ON COLUMN teacher_context.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN teacher_context.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN teacher_context.episode_id IS 'Episode that it was made for.';
COMMENT ON COLUMN teacher_context.query IS 'Text that skills were searched with.';
COMMENT ON COLUMN teacher_context.tokens_used IS 'Tokens of the block.';
COMMENT ON COLUMN teacher_context.tokens_cut IS 'Tokens of found skills that did not fit into the budget.';

COMMENT ON COLUMN context_skill.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN context_skill.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN context_skill.episode_id IS 'Episode that the context was made for.';
COMMENT ON COLUMN context_skill.skill_id IS 'Skill that was shown.';

COMMENT ON COLUMN token_score.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN token_score.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN token_score.episode_id IS 'Episode whose action tokens were scored.';

COMMENT ON COLUMN skill.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN skill.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN skill.name IS 'Name of the skill.';
COMMENT ON COLUMN skill.description IS 'When to use it, in one sentence.';
COMMENT ON COLUMN skill.environment IS 'Environment that it is for.';
COMMENT ON COLUMN skill.task_types IS 'Task types that it is for; empty is all.';
COMMENT ON COLUMN skill.body IS 'Text that the teacher reads.';
COMMENT ON COLUMN skill.source IS 'Where it came from, for instance builtin or distilled.';
COMMENT ON COLUMN skill.parents IS 'Skills that it was made from.';
COMMENT ON COLUMN skill.version IS 'Number of its revision, from 1.';

COMMENT ON COLUMN policy.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN policy.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN policy.parent IS 'Policy that it was updated from.';
COMMENT ON COLUMN policy.method IS 'Method that made it.';
COMMENT ON COLUMN policy.round IS 'Round that made it.';
COMMENT ON COLUMN policy.tokenizer_hash IS 'Tokenizer that its token ids belong to.';
COMMENT ON COLUMN policy.parameters IS 'Number of weights.';

COMMENT ON COLUMN update_step.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN update_step.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN update_step.step IS 'Number of the step within the round, from 0.';
COMMENT ON COLUMN update_step.loss IS 'Total loss.';
COMMENT ON COLUMN update_step.policy_loss IS 'Clipped policy loss.';
COMMENT ON COLUMN update_step.distillation IS 'Self-distillation term.';
COMMENT ON COLUMN update_step.kl IS 'KL term to policy 0.';
COMMENT ON COLUMN update_step.entropy IS 'Mean entropy of the policy.';
COMMENT ON COLUMN update_step.ratio_mean IS 'Mean probability ratio of new to sampling policy.';
COMMENT ON COLUMN update_step.gate_mean IS 'Mean gate.';
COMMENT ON COLUMN update_step.gap_mean IS 'Mean of teacher minus student log-prob.';
COMMENT ON COLUMN update_step.gap_std IS 'Standard deviation of that gap.';
COMMENT ON COLUMN update_step.gradient_norm IS 'Norm of the gradient before clipping.';
COMMENT ON COLUMN update_step.tokens IS 'Action tokens in the step.';

COMMENT ON COLUMN evaluation.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN evaluation.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN evaluation.panel_id IS 'Panel that was played.';
COMMENT ON COLUMN evaluation.policy_id IS 'Policy that played it.';
COMMENT ON COLUMN evaluation.episodes IS 'Episodes played.';
COMMENT ON COLUMN evaluation.successes IS 'Episodes that succeeded.';
COMMENT ON COLUMN evaluation.success IS 'Share that succeeded.';
COMMENT ON COLUMN evaluation.high IS 'Upper end of the 95 % Wilson interval.';
COMMENT ON COLUMN evaluation.mean_return IS 'Mean of the returns.';
COMMENT ON COLUMN evaluation.mean_turns IS 'Mean number of turns.';

COMMENT ON COLUMN verdict.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN verdict.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN verdict.round IS 'Round after which it was given.';
COMMENT ON COLUMN verdict.stop IS 'Whether the run ends here.';
COMMENT ON COLUMN verdict.reason IS 'continue, target, converged, rounds, minutes or collapse.';
COMMENT ON COLUMN verdict.sentence IS 'The reason as a sentence.';
COMMENT ON COLUMN verdict.best_policy IS 'Best policy by the panel so far.';
COMMENT ON COLUMN verdict.best_round IS 'Round that made it.';
COMMENT ON COLUMN verdict.best_success IS 'Its success on the panel.';

COMMENT ON COLUMN comparison.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN comparison.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN comparison."before" IS 'Policy or artifact compared with.';
COMMENT ON COLUMN comparison."after" IS 'Policy or artifact compared.';
COMMENT ON COLUMN comparison.difference IS 'Mean paired difference in success.';
COMMENT ON COLUMN comparison.low IS 'Lower end of its 95 % bootstrap interval.';
COMMENT ON COLUMN comparison.high IS 'Upper end of its 95 % bootstrap interval.';
COMMENT ON COLUMN comparison.verdict IS 'better, worse or not distinguishable.';

COMMENT ON COLUMN token_piece.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN token_piece.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN token_piece.tokenizer_hash IS 'Tokenizer that the token belongs to.';
COMMENT ON COLUMN token_piece.token_id IS 'Number of the token.';
COMMENT ON COLUMN token_piece.text IS 'Text of the token.';

COMMENT ON COLUMN collected_episode.run_id IS 'Run that collected or reused it.';
COMMENT ON COLUMN collected_episode.round IS 'Round of that run.';
COMMENT ON COLUMN collected_episode.artifact_id IS 'Artifact that the row belongs to.';
COMMENT ON COLUMN collected_episode.ordinal IS 'Place within the artifact, from 0.';
COMMENT ON COLUMN collected_episode.id IS 'Id of the episode, unique within its artifact.';
COMMENT ON COLUMN collected_episode.task_id IS 'Task that it was rolled out on.';
COMMENT ON COLUMN collected_episode.task_type IS 'Type of that task.';
COMMENT ON COLUMN collected_episode.group_index IS 'Episodes of one task in one round share it.';
COMMENT ON COLUMN collected_episode.sample IS 'Place within the group.';
COMMENT ON COLUMN collected_episode.seed IS 'Seed of its sampling.';
COMMENT ON COLUMN collected_episode.prompt_length IS 'Tokens before the first action.';
COMMENT ON COLUMN collected_episode.token_ids IS 'Prompt, observations and actions as one row of token ids.';
COMMENT ON COLUMN collected_episode.action_mask IS 'True on tokens that the policy produced.';
COMMENT ON COLUMN collected_episode.sampler_logprobs IS 'Natural log-probs at sampling time; 0 outside the action mask.';
COMMENT ON COLUMN collected_episode.episode_return IS 'Sum of the rewards.';
COMMENT ON COLUMN collected_episode.success IS 'Whether the goal was reached.';
COMMENT ON COLUMN collected_episode.stop_reason IS 'Why it ended: success, failure, max_steps, max_tokens or environment_error.';
COMMENT ON COLUMN collected_episode.error IS 'Message of the environment when it raised an error.';
COMMENT ON COLUMN collected_episode.context_policy IS 'How turns were put into the context.';
COMMENT ON COLUMN collected_episode.engine IS 'Sampler that produced it.';
COMMENT ON COLUMN collected_episode.temperature IS 'Sampling temperature; 0 is greedy.';

COMMENT ON COLUMN token_value.run_id IS 'Run whose gate applies.';
COMMENT ON COLUMN token_value.round IS 'Round that scored it.';
COMMENT ON COLUMN token_value.episode_id IS 'Episode of the token.';
COMMENT ON COLUMN token_value.position IS 'Position in the token_ids of the episode, from 0.';
COMMENT ON COLUMN token_value.student IS 'Natural log-prob without skills.';
COMMENT ON COLUMN token_value.teacher IS 'Natural log-prob with skills in the context.';
COMMENT ON COLUMN token_value.entropy IS 'Entropy of the student over log(vocabulary size), in [0, 1].';

COMMENT ON COLUMN token_gap.run_id IS 'Run whose gate applies.';
COMMENT ON COLUMN token_gap.round IS 'Round that scored it.';
COMMENT ON COLUMN token_gap.episode_id IS 'Episode of the token.';
COMMENT ON COLUMN token_gap.task_type IS 'Type of its task.';
COMMENT ON COLUMN token_gap.success IS 'Whether the episode succeeded.';
COMMENT ON COLUMN token_gap.turn IS 'Number of the turn, from 0.';
COMMENT ON COLUMN token_gap.token_id IS 'Number of the token.';
COMMENT ON COLUMN token_gap.student IS 'Natural log-prob without skills.';
COMMENT ON COLUMN token_gap.teacher IS 'Natural log-prob with skills in the context.';

COMMENT ON COLUMN learning_curve.run_id IS 'Run.';
COMMENT ON COLUMN learning_curve.method IS 'Method preset of the run.';
COMMENT ON COLUMN learning_curve.round IS 'Round of the evaluation.';
COMMENT ON COLUMN learning_curve.success IS 'Share of the panel that succeeded.';
COMMENT ON COLUMN learning_curve.high IS 'Upper end of the 95 % Wilson interval.';
COMMENT ON COLUMN learning_curve.episodes IS 'Episodes played.';
COMMENT ON COLUMN learning_curve.policy_id IS 'Policy that played.';
COMMENT ON COLUMN learning_curve.panel_id IS 'Panel that was played.';

COMMENT ON COLUMN round_summary.run_id IS 'Run.';
COMMENT ON COLUMN round_summary.round IS 'Round of the run; 0 is the preparation.';
COMMENT ON COLUMN round_summary.episodes IS 'Collected training episodes.';
COMMENT ON COLUMN round_summary.mean_return IS 'Mean of their returns.';
COMMENT ON COLUMN round_summary.mean_turns IS 'Mean number of their turns.';
COMMENT ON COLUMN round_summary.gap_mean IS 'Mean of teacher minus student log-prob.';
COMMENT ON COLUMN round_summary.gate_mean IS 'Mean gate.';
COMMENT ON COLUMN round_summary.entropy IS 'Mean entropy of the policy over the optimiser steps that were taken.';

COMMENT ON COLUMN retrieval_audit.run_id IS 'Run.';
COMMENT ON COLUMN retrieval_audit.round IS 'Round that retrieved.';
COMMENT ON COLUMN retrieval_audit.episode_id IS 'Episode that skills were searched for.';
COMMENT ON COLUMN retrieval_audit.task_type IS 'Type of its task.';
COMMENT ON COLUMN retrieval_audit.success IS 'Whether it succeeded.';
COMMENT ON COLUMN retrieval_audit.rule IS 'Retrieval rule that applied.';
COMMENT ON COLUMN retrieval_audit.query IS 'Text that skills were searched with.';
COMMENT ON COLUMN retrieval_audit.skill IS 'Name of the skill.';
COMMENT ON COLUMN retrieval_audit.skill_id IS 'Id of the skill.';
COMMENT ON COLUMN retrieval_audit.rank IS '0 is the best.';
COMMENT ON COLUMN retrieval_audit.tokens IS 'Tokens of the budget that the skill took.';
COMMENT ON COLUMN retrieval_audit.budget IS 'Tokens allowed for the block.';
COMMENT ON COLUMN retrieval_audit.tokens_used IS 'Tokens of the block.';

COMMENT ON COLUMN skill_usefulness.run_id IS 'Run.';
COMMENT ON COLUMN skill_usefulness.skill IS 'Name of the skill, or its id when no bank holds it.';
COMMENT ON COLUMN skill_usefulness.gap_on_failure IS 'Mean gap of failed episodes; every episode counts once.';
