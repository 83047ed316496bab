"""Policies on disk and the warm start."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tiny_policy import save_tiny_policy

from sdar.policy.model import (
    Policy,
    load_policy,
    load_weights,
    new_model,
    policy_folder,
    policy_id,
    save_policy,
    save_weights,
)
from sdar.policy.scoring import Row
from sdar.policy.warmstart import Lesson, WarmStartProgress, rate_share, warm_start
from sdar.schemas.config import WarmStartConfig
from sdar.schemas.errors import CheckFailedError, InputError


def test_save_and_load_give_the_same_policy(policy: Policy, tmp_path: Path) -> None:
    first = save_tiny_policy(tmp_path / "first")
    loaded = load_policy(first)
    save_policy(tmp_path / "second", loaded.model, loaded.dialogue)
    assert policy_id(first) == policy_id(tmp_path / "second")
    assert loaded.dialogue.fingerprint == load_policy(tmp_path / "second").dialogue.fingerprint
    assert loaded.parameters == policy.parameters
    assert not loaded.model.training
    ids = torch.tensor([[1, 50, 700, 3]])
    with torch.inference_mode():
        assert loaded.model(input_ids=ids).logits.equal(policy.model(input_ids=ids).logits)


def test_the_policy_id_sees_weights_and_tokenizer(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    before = policy_id(folder)
    weights = load_weights(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] + 1e-3
    save_weights(folder / "model.safetensors", weights)
    changed = policy_id(folder)
    assert changed != before
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    assert policy_id(folder) not in (before, changed)


def test_a_policy_is_saved_without_pickle(tmp_path: Path) -> None:
    names = {path.name for path in save_tiny_policy(tmp_path / "policy").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]


def test_the_seed_alone_decides_the_weights() -> None:
    def weights(seed: int) -> torch.Tensor:
        return torch.nn.utils.parameters_to_vector(new_model(64, seed, 16, 1, 2, 32).parameters())

    torch.manual_seed(1)
    first = weights(5)
    torch.manual_seed(2)
    drawn = torch.rand(1)
    assert weights(5).equal(first)
    assert not weights(6).equal(first)
    torch.manual_seed(2)
    assert torch.rand(1).equal(drawn)  # making a model leaves the global generator alone


def test_a_folder_that_is_no_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"has no model.safetensors, tokenizer.json; .*policy.path"):
        policy_folder(str(tmp_path))


def lesson(ids: list[int], weights: list[float]) -> Lesson:
    """All tokens but the first are scored, with these weights."""
    row = Row(np.array(ids, dtype=np.int32), np.arange(1, len(ids), dtype=np.int32))
    return Lesson(row, np.array(weights, dtype=np.float32))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_warm_start_learns_by_weight(optimizer: Literal["adamw", "muon"]) -> None:
    model = new_model(32, 0, 16, 1, 2, 32)
    progress: list[WarmStartProgress] = []
    batch = [lesson([1, 2, 3, 4], [1.0, 0.0, 1.0]), lesson([5, 6, 7], [0.2, 1.0])]
    settings = WarmStartConfig(steps=60, learning_rate=3e-2, optimizer=optimizer)
    warm_start(model, lambda step: batch, settings, progress.append)
    assert progress[0].loss == pytest.approx(np.log(32), abs=0.2)
    assert progress[-1].loss < 0.1
    assert [each.step for each in progress] == list(range(1, 61))
    assert not model.training
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits[0].log_softmax(-1)
    assert float(logprobs[0, 2]) > -0.5
    assert float(logprobs[2, 4]) > -0.5
    assert float(logprobs[1, 3]) < -1.0  # weight 0: not to be learnt


def test_the_reported_loss_is_that_of_the_actions() -> None:
    model = new_model(32, 0, 16, 1, 2, 32)
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([[1, 2, 3, 4]])).logits[0].log_softmax(-1)
    progress: list[WarmStartProgress] = []
    warm_start(
        model, lambda step: [lesson([1, 2, 3, 4], [1.0, 0.2, 1.0])], WarmStartConfig(steps=1), progress.append
    )
    assert progress[0].loss == pytest.approx(-float(logprobs[0, 2] + logprobs[2, 4]) / 2, abs=1e-5)


def test_muon_moves_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    def moved(optimizer: Literal["adamw", "muon"], **rates: float) -> set[str]:
        model = new_model(32, 0, 16, 1, 2, 32)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        settings = WarmStartConfig(steps=1, optimizer=optimizer, **rates)
        warm_start(model, lambda step: [lesson([1, 2, 3], [1.0, 1.0])], settings, lambda progress: None)
        return {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}

    everything = moved("adamw")
    # Rates too small to show in float32 leave the other optimiser's weights as they were.
    matrices = moved("muon", learning_rate=1e-30)
    others = moved("muon", muon_rate=1e-30)
    assert matrices | others == everything
    assert not matrices & others
    assert all(".layers." in name and name.endswith("proj.weight") for name in matrices)
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= others


def test_a_warm_start_that_blows_up_says_so() -> None:
    model = new_model(32, 0, 16, 1, 2, 32)
    with torch.no_grad():
        model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(CheckFailedError, match="loss is nan at step 0; lower the learning rate"):
        warm_start(
            model, lambda step: [lesson([1, 2], [1.0])], WarmStartConfig(steps=2), lambda progress: None
        )


def test_the_rate_rises_then_falls_to_a_tenth() -> None:
    rates = [rate_share(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[5] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1)
    assert rates[5:] == sorted(rates[5:], reverse=True)
