"""Advantages, the optimiser's state on disk, and the panel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import SmallRun, inputs_of, small_config

from sdar.policy.model import new_model
from sdar.rl.advantages import GroupAdvantages
from sdar.rl.learner import new_optimiser
from sdar.schemas.config import AdvantageConfig, EnvironmentConfig, UpdateConfig
from sdar.schemas.errors import CheckFailedError, ConfigError
from sdar.schemas.records import Episode, StopReason, Turn
from sdar.tasks import panel, retrieve
from sdar.tasks.stage import PolicyShelf, StageInputs
from sdar.tasks.trained import load_optimiser, save_optimiser
from sdar.tasks.update import episode_advantages


def episode(group: int, episode_return: float, valid: list[bool]) -> Episode:
    turns = tuple(
        Turn(index=i, observation="", action="", reward=0.0, valid=ok, start=1 + i, end=2 + i)
        for i, ok in enumerate(valid)
    )
    length = 1 + len(valid)
    return Episode(
        id=f"{group}-{episode_return}-{valid}",
        task_id="t",
        task_type="t",
        group=group,
        sample=0,
        seed=0,
        turns=turns,
        prompt_length=1,
        token_ids=np.zeros(length),
        action_mask=np.arange(length) > 0,
        sampler_logprobs=np.zeros(length),
        episode_return=episode_return,
        success=episode_return > 0,
        stop_reason=StopReason.MAX_STEPS,
    )


EPISODES = [
    episode(0, 1.0, [True, True]),
    episode(0, 0.0, [True, False]),
    episode(1, 0.0, [True, True, True, True]),
    episode(1, 0.0, [True, False, False, False]),
    episode(2, 0.0, []),
    episode(2, 0.0, [True]),
]


def advantages_of(config: AdvantageConfig) -> GroupAdvantages:
    returns = [episode.episode_return for episode in EPISODES]
    return episode_advantages(EPISODES, returns, [1] * len(EPISODES), config)


def test_without_a_penalty_only_returns_count() -> None:
    found = advantages_of(AdvantageConfig(normalize_std=False))
    assert found.advantages.tolist() == pytest.approx([0.5, -0.5, 0, 0, 0, 0])
    assert (found.zero_spread_groups, found.groups) == (2, 3)


def test_the_penalty_is_taken_off_before_the_group_statistics() -> None:
    # Returns less 0.4 times the invalid share: 1 and -0.2; 0 and -0.3; 0 and 0.
    config = AdvantageConfig(normalize_std=False, invalid_penalty=0.4)
    found = advantages_of(config)
    assert found.advantages.tolist() == pytest.approx([0.6, -0.6, 0.15, -0.15, 0, 0], abs=1e-6)
    # Two values are one unbiased deviation, the root of two halves, apart: 1 / sqrt 2 each.
    scaled = advantages_of(AdvantageConfig(invalid_penalty=0.4)).advantages.tolist()
    assert scaled == pytest.approx([0.5**0.5, -(0.5**0.5)] * 2 + [0, 0], abs=1e-5)


def small_step(model: torch.nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimiser.step()


def test_the_optimiser_goes_on_from_its_file_to_the_bit(tmp_path: Path) -> None:
    update = UpdateConfig(learning_rate=1e-2, weight_decay=0.1)
    model, twin = (new_model(16, 0, 8, 1, 2, 16) for _ in range(2))
    optimiser = new_optimiser(model, update)
    small_step(model, optimiser, 1)
    small_step(model, optimiser, 2)
    save_optimiser(optimiser, tmp_path / "optimiser.safetensors", model)
    twin.load_state_dict(model.state_dict())
    restored, fresh = new_optimiser(twin, update), new_model(16, 0, 8, 1, 2, 16)
    load_optimiser(restored, tmp_path / "optimiser.safetensors")
    fresh.load_state_dict(model.state_dict())
    small_step(model, optimiser, 3)
    small_step(twin, restored, 3)
    small_step(fresh, new_optimiser(fresh, update), 3)
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert one.equal(other)
    assert not all(one.equal(o) for one, o in zip(model.parameters(), fresh.parameters(), strict=True))


def test_an_optimiser_that_never_stepped_begins_afresh(tmp_path: Path) -> None:
    model = new_model(16, 0, 8, 1, 2, 16)
    save_optimiser(new_optimiser(model, UpdateConfig()), tmp_path / "optimiser.safetensors", model)
    restored = new_optimiser(model, UpdateConfig())
    load_optimiser(restored, tmp_path / "optimiser.safetensors")
    small_step(model, restored, 1)
    assert all(float(state["step"]) == 1 for state in restored.state.values())


def panel_inputs(tmp_path: Path, finished: SmallRun, changes: dict[str, dict[str, object]]) -> StageInputs:
    config = small_config(tmp_path, changes)
    return StageInputs(config, 0, 0, finished.store, PolicyShelf(finished.store, "cpu"), {}, {}, tmp_path)


def test_the_panel_holds_no_goal_that_is_trained_on(finished: SmallRun) -> None:
    from sdar.envs.household.environment import Household

    tasks = finished.store.tasks(finished.artifacts[0, "panel"])
    assert len({task.id for task in tasks}) == 8
    trained = {task.goal for task in Household().tasks("train")}
    assert not trained & {task.goal for task in tasks}


def test_a_panel_of_training_tasks_is_refused(tmp_path: Path, finished: SmallRun) -> None:
    inputs = panel_inputs(tmp_path, finished, {"env": {"panel_split": "train"}})
    with pytest.raises(ConfigError, match=r"must not be trained on\. Set env\.panel_split=unseen"):
        panel.run(inputs)


def test_a_panel_larger_than_its_split_is_refused(tmp_path: Path, finished: SmallRun) -> None:
    inputs = panel_inputs(tmp_path, finished, {"evaluation": {"panel_size": 361}})
    with pytest.raises(ConfigError, match=r"has 360 tasks; set evaluation\.panel_size=360 or less"):
        panel.run(inputs)


def test_a_context_that_does_not_fit_the_window_is_refused(finished: SmallRun, tmp_path: Path) -> None:
    given = inputs_of(finished, "retrieve", 1, tmp_path)
    config = given.config.model_copy(
        update={"policy": given.config.policy.model_copy(update={"max_tokens": 60})}
    )
    small = StageInputs(
        config, 1, given.seed, given.store, given.shelf, given.artifacts, given.blobs, tmp_path
    )
    with pytest.raises(CheckFailedError, match=r"context window 60; raise policy.max_tokens or lower"):
        retrieve.run(small)


def test_contexts_keep_their_audit(finished: SmallRun) -> None:
    contexts = finished.store.contexts(finished.artifacts[1, "retrieve"])
    goals = {task.id: task.goal for task in finished.store.tasks(finished.artifacts[1, "collect"])}
    episodes = finished.store.episodes(finished.artifacts[1, "collect"])
    for context, each in zip(contexts, episodes, strict=True):
        assert context.episode_id == each.id
        assert context.query == goals[each.task_id]
        assert 0 < context.tokens_used <= context.budget
        assert sum(skill.tokens for skill in context.skills) == context.tokens_used
    assert EnvironmentConfig().panel_split == "unseen"
