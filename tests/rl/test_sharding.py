"""Shares of an update: dealing out rows, and that the shares add up to what one process computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from test_learner import GRPO, SWITCHES, TEMPERATURE, VOCABULARY, model, rows, vector
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor

from sdar.policy.memory import TokenBudget
from sdar.policy.scoring import pack
from sdar.rl import learner
from sdar.rl.learner import Objective, new_optimiser, optimise
from sdar.rl.sharding import ALONE, Rank, deal, placed_like, shard, whole
from sdar.schemas.config import SdarConfig, UpdateConfig

HEAD = torch.from_numpy(np.random.default_rng(5).normal(size=(VOCABULARY, 8)).astype(np.float32))


def test_rows_are_dealt_out_longest_first() -> None:
    lengths = [5, 9, 7, 3, 8]  # longest first: rows 1, 4, 2, 0, 3
    assert deal(lengths, 100, Rank(0, 2)) == [[1, 2, 3]]
    assert deal(lengths, 100, Rank(1, 2)) == [[4, 0]]
    # 16 padded tokens: 9 alone, 7 with 3; but 8 with 5, so rank 1 runs a second pass over nothing.
    assert deal(lengths, 16, Rank(0, 2)) == [[1], [2, 3]]
    assert deal(lengths, 16, Rank(1, 2)) == [[4, 0], []]
    assert deal([4], 16, Rank(1, 2)) == [[]]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 200), st.integers(1, 5))
def test_every_row_is_dealt_out_once_in_as_many_passes(lengths: list[int], tokens: int, count: int) -> None:
    shares = [deal(lengths, tokens, Rank(number, count)) for number in range(count)]
    assert sorted(row for share in shares for passed in share for row in passed) == list(range(len(lengths)))
    assert len({len(share) for share in shares}) == 1
    sizes = [sum(len(passed) for passed in share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    for passed in (passed for share in shares for passed in share if len(passed) > 1):
        assert len(passed) * max(lengths[row] for row in passed) <= tokens
    assert deal(lengths, tokens, ALONE) == pack(lengths, tokens)


@pytest.mark.parametrize(("sdar", "update"), SWITCHES)
def test_the_gradients_of_all_shares_add_up(
    sdar: SdarConfig, update: UpdateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five rows for three ranks, of which one runs a pass over nothing; each in its own model here."""
    monkeypatch.setattr(learner, "from_all", lambda outputs, *_: outputs)
    free = update.model_copy(update={"max_gradient_norm": 1e9})
    batch = rows(hidden=8)

    def gradient(rank: Rank) -> tuple[torch.Tensor, float, int]:
        net = model()
        stochastic = torch.optim.SGD(net.parameters(), lr=1.0)
        objective = Objective(sdar, free, TEMPERATURE, HEAD)
        report = optimise(net, stochastic, batch, [np.arange(5)], objective, TokenBudget(14), rank)[0]
        return vector(model()) - vector(net), report.loss, report.tokens

    expected, loss, tokens = gradient(ALONE)
    assert deal([len(row.row.token_ids) for row in batch], 14, Rank(2, 3)) == [[2], []]
    shares = [gradient(Rank(number, 3)) for number in range(3)]
    scale = float(expected.abs().max())
    assert float((sum(share[0] for share in shares) - expected).abs().max()) / scale < 1e-5
    assert sum(share[1] for share in shares) == pytest.approx(loss, rel=1e-5, abs=1e-6)
    assert sum(share[2] for share in shares) == tokens == 20


def test_a_pass_over_nothing_adds_exactly_nothing() -> None:
    net, each = model(), rows(hidden=8)[0]
    objective = Objective(SdarConfig(), UpdateConfig(kl_coefficient=0.1), TEMPERATURE, HEAD)
    stochastic = torch.optim.SGD(net.parameters(), lr=1.0)
    nothing = learner._nothing(dataclasses.replace(each, taught=False))
    for packed in learner.forward_rows(net, [nothing.row], 64):
        inputs = learner._flat_inputs(packed, [nothing])
        masters = learner.Masters(list(net.parameters()), stochastic.param_groups[0]["params"])
        outputs = learner._backward(net, masters, inputs, objective, learner.AggregationWeights(7, 2))
    assert [float(output.loss) for output in outputs] == [0.0]
    gradients = [weight.grad for weight in net.parameters()]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """A world of one rank, which is this process."""
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "meeting"), 1), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("dtype", "tied"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)]
)
def test_a_sharded_model_learns_what_a_whole_one_learns(
    mesh: DeviceMesh, dtype: torch.dtype, tied: bool
) -> None:
    update = UpdateConfig(learning_rate=1e-2, kl_coefficient=0.1, weight_decay=0.1, max_gradient_norm=0.3)
    objective = Objective(SdarConfig(), update, TEMPERATURE, HEAD)
    steps = [np.arange(5), np.array([3]), np.array([0, 2, 4])]
    found = []
    for sharded in (False, True):
        net = model().to(dtype)
        if tied:
            net.get_output_embeddings().weight = net.get_input_embeddings().weight
        if sharded:
            shard(net, mesh)
        assert len(list(net.parameters())) == 14 - tied
        optimiser = new_optimiser(net, update)
        reports = optimise(net, optimiser, rows(hidden=8), steps, objective, TokenBudget(14))
        masters = optimiser.param_groups[0]["params"]
        assert {isinstance(each, DTensor) for each in (*net.parameters(), *masters)} == {sharded}
        weights = torch.cat([whole(weight).detach().float().flatten() for weight in net.parameters()])
        moments = torch.cat([whole(optimiser.state[each]["exp_avg"]).flatten() for each in masters])
        found.append((weights, moments, [report.loss for report in reports]))
    (one, one_moments, one_losses), (other, other_moments, other_losses) = found
    # In bfloat16 a step is at most a digit of a weight near 1.
    tolerance = 1e-5 if dtype == torch.float32 else 2**-7
    assert float((one - other).abs().max()) <= tolerance
    assert float((one_moments - other_moments).abs().max() / one_moments.abs().max()) <= tolerance
    assert other_losses == pytest.approx(one_losses, rel=5 * tolerance)
    first = next(model().parameters()).detach().flatten()
    assert float((one[: len(first)] - first).abs().max()) > 5e-3


def test_a_tensor_is_placed_like_its_weight(mesh: DeviceMesh) -> None:
    net, plain = model(), torch.arange(6.0).reshape(3, 2)
    assert placed_like(plain, torch.zeros(3, 2)).equal(plain)
    shard(net, mesh)
    weight = next(net.parameters())
    value = torch.arange(float(weight.numel())).reshape(weight.shape)
    before = value.clone()
    placed = placed_like(value, weight)
    assert isinstance(placed, DTensor)
    assert placed.placements == weight.placements  # type: ignore[attr-defined]
    placed.mul_(2)  # its own memory, not that of the file it was read from
    assert whole(placed).equal(value * 2)
    assert value.equal(before)


def test_a_gradient_that_is_not_finite_skips_the_step_of_a_sharded_model(mesh: DeviceMesh) -> None:
    net, update, batch = model(), UpdateConfig(learning_rate=1e-2), rows()
    batch[0] = dataclasses.replace(batch[0], advantages=batch[0].advantages * np.float32("nan"))
    shard(net, mesh)
    optimiser = new_optimiser(net, update)
    objective = Objective(GRPO, update, TEMPERATURE)
    reports = optimise(net, optimiser, batch, [np.array([0, 1]), np.array([2, 3, 4])], objective)
    assert [report.skipped for report in reports] == [True, False]
    assert all(whole(weight).isfinite().all() for weight in net.parameters())
