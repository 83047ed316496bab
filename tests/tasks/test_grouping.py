"""How the round's episodes are grouped: by the reward's needs, or by the teacher's when it was followed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from small_runs import LEARNING, SmallRun, inputs_of, learn, small_config

from sdar.rl.trust import FOLLOWED
from sdar.storage import Store
from sdar.tasks.collect import grouping
from sdar.tasks.registry import STAGES
from sdar.tasks.stage import StageInputs, read_fields


class TrustedPolicy:
    """A store that knows one policy: the one whose update trusted its teacher so far, or policy 0."""

    def __init__(self, artifact_id: str, trust: float | None) -> None:
        self._id = artifact_id
        self._summary = {} if trust is None else {"trust": trust}

    def artifact(self, artifact_id: str) -> SimpleNamespace:
        assert artifact_id == self._id
        return SimpleNamespace(summary=self._summary)


def given(
    inputs: StageInputs, trust: float | None, sdar: dict[str, Any] | None = None, **rollout: Any
) -> StageInputs:
    config = inputs.config.model_copy(
        update={
            "rollout": inputs.config.rollout.model_copy(update={"tasks": 16, "group_size": 8, **rollout}),
            "sdar": inputs.config.sdar.model_copy(update={"trust": "lead", **(sdar or {})}),
        }
    )
    store = cast(Store, TrustedPolicy(inputs.artifacts["policy"], trust))
    return replace(inputs, config=config, store=store)


@pytest.mark.parametrize(
    ("trust", "size", "tasks", "group"),
    [
        (None, 2, 16, 8),  # policy 0: nothing was tried yet
        (0.0, 2, 16, 8),
        (FOLLOWED - 0.01, 2, 16, 8),
        (FOLLOWED, 2, 64, 2),
        (1.0, 4, 32, 4),
        (1.0, 0, 16, 8),  # the setting is off
        (1.0, 256, 1, 256),  # more than the round has: one group all the same
    ],
)
def test_grouping_follows_the_trust_of_the_round_before(
    finished: SmallRun, tmp_path: Path, trust: float | None, size: int, tasks: int, group: int
) -> None:
    inputs = given(inputs_of(finished, "collect", 1, tmp_path), trust, trusted_group_size=size)
    found = grouping(inputs)
    assert (found.tasks, found.group_size) == (tasks, group)


@pytest.mark.parametrize("sdar", [{"trust": "always"}, {"coefficient": 0.0}])
def test_a_teacher_that_is_not_tried_leaves_the_groups_alone(
    finished: SmallRun, tmp_path: Path, sdar: dict[str, Any]
) -> None:
    """The update's figure is 1 then, for lambda is applied in full."""
    inputs = given(inputs_of(finished, "collect", 1, tmp_path), 1.0, sdar, trusted_group_size=2)
    assert grouping(inputs).group_size == 8
    assert read_fields(inputs.config, STAGES["collect"])["sdar.trust"] == "no trial"


def test_without_trust_the_run_is_that_of_plain_rewards_bit_for_bit(
    policy_path: Path, tmp_path: Path
) -> None:
    lead = {"trust": "lead", "trial_tasks": 2, "lead_rate": 10.0}
    following = small_config(policy_path, {"sdar": lead, "rollout": {"trusted_group_size": 1}})
    plain = learn(tmp_path / "plain", small_config(policy_path, {"sdar": {"coefficient": 0.0}}), 2)
    trusting = learn(tmp_path / "trusting", following, 2, ("trial", *LEARNING))
    # No episode of this policy succeeds, so the teacher is never followed, and groups keep their size.
    weights = [run.store.artifact(run.artifacts[2, "update"]).blob for run in (plain, trusting)]
    assert weights[0] == weights[1] is not None
