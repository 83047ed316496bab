"""Every registered method trains for two rounds on real episodes of the shipped starter."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from small_runs import run_all

from sdar.policy.model import load_weights
from sdar.rl.methods import METHODS, method
from sdar.schemas.resolve import resolve
from sdar.storage import Store
from sdar.tasks.registry import policy_place

SMALL = (
    "policy.threads=1",
    "rollout.tasks=4",
    "rollout.group_size=4",
    "sdar.trial_tasks=8",
    "evaluation.panel_size=8",
    "evaluation.every=2",
    "stop.target=1.0",
    "stop.floor=0.0",
)
# With skills in its prompt the starter solves nearly everything, and groups that all succeed teach nothing.
HARDER = {"skill_grpo": ("rollout.temperature=1.8",)}


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_two_rounds(name: str, tmp_path: Path) -> None:
    trains = "stop.rounds" not in method(name).settings
    known = {each: dict(entry.settings) for each, entry in METHODS.items()}
    rounds = ("stop.rounds=2",) if trains else ()
    config = resolve(known, None, [f"method={name}", *SMALL, *rounds, *HARDER.get(name, ())]).config
    run = run_all(tmp_path / "store", config)
    assert run.session.verdict is not None
    assert run.session.verdict.stop
    assert run.store.verify() == []
    last = max(number for number, _ in run.artifacts)
    assert last == (2 if trains else 0)
    weights = [_weights(run.store, run.artifacts[policy_place(number)]) for number in range(last + 1)]
    for before, after in pairwise(weights):
        assert all(torch.isfinite(value).all() for value in after.values())
        assert any(not value.equal(before[key]) for key, value in after.items())
    for number in range(1, last + 1):
        reports = run.store.updates(run.artifacts[number, "update"])
        assert reports
        assert not any(report.skipped for report in reports)
        assert sum(report.gradient_norm for report in reports) > 0


def _weights(store: Store, artifact: str) -> dict[str, torch.Tensor]:
    blob = store.artifact(artifact).blob
    assert blob is not None
    return load_weights(store.blob(blob) / "model.safetensors")
