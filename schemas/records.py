"""The records that stages exchange.

Token arrays are `int32`, log-probabilities `float32` natural logarithms, masks `bool` with True on the
tokens that the policy produced. T is the number of tokens of a row, A the number of its action tokens.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sdar.schemas.arrays import BoolVector, Float32Vector, Int32Vector


class Record(BaseModel):
    """Base of all records: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class TaskSpec(Record):
    """One task of an environment.

    `payload` is whatever the environment needs to rebuild the task; with `seed` it determines the task.
    """

    id: str
    environment: str
    split: str
    type: str
    goal: str
    seed: int
    payload: dict[str, Any] = Field(default_factory=dict)


class StopReason(StrEnum):
    """Why an episode ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    MAX_STEPS = "max_steps"
    MAX_TOKENS = "max_tokens"
    ENVIRONMENT_ERROR = "environment_error"

    @property
    def sentence(self) -> str:
        """The reason as one sentence."""
        return _STOP_SENTENCES[self]


_STOP_SENTENCES = {
    StopReason.SUCCESS: "The environment reported that the goal was reached.",
    StopReason.FAILURE: "The environment ended the episode without the goal being reached.",
    StopReason.MAX_STEPS: "The step limit of the environment was used up.",
    StopReason.MAX_TOKENS: "The episode reached the token limit of the context window.",
    StopReason.ENVIRONMENT_ERROR: "The environment raised an error; its message is stored with the episode.",
}


class Turn(Record):
    """One exchange: the observation the policy saw and the action it gave.

    `start` and `end` delimit the action's tokens in the episode's `token_ids` (end exclusive, the
    end-of-action token included).
    """

    index: int
    observation: str
    action: str
    reward: float
    valid: bool
    start: int
    end: int


class Episode(Record):
    """One rollout as one row of tokens; its ids are exactly those that were sampled.

    `token_ids[:prompt_length]` is the student's prompt up to and including the first observation.
    `sampler_logprobs` is aligned with `token_ids`, 0 where `action_mask` is False, and was computed at
    `temperature` (0 means greedy: log-probs at temperature 1). With the context policy `window:n` the policy
    read, at each turn, the task and the last n turns before it instead of all of them; the ids are kept once,
    and `sdar.policy.rows` cuts a row for each turn out of them.
    """

    id: str
    task_id: str
    task_type: str
    group: int
    sample: int
    seed: int
    turns: tuple[Turn, ...]
    prompt_length: int
    token_ids: Int32Vector
    action_mask: BoolVector
    sampler_logprobs: Float32Vector
    episode_return: float
    success: bool
    stop_reason: StopReason
    error: str | None = None
    context_policy: Annotated[str, Field(pattern=r"^(conversation|window:\d+)$")] = "conversation"
    engine: str = "transformers"
    temperature: float = 1.0

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        lengths = {len(self.token_ids), len(self.action_mask), len(self.sampler_logprobs)}
        if len(lengths) != 1:
            raise ValueError(
                f"episode {self.id}: token_ids, action_mask and sampler_logprobs "
                f"have lengths {sorted(lengths)}"
            )
        if self.action_mask[: self.prompt_length].any():
            raise ValueError(f"episode {self.id}: the action mask covers prompt tokens")
        return self


class RetrievedSkill(Record):
    """One skill in a teacher context: its retrieval score, rank (0 is best) and share of the budget."""

    skill_id: str
    score: float
    rank: int
    tokens: int


class SkillStat(Record):
    """What the rounds so far taught about a skill; gaps are sums of episode means, in nats.

    `uses` are the scored episodes whose context held the skill: `successes` and `failures` together.
    """

    skill_id: str
    uses: int
    successes: int
    gap_success: float
    failures: int
    gap_failure: float


class TeacherContext(Record):
    """The privileged context of one episode and the audit of how it came about.

    `prompt_ids` is the complete teacher prompt: it replaces the first `prompt_length` tokens of the episode.
    """

    episode_id: str
    rule: str
    query: str
    skills: tuple[RetrievedSkill, ...]
    block: str
    prompt_ids: Int32Vector
    budget: int
    tokens_used: int
    tokens_cut: int


class SelfJudgement(Record):
    """How the policy judged its own episode, without looking at the environment's reward.

    `verdicts` [K] are mean gaps in nats, one for each of K sets of skills; `score` is their mean and
    `consistency` the share of them, in [0, 1], on the majority's side of the group's median.
    """

    episode_id: str
    verdicts: Float32Vector
    score: float
    consistency: float


class Selection(Record):
    """Whether the update may learn from an episode, and one sentence that says why not."""

    episode_id: str
    kept: bool
    reason: str


class TokenScores(Record):
    """Student and teacher scores of the action tokens of one episode, each of length A.

    `entropy` is the student's, divided by log(vocabulary size), in [0, 1].
    """

    episode_id: str
    positions: Int32Vector
    student: Float32Vector
    teacher: Float32Vector
    entropy: Float32Vector

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        lengths = {len(self.positions), len(self.student), len(self.teacher), len(self.entropy)}
        if len(lengths) != 1:
            raise ValueError(f"scores of episode {self.episode_id}: arrays have lengths {sorted(lengths)}")
        return self


class Skill(Record):
    """One skill of a bank. `id` is the content hash of everything else, so an edited skill is a new one."""

    id: str
    name: str
    description: str
    environment: str
    task_types: tuple[str, ...]
    body: str
    source: str
    parents: tuple[str, ...] = ()
    version: int = 1


class SkillState(Record):
    """What a bank knows about one of its skills besides its text.

    `evidence` are the episodes that say the same, those of merged duplicates included. A retired skill stays
    in its bank and is not retrieved; `reason` says why it was retired or came back, and is empty before that.
    """

    skill_id: str
    evidence: tuple[str, ...]
    retired: bool
    reason: str


class SkillTrial(Record):
    """How a skill was tried on held-out material: a new one, or one of the bank that was tried again.

    `tasks` held-out tasks were played by the teacher with the skill and without it: `wins_with` and
    `wins_without` of them succeeded, and `difference` is that of the shares with its 95 % interval; 0 tasks
    and None where nothing was played. `turns_with` and `turns_without` are the mean turns of those tasks, a
    failure counting as the most that an episode may have, and `turns_low` and `turns_high` the 99 % interval
    of their mean difference; None with fewer than two tasks. On held-out episodes whose block would hold it,
    `lift_success` and `lift_failure` are the mean change of the mean log-prob of an action token by the
    skill, in nats, with the 95 % interval of the former; None where there are too few. `support` and
    `contradictions` count the episodes that state the fact and that state another.
    """

    skill_id: str
    name: str
    description: str
    task_types: tuple[str, ...]
    body: str
    source: str
    parents: tuple[str, ...]
    support: int
    contradictions: int
    verdict: Literal["admitted", "refused", "merged", "kept", "retired"]
    reason: str
    tasks: int = 0
    wins_with: int = 0
    wins_without: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    turns_with: float | None = None
    turns_without: float | None = None
    turns_low: float | None = None
    turns_high: float | None = None
    successes: int = 0
    lift_success: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None
    failures: int = 0
    lift_failure: float | None = None


class SkillLift(Record):
    """Counterfactual lift of a skill on a sample of the episodes whose context held it, in nats a token.

    An episode's lift is the teacher's mean log-prob of its action tokens with the block as it was, minus the
    same without this one skill. `lift` is the mean over successful minus that over failed episodes, `low` and
    `high` its 95 % Welch interval; None with fewer than two episodes of either outcome.
    """

    skill_id: str
    successes: int
    lift_success: float
    failures: int
    lift_failure: float
    lift: float
    low: float | None
    high: float | None


class BankVersion(Record):
    """Where a distilled bank comes from: `parent` is the artifact of the bank before it."""

    parent: str
    round: int
    skills: int
    retired: int


class PolicyRecord(Record):
    """A policy in the store: `id` is the content hash of its weights and tokenizer."""

    id: str
    parent: str | None
    method: str
    round: int
    tokenizer_hash: str
    parameters: int


class UpdateReport(Record):
    """One optimiser step. Loss parts are as they entered the total; shares are in [0, 1].

    `kl` is the term to policy 0, `drift` the estimated KL from the policy that sampled, before the step, and
    `coefficient` the lambda in force; NaN in stores from before these were kept.
    """

    step: int
    loss: float
    policy_loss: float
    distillation: float
    kl: float
    drift: float
    entropy: float
    clip_share: float
    ratio_mean: float
    gate_mean: float
    gate_share: float
    coefficient: float
    gap_mean: float
    gap_std: float
    gradient_norm: float
    skipped: bool
    tokens: int


class PanelResult(Record):
    """Success of one policy on a frozen panel: `low` and `high` are the 95 % Wilson interval."""

    panel_id: str
    policy_id: str
    with_skills: bool
    episodes: int
    successes: int
    success: float
    low: float
    high: float
    mean_return: float
    mean_turns: float
    by_type: dict[str, tuple[int, int]] = Field(default_factory=dict)


class Comparison(Record):
    """Paired difference of two policies on one panel, `after` minus `before`, with a bootstrap interval."""

    before: str
    after: str
    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "not distinguishable"]


class Verdict(Record):
    """What the `decide` stage concluded after an evaluation.

    `best_policy` is the best by the panel so far; `sentence` says why the loop stops or goes on.
    """

    round: int
    stop: bool
    reason: Literal["continue", "target", "converged", "rounds", "minutes", "collapse"]
    sentence: str
    best_policy: str
    best_round: int
    best_success: float
    last_gain: Comparison | None = None
