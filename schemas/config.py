"""The configuration of a run: every setting, its default, its range and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST, PROCESSES = 1_000_000, 4096
"""Far above what anybody means, of things held at a time and of processes or threads: a slip ends here."""

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0, le=MOST)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]

Gate = Literal["gap", "entropy", "soft_or", "centred_gap", "none", "half"]
Divergence = Literal["sampled", "sampled_reverse_kl", "reverse_kl", "forward_kl", "jsd", "k3"]
TeacherWeights = Literal["live", "frozen", "ema", "periodic"]
Schedule = Literal["constant", "linear", "cosine"]
Strategy = Literal["embedding", "keyword", "hybrid", "task_type", "ucb", "full", "random", "none"]
EMBEDDERS = ("tfidf", "minilm", "policy")
ActionFormat = Literal["plain", "tagged"]
Dtype = Literal["float32", "bfloat16"]
Engine = Literal["transformers", "vllm"]
RunnerKind = Literal["local", "ray", "dask"]
Credit = Literal["episode", "anchor", "teacher_ratio", "turn_belief"]


class Section(BaseModel):
    """Base of all configuration parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EnvironmentConfig(Section):
    """The world in which the agent acts."""

    name: str = Field("household", description="Registered environment, see `sdar envs list`.")
    house: int = Field(0, ge=0, description="Household: which target house the agent works in.")
    data: str = Field(
        "", description="Folder or file with the environment's data; empty takes what it has or makes itself."
    )
    options: dict[str, str | int | float | bool] = Field(
        {}, description="Settings of the environment's own, by name; each environment says which it knows."
    )
    max_steps: Count = Field(16, description="Actions per episode.")
    step_timeout: float = Field(
        60.0, gt=0.0, description="Worlds in worker processes: seconds until a step that hangs is ended."
    )
    reset_timeout: float = Field(
        300.0, gt=0.0, description="The same for a reset, for listing the tasks, and for making the world."
    )
    train_split: str = Field("train", description="Split that collected tasks come from.")
    panel_split: str = Field("unseen", description="Split that the frozen panel comes from.")


class LoraConfig(Section):
    """Training a low-rank adapter instead of all weights; needs peft."""

    rank: int = Field(0, ge=0, le=MOST, description="Rank of the adapter's matrices; 0 trains all weights.")
    alpha: Positive = Field(32, description="What the adapter adds is scaled by alpha / rank.")
    targets: str = Field(
        "all-linear", description="`all-linear`, or names of linear layers: `q_proj, v_proj`."
    )


class PolicyConfig(Section):
    """The model that is improved."""

    path: str = Field(
        "starter",
        description="`starter` (shipped), `bootstrap` (warm-started anew), or a policy folder.",
    )
    device: Literal["cpu", "cuda"] = Field("cpu", description="Where the model runs.")
    devices: Positive = Field(
        1,
        le=PROCESSES,
        description="Update: processes that share it, each with a device of its own and a part of the model.",
    )
    threads: int = Field(0, ge=0, le=PROCESSES, description="Torch threads; 0 takes all cores.")
    max_tokens: Positive = Field(1024, description="Context window: longest row in tokens.")
    action_format: ActionFormat = Field(
        "plain",
        description="Chat models: the whole answer is the action, or reasoning in <think> and one <action>.",
    )
    dtype: Dtype = Field("float32", description="Precision of the weights and of what is computed with them.")
    lora: LoraConfig = LoraConfig()
    gradient_checkpointing: bool = Field(
        False, description="Update: compute each layer a second time instead of keeping what it computed."
    )
    token_budget: int = Field(
        0, ge=0, lt=2**31, description="Padded tokens of one scoring or learning pass; 0 chooses by device."
    )
    scorer: Engine = Field("transformers", description="What scores the teacher's log-probs.")
    engine_memory: float = Field(
        1.0, gt=0.0, le=65_536.0, description="vLLM: GiB for the keys and values of the episodes under way."
    )


class WarmStartConfig(Section):
    """How a starter policy is made; read only with `policy.path: bootstrap` and by `sdar bootstrap`."""

    seed: int = Field(0, ge=0, lt=2**31, description="Decides demonstrations, tokenizer and first weights.")
    steps: Positive = Field(1400, description="Optimiser steps.")
    batch: Count = Field(32, description="Demonstrations per step.")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="`muon` for the matrices of the blocks, AdamW for the rest; or AdamW for all."
    )
    learning_rate: float = Field(3e-3, gt=0.0, description="Highest AdamW rate.")
    muon_rate: float = Field(0.02, gt=0.0, description="Highest Muon rate.")
    skill_share: Share = Field(0.5, description="Share of demonstrations with skills in the prompt.")
    prompt_weight: Share = Field(
        0.2, description="Weight of the prompt's tokens in the loss; actions have 1, later observations 0.2."
    )
    vocabulary: int = Field(1280, ge=512, le=65_536, description="Tokens of the tokenizer.")
    hidden: Count = Field(96, description="Width of the model.")
    layers: Count = Field(4, description="Blocks of the model.")
    heads: Count = Field(4, description="Attention heads; must divide the width.")


class RolloutConfig(Section):
    """How episodes are collected."""

    engine: Engine = Field("transformers", description="Sampling engine; `vllm` is an extra.")
    tasks: Count = Field(64, description="Tasks per round.")
    group_size: Count = Field(2, description="Episodes per task: one GRPO group.")
    trusted_group_size: int = Field(
        0,
        ge=0,
        le=MOST,
        description="`sdar.trust: lead`: episodes per task after a round whose teacher was followed, of so "
        "many tasks that the number of episodes stays; 0 keeps `group_size`.",
    )
    temperature: float = Field(1.0, gt=0.0, description="Sampling temperature for training episodes.")
    max_action_tokens: Count = Field(16, description="Tokens per action; a longer one is cut and invalid.")
    context: Literal["conversation", "window"] = Field(
        "conversation",
        description="What the policy reads: all of the episode in one row, or a window with a row per turn.",
    )
    history_length: int = Field(
        4, ge=0, description="Window: turns before the present one that stay in the prompt."
    )
    with_skills: bool = Field(False, description="Collect with retrieved skills in the student's prompt.")
    batch: int = Field(
        0,
        ge=0,
        le=MOST,
        description="Episodes that are played together, and by one machine; 0 plays all that are asked for.",
    )
    resample: int = Field(
        0, ge=0, description="Dynamic sampling: most passes that replace groups with equal returns."
    )


class SkillsConfig(Section):
    """Which skills reach the teacher."""

    path: str = Field("builtin", description="`builtin`, `empty`, or a folder of SKILL.md files.")
    strategy: Strategy = Field("embedding", description="Retrieval strategy.")
    embedder: str = Field(
        "tfidf",
        description="What makes vectors of texts: `tfidf`, `minilm`, `policy` (policy 0), or a model folder.",
    )
    exploration: NonNegative = Field(1.0, description="`ucb`: weight of the bonus for skills seldom used.")
    top_k: Positive = Field(4, description="Most skills in one context.")
    threshold: float = Field(
        0.05, ge=-1.0, le=1.0, description="Least cosine similarity of a retrieved skill."
    )
    budget: Positive = Field(160, description="Tokens reserved for the skill block.")
    allow_empty: bool = Field(False, description="Accept episodes for which no skill was found.")
    allow_generic: bool = Field(
        False, description="Accept episodes whose skills are all general: none names a task type."
    )


class AdvantageConfig(Section):
    """Group-relative advantages (algorithms, section 2)."""

    normalize_std: bool = Field(
        True, description="Divide by the group's standard deviation; false is Dr.GRPO."
    )
    invalid_penalty: NonNegative = Field(
        0.0, description="Subtracted: this times the share of invalid turns."
    )
    statistics: Literal["episode", "row"] = Field(
        "episode", description="What counts once in a group's mean: an episode, or each of its rows."
    )
    credit: Credit = Field("episode", description="How an episode's advantage is spread over its tokens.")
    credit_weight: NonNegative = Field(
        1.0, description="`anchor`: weight of the step advantage beside that of the episode."
    )
    discount: Share = Field(0.95, description="`anchor` and `turn_belief`: what a turn later counts less.")
    credit_share: Share = Field(
        0.5, description="`teacher_ratio` and `turn_belief`: share of the advantage that is spread anew."
    )
    credit_rounds: int = Field(
        0, ge=0, description="Rounds in which `credit_share` falls to 0 in a line; 0 keeps it."
    )
    credit_clip: Share = Field(
        0.2, description="`teacher_ratio` and `turn_belief`: a token's factor stays this close to 1."
    )


class SdarConfig(Section):
    """The self-distillation term (algorithms, section 3)."""

    gate: Gate = Field("entropy", description="Gate on the term.")
    beta: NonNegative = Field(5.0, description="Sharpness of the gate.")
    divergence: Divergence = Field("forward_kl", description="What the gate multiplies.")
    jsd_weight: float = Field(0.5, gt=0.0, lt=1.0, description="`jsd`: share of the teacher in the mixture.")
    top_k: int = Field(
        0, ge=0, description="Vocabulary terms: the teacher's k likeliest tokens and the rest as one; 0: all."
    )
    coefficient: NonNegative = Field(10.0, description="Lambda: weight of the term in the loss.")
    schedule: Schedule = Field("constant", description="How lambda falls to 0 over `schedule_rounds`.")
    schedule_rounds: Positive = Field(60, description="Rounds until a falling lambda is 0.")
    teacher: TeacherWeights = Field("frozen", description="Weights that score with skills.")
    ema_rate: Share = Field(0.95, description="EMA teacher: share of the old average kept each round.")
    period: Positive = Field(10, description="Periodic teacher: rounds between two copies of the policy.")
    trust: Literal["always", "lead"] = Field(
        "always",
        description="`lead`: lambda times the share of the student's failures that the teacher would mend.",
    )
    trial_tasks: Count = Field(64, description="`lead`: tasks on which the teacher is tried.")
    lead_rate: float = Field(
        1.0, ge=1.0, description="`lead`: the learning rate at full trust, in multiples of that at none."
    )


class RewardConfig(Section):
    """Where returns come from (algorithms, section 5)."""

    source: Literal["environment", "self", "mixed"] = Field(
        "environment", description="The environment's reward, the policy's own judgement, or both."
    )
    function: str = Field(
        "",
        description="Replaces the environment's returns: `package.module:name` of a function, see "
        "docs/python.md; empty keeps them.",
    )
    self_weight: Share = Field(0.5, description="`mixed`: share of the self-judgement in the return.")
    contexts: int = Field(
        4, ge=2, le=MOST, description="Judgements per episode, each under other retrieved skills."
    )
    verdict: Literal["gap", "teacher"] = Field(
        "gap",
        description="What a judgement is: mean log-prob of teacher minus student, or of the teacher alone.",
    )


class SelectConfig(Section):
    """Which episodes the update may learn from (algorithms, section 6); the defaults keep all of them."""

    success: bool = Field(False, description="Successful episodes only.")
    return_quantile: Share = Field(0.0, description="Returns at or above this quantile of the round.")
    length_quantile: Share = Field(1.0, description="Turns at or below this quantile of the round.")
    consistency: Share = Field(0.0, description="Least share of judgements that agree; needs a judge.")


class UpdateConfig(Section):
    """The policy update (algorithms, section 2)."""

    learning_rate: float = Field(1e-3, gt=0.0, description="AdamW learning rate.")
    weight_decay: NonNegative = Field(0.0, description="AdamW weight decay.")
    policy_coefficient: NonNegative = Field(1.0, description="Weight of the policy loss.")
    policy_loss: Literal["clipped", "likelihood"] = Field(
        "clipped", description="Clipped policy gradient, or maximum likelihood of the selected episodes."
    )
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


class DistillConfig(Section):
    """How the agent writes skills from its own episodes (algorithms, section 6)."""

    every: int = Field(0, ge=0, description="Write and try skills after every this many rounds; 0 never.")
    window: Positive = Field(4, description="Rounds whose episodes are read, the present one last.")
    writer: Literal["template", "policy", "none"] = Field(
        "template", description="Sentences filled with mined facts, the model's own words, or no new skills."
    )
    support: Positive = Field(2, description="`template`: least number of episodes that must state a fact.")
    max_tokens: Positive = Field(48, description="`policy`: most tokens of a skill.")
    candidates: Positive = Field(24, description="Most new skills that are tried at a time.")
    held_out: float = Field(
        0.5,
        gt=0.0,
        lt=1.0,
        description="Share of the training tasks kept for trials: no skill comes from them.",
    )
    trial: Literal["play", "gap"] = Field(
        "play",
        description="A new skill must raise the teacher's success on held-out tasks, or its gap on episodes.",
    )
    trial_tasks: int = Field(24, ge=6, le=MOST, description="`play`: tasks on which a skill is tried.")
    duplicate: Share = Field(0.97, description="Cosine similarity from which two skills are the same.")
    lift_sample: int = Field(
        16, ge=2, description="Episodes of either outcome on which the lift of a skill is measured."
    )
    recheck: int = Field(4, ge=0, description="Skills of the lowest lift that are tried again at a time.")
    retire: str = Field(
        "", description="Skills to retire: `name, name`, or with reasons `name: reason; name: reason`."
    )
    restore: str = Field("", description="Names of skills never to retire; retired ones come back.")


class EvaluationConfig(Section):
    """The frozen panel (algorithms, section 10)."""

    panel_size: Count = Field(256, description="Tasks on the panel.")
    every: Positive = Field(5, description="Evaluate after every this many rounds.")
    temperature: NonNegative = Field(0.4, description="Sampling temperature on the panel; 0 is greedy.")
    with_skills: bool = Field(True, description="Also evaluate policy 0 with skills in its prompt.")
    with_skills_always: bool = Field(False, description="And every other evaluated policy too.")
    prompt: Literal["plain", "skills"] = Field(
        "plain", description="What the panel's verdict is about: the policy alone, or with skills."
    )


class StopConfig(Section):
    """When the loop ends (algorithms, section 9)."""

    rounds: int = Field(60, ge=0, description="Most rounds; 0 evaluates policy 0 and ends.")
    target: Share = Field(0.9, description="Stop once the lower end of the success interval reaches this.")
    patience: Positive = Field(4, description="Evaluations without a proven gain before convergence.")
    min_gain: float = Field(0.0, ge=0.0, le=1.0, description="Gain in success that must be exceeded.")
    minutes: float | None = Field(None, gt=0.0, description="Wall-time budget; none by default.")
    floor: Share = Field(0.05, description="Collapse guard: success below this ends the run.")
    entropy_low: Share = Field(0.0, description="Collapse guard: a round's mean entropy below this.")
    entropy_high: Share = Field(0.8, description="Collapse guard: a round's mean entropy above this.")
    spread_share: Share = Field(
        0.1, description="Collapse guard: in-group deviation of returns below this share of its early mean."
    )
    spread_rounds: Positive = Field(10, description="Collapse guard: for this many rounds in a row.")


class ChecksConfig(Section):
    """Tolerances of the checks that every round must pass."""

    logprob_tolerance: float = Field(
        1e-4,
        gt=0.0,
        description="Largest |sampler - learner| log-prob difference; bfloat16: mean of 1000 times it.",
    )


class LoggingConfig(Section):
    """Where figures are written besides the store; local files only, see docs/logging.md."""

    tensorboard: str = Field("", description="Folder for TensorBoard's event files; empty writes none.")
    mlflow: str = Field("", description="Folder for MLflow's tracking store, an SQLite file; empty: none.")


class RunnerConfig(Section):
    """Where batches of `collect` and `score` are done; only `sdar run` reads it."""

    kind: RunnerKind = Field(
        "local", description="This process, or a cluster of Ray's or Dask's; either is an extra."
    )
    shards: Count = Field(8, description="Ray, Dask: tasks into which a stage is cut at most.")
    address: str = Field(
        "", description="Ray, Dask: a cluster that runs; empty starts one here for the length of the run."
    )


class RunConfig(Section):
    """Everything that determines a run."""

    seed: int = Field(0, ge=0, lt=2**31, description="Root of every random choice.")
    workers: int = Field(
        0, ge=0, le=PROCESSES, description="Processes that play worlds which need them; 0 is one per core."
    )
    method: str = Field("sdar", description="Preset of the switches below, see `sdar methods`.")
    env: EnvironmentConfig = EnvironmentConfig()
    policy: PolicyConfig = PolicyConfig()
    warmstart: WarmStartConfig = WarmStartConfig()
    rollout: RolloutConfig = RolloutConfig()
    skills: SkillsConfig = SkillsConfig()
    advantage: AdvantageConfig = AdvantageConfig()
    reward: RewardConfig = RewardConfig()
    select: SelectConfig = SelectConfig()
    sdar: SdarConfig = SdarConfig()
    update: UpdateConfig = UpdateConfig()
    distill: DistillConfig = DistillConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stop: StopConfig = StopConfig()
    checks: ChecksConfig = ChecksConfig()
    logging: LoggingConfig = LoggingConfig()
    runner: RunnerConfig = RunnerConfig()
