"""Optimising a bfloat16 model by float32 copies of its weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from test_learner import GRPO, TEMPERATURE, model, rows

from sdar.rl.learner import Objective, new_optimiser, optimise
from sdar.rl.masters import Masters, master_copies, trained_weights
from sdar.schemas.config import UpdateConfig


def test_float32_weights_are_their_own_masters() -> None:
    net = model()
    net.get_output_embeddings().weight.requires_grad_(False)
    weights = trained_weights(net)
    assert len(weights) == len(list(net.parameters())) - 1
    assert all(one is other for one, other in zip(weights, master_copies(weights), strict=True))


def test_gradients_are_added_in_float32() -> None:
    # In bfloat16 256 + 1 is 256: eight additions of 1 would be lost.
    weight = torch.zeros(1, dtype=torch.bfloat16, requires_grad=True)
    masters = Masters([weight], master_copies([weight]))
    for value in [256.0, *[1.0] * 8]:
        weight.grad = torch.tensor([value], dtype=torch.bfloat16)
        masters.collect()
        assert weight.grad is None
    assert masters.masters[0].grad is not None
    assert masters.masters[0].grad.tolist() == [264.0]
    masters.clear()
    assert masters.masters[0].grad is None


def test_steps_too_small_for_bfloat16_add_up() -> None:
    # Numbers just above 1 are 2 ** -7 apart. Half of that, 0.0039, is passed after 40 steps of 1e-4.
    weight = torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    masters = Masters([weight], master_copies([weight]))
    optimiser = torch.optim.SGD(masters.masters, lr=1e-4)
    seen = []
    for _ in range(45):
        weight.grad = torch.tensor([-1.0], dtype=torch.bfloat16)
        masters.collect()
        optimiser.step()
        masters.round_back()
        masters.clear()
        seen.append(weight.item())
    assert seen[37] == 1.0
    assert seen[44] == 1 + 2**-7
    assert masters.masters[0].item() == pytest.approx(1.0045, abs=1e-5)


def test_a_bfloat16_step_is_about_that_of_float32() -> None:
    update, batch = UpdateConfig(learning_rate=1e-2), rows()
    exact, rough = model(), copy.deepcopy(model()).to(torch.bfloat16)
    reports = []
    for net in (exact, rough):
        objective = Objective(GRPO, update, TEMPERATURE)
        optimiser = new_optimiser(net, update)
        reports += optimise(net, optimiser, batch, [np.arange(5)], objective)
        assert {weight.dtype for weight in optimiser.param_groups[0]["params"]} == {torch.float32}
    assert reports[1].loss == pytest.approx(reports[0].loss, abs=0.05)
    assert reports[1].gradient_norm == pytest.approx(reports[0].gradient_norm, rel=0.1)
    before = model().get_output_embeddings().weight.detach()
    moves = [net.get_output_embeddings().weight.detach().float() - before for net in (exact, rough)]
    assert float(torch.nn.functional.cosine_similarity(*(move.flatten() for move in moves), dim=0)) > 0.9
