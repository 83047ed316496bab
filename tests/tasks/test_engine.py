"""Engines: what is checked before a run, what enters keys, and episodes that go on one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from small_runs import small_config
from tiny_policy import tiny_policy

from sdar.envs.household.environment import Household
from sdar.envs.workers import Registered, in_workers, use_workers
from sdar.policy import vllm_engine
from sdar.policy.model import Policy
from sdar.policy.sampler import SampledAction, StreamingSampler, TransformersSampler
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError
from sdar.schemas.records import Episode
from sdar.schemas.seeds import generator
from sdar.tasks.engine import check_engine, open_sampler
from sdar.tasks.registry import STAGES
from sdar.tasks.rollout import Assignment, RolloutLimits, roll_out
from sdar.tasks.score import student_rows
from sdar.tasks.stage import read_fields

TASKS = Household().tasks("train")[:4]
LIMITS = RolloutLimits(temperature=1.0, max_steps=4, max_tokens=1024, max_action_tokens=8)


@dataclass
class OneByOne:
    """A streaming engine that answers the prompt that came last, and no other, or all of them."""

    policy: Policy
    most: int
    engine: str = "one by one"
    waiting: dict[int, tuple[list[int], int]] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def open(self, temperature: float) -> OneByOne:
        assert temperature == 1.0
        return self

    def ask(self, row: int, prompt: Sequence[int], seed: int) -> None:
        assert row not in self.waiting
        self.waiting[row] = (list(prompt), seed)
        self.asked.append(row)

    def ready(self) -> list[tuple[int, SampledAction]]:
        rows = sorted(list(self.waiting)[-self.most :])
        return [(row, self._answer(*self.waiting.pop(row))) for row in rows]

    def _answer(self, prompt: list[int], seed: int) -> SampledAction:
        uniforms = generator(seed, "test").random((1, LIMITS.max_action_tokens))
        conversations = TransformersSampler(self.policy, LIMITS.max_action_tokens).start(uniforms, 1.0)
        return conversations.act([0], [prompt])[0]


def play(most: int, history: int | None = None, workers: int = 0) -> tuple[list[Episode], OneByOne]:
    policy = tiny_policy()
    sampler = OneByOne(policy, most)
    assert isinstance(sampler, StreamingSampler)
    use_workers(workers)
    factory = in_workers(Registered("household")) if workers else Household.from_config
    assignments = [Assignment(task, group, 0, 70 + group) for group, task in enumerate(TASKS)]
    limits = replace(LIMITS, history=history)
    return roll_out(factory, EnvironmentConfig(), policy.dialogue, sampler, assignments, limits), sampler


@pytest.mark.parametrize("history", [None, 1])
def test_episodes_do_not_wait_for_each_other_and_come_out_the_same(history: int | None) -> None:
    eager, alone = play(1, history)
    together, _ = play(len(TASKS), history)
    assert alone.asked == [0, 1, 2, 3, *[3] * 3, *[2] * 3, *[1] * 3, *[0] * 3]
    assert [episode.id for episode in eager] == [episode.id for episode in together]
    assert [episode.turns for episode in eager] == [episode.turns for episode in together]
    assert {episode.engine for episode in eager} == {"one by one"}
    said = [e.token_ids[turn.start : turn.end].tolist() for e in eager for turn in e.turns]
    assert len({str(ids) for ids in said}) > len(TASKS)  # no two turns share their random numbers


@pytest.mark.parametrize("history", [None, 1])
def test_a_streaming_engine_reads_what_the_learner_reads(history: int | None) -> None:
    policy = tiny_policy()
    prompts: list[list[int]] = []

    class Noted(OneByOne):
        def ask(self, row: int, prompt: Sequence[int], seed: int) -> None:
            prompts.append(list(prompt))
            super().ask(row, prompt, seed)

    [episode] = roll_out(
        Household.from_config,
        EnvironmentConfig(),
        policy.dialogue,
        Noted(policy, 1),
        [Assignment(TASKS[0], 0, 0, 70)],
        replace(LIMITS, history=history),
    )
    rows = student_rows(episode, policy.dialogue)
    starts = [turn.start for turn in episode.turns]
    read = [rows[0].token_ids[:s] for s in starts] if history is None else [
        row.token_ids[: row.positions[0]] for row in rows
    ]  # fmt: skip
    assert prompts == [ids.tolist() for ids in read]


def test_worlds_in_worker_processes_play_the_same() -> None:
    there, _ = play(2, workers=2)
    here, _ = play(2)
    assert [episode.turns for episode in there] == [episode.turns for episode in here]


@pytest.mark.parametrize("setting", [{"rollout": {"engine": "vllm"}}, {"policy": {"scorer": "vllm"}}])
def test_a_missing_package_is_named_with_its_extra(
    setting: dict[str, dict[str, str]], policy_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_engine, "find_spec", lambda name: None)
    config = small_config(policy_path, {**setting, "sdar": {"divergence": "sampled", "gate": "entropy"}})
    with pytest.raises(EnvironmentMissingError, match=r"sdar\[vllm\].*sdar\[vllm-cpu\].*docs/engines\.md"):
        check_engine(config)


def test_the_scorer_is_refused_where_it_could_not_score(policy_path: Path) -> None:
    for divergence, gate in (("forward_kl", "gap"), ("sampled", "centred_gap")):
        whole = {"policy": {"scorer": "vllm"}, "sdar": {"divergence": divergence, "gate": gate}}
        refused = rf"divergence={divergence} with sdar\.gate={gate} needs those of the whole vocabulary"
        with pytest.raises(ConfigError, match=refused):
            check_engine(small_config(policy_path, whole))
    sampled = {"divergence": "sampled", "gate": "entropy"}
    warm = {"policy": {"scorer": "vllm"}, "sdar": sampled, "rollout": {"temperature": 0.7}}
    with pytest.raises(ConfigError, match=r"temperature 1 only, but rollout.temperature is 0\.7"):
        check_engine(small_config(policy_path, warm))


@pytest.mark.parametrize("stage", ["collect", "trial", "distill", "evaluate", "evaluate_with_skills"])
def test_the_engine_is_part_of_the_key_of_whatever_plays(stage: str, policy_path: Path) -> None:
    default = read_fields(small_config(policy_path), STAGES[stage])
    other = read_fields(small_config(policy_path, {"rollout": {"engine": "vllm"}}), STAGES[stage])
    assert default != other


def test_transformers_is_the_default(policy_path: Path) -> None:
    config = small_config(policy_path)
    check_engine(config)
    sampler = open_sampler(config, tiny_policy())
    assert isinstance(sampler, TransformersSampler)
    assert sampler.max_action_tokens == config.rollout.max_action_tokens
