"""The configuration of a run: every setting, its default, its range and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]

Gate = Literal["gap", "entropy", "soft_or", "none", "half"]
Divergence = Literal["sampled", "sampled_reverse_kl", "reverse_kl", "forward_kl"]
TeacherWeights = Literal["live", "frozen", "ema"]


class Section(BaseModel):
    """Base of all configuration parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EnvironmentConfig(Section):
    """The world in which the agent acts."""

    name: str = Field("household", description="Registered environment, see `sdar envs list`.")
    house: int = Field(0, ge=0, description="Household: which target house the agent works in.")
    max_steps: Positive = Field(16, description="Actions per episode.")
    train_split: str = Field("train", description="Split that collected tasks come from.")
    panel_split: str = Field("unseen", description="Split that the frozen panel comes from.")


class PolicyConfig(Section):
    """The model that is improved."""

    path: str = Field(
        "starter",
        description="`starter` (shipped), `bootstrap` (warm-started anew), or a policy folder.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the model runs.")
    threads: int = Field(0, ge=0, description="Torch threads; 0 takes all cores.")
    max_tokens: Positive = Field(1024, description="Context window: longest row in tokens.")


class WarmStartConfig(Section):
    """How a starter policy is made; read only with `policy.path: bootstrap` and by `sdar bootstrap`."""

    seed: int = Field(0, ge=0, lt=2**31, description="Decides demonstrations, tokenizer and first weights.")
    steps: Positive = Field(1400, description="Optimiser steps.")
    batch: Positive = Field(32, description="Demonstrations per step.")
    learning_rate: float = Field(3e-3, gt=0.0, description="Highest AdamW rate.")
    skill_share: Share = Field(0.5, description="Share of demonstrations with skills in the prompt.")
    vocabulary: int = Field(1280, ge=512, le=65_536, description="Tokens of the tokenizer.")
    hidden: Positive = Field(96, description="Width of the model.")
    layers: Positive = Field(4, description="Blocks of the model.")
    heads: Positive = Field(4, description="Attention heads; must divide the width.")


class RolloutConfig(Section):
    """How episodes are collected."""

    engine: Literal["transformers"] = Field("transformers", description="Sampling engine.")
    tasks: Positive = Field(64, description="Tasks per round.")
    group_size: Positive = Field(2, description="Episodes per task: one GRPO group.")
    temperature: float = Field(1.0, gt=0.0, description="Sampling temperature for training episodes.")
    max_action_tokens: Positive = Field(16, description="Tokens per action; a longer one is cut and invalid.")


class SkillsConfig(Section):
    """Which skills reach the teacher."""

    path: str = Field("builtin", description="`builtin`, or a folder of SKILL.md files.")
    strategy: Literal["embedding", "none"] = Field("embedding", description="Retrieval strategy.")
    top_k: Positive = Field(4, description="Most skills in one context.")
    threshold: float = Field(
        0.05, ge=-1.0, le=1.0, description="Least cosine similarity of a retrieved skill."
    )
    budget: Positive = Field(160, description="Tokens reserved for the skill block.")
    allow_empty: bool = Field(False, description="Accept episodes for which no skill was found.")


class AdvantageConfig(Section):
    """Group-relative advantages (algorithms, section 2)."""

    normalize_std: bool = Field(
        True, description="Divide by the group's standard deviation; false is Dr.GRPO."
    )
    invalid_penalty: NonNegative = Field(
        0.0, description="Subtracted: this times the share of invalid turns."
    )


class SdarConfig(Section):
    """The self-distillation term (algorithms, section 3)."""

    gate: Gate = Field("entropy", description="Gate on the term.")
    beta: NonNegative = Field(5.0, description="Sharpness of the gate.")
    divergence: Divergence = Field("forward_kl", description="What the gate multiplies.")
    coefficient: NonNegative = Field(10.0, description="Lambda: weight of the term in the loss.")
    teacher: TeacherWeights = Field("frozen", description="Weights that score with skills.")
    ema_rate: Share = Field(0.95, description="EMA teacher: share of the old average kept each round.")


class UpdateConfig(Section):
    """The policy update (algorithms, section 2)."""

    learning_rate: float = Field(1e-3, gt=0.0, description="AdamW learning rate.")
    weight_decay: NonNegative = Field(0.0, description="AdamW weight decay.")
    policy_coefficient: NonNegative = Field(1.0, description="Weight of the clipped policy loss.")
    clip_low: Share = Field(0.2, description="Ratio clip below 1.")
    clip_high: NonNegative = Field(0.2, description="Ratio clip above 1.")
    kl_coefficient: NonNegative = Field(0.0, description="Weight of the KL term to policy 0.")
    entropy_coefficient: NonNegative = Field(0.0, description="Weight of the entropy bonus.")
    max_gradient_norm: float = Field(1.0, gt=0.0, description="Gradient clip.")
    minibatch: Positive = Field(16, description="Rows per optimiser step.")
    epochs: Positive = Field(1, description="Passes over the round's rows.")
    aggregation: Literal["token_mean", "sequence_mean", "sequence_sum"] = Field(
        "token_mean", description="How per-token losses become one number."
    )


class EvaluationConfig(Section):
    """The frozen panel (algorithms, section 10)."""

    panel_size: Positive = Field(256, description="Tasks on the panel.")
    every: Positive = Field(5, description="Evaluate after every this many rounds.")
    temperature: NonNegative = Field(0.4, description="Sampling temperature on the panel; 0 is greedy.")
    with_skills: bool = Field(True, description="Also evaluate policy 0 with skills in its prompt.")


class StopConfig(Section):
    """When the loop ends (algorithms, section 9)."""

    rounds: Positive = Field(60, description="Most rounds.")
    target: Share = Field(0.9, description="Stop once the lower end of the success interval reaches this.")
    patience: Positive = Field(4, description="Evaluations without a proven gain before convergence.")
    min_gain: float = Field(0.0, ge=0.0, le=1.0, description="Gain in success that must be exceeded.")
    minutes: float | None = Field(None, gt=0.0, description="Wall-time budget; none by default.")
    floor: Share = Field(0.05, description="Collapse guard: success below this ends the run.")


class ChecksConfig(Section):
    """Tolerances of the checks that every round must pass (algorithms, section 8)."""

    logprob_tolerance: float = Field(
        1e-4, gt=0.0, description="Largest |sampler - learner| log-prob difference, fp32."
    )


class RunConfig(Section):
    """Everything that determines a run."""

    seed: int = Field(0, ge=0, lt=2**31, description="Root of every random choice.")
    method: str = Field("sdar", description="Preset of the switches below, see `sdar methods`.")
    env: EnvironmentConfig = EnvironmentConfig()
    policy: PolicyConfig = PolicyConfig()
    warmstart: WarmStartConfig = WarmStartConfig()
    rollout: RolloutConfig = RolloutConfig()
    skills: SkillsConfig = SkillsConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    sdar: SdarConfig = SdarConfig()
    update: UpdateConfig = UpdateConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stop: StopConfig = StopConfig()
    checks: ChecksConfig = ChecksConfig()
