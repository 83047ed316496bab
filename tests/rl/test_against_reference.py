"""The package against `reference`, which shares no code with it, on random inputs.

Tolerances: values 1e-11 (both float64), gradients 1e-6 of the largest, which is what central differences
with a step of 1e-5 are good for, advantages of tokens 1e-6 because they leave in float32.
"""

from __future__ import annotations

from math import log
from typing import get_args

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sdar.rl.advantages import group_advantages
from sdar.rl.credit import CreditInputs, token_advantages
from sdar.rl.losses import LossInputs, sdar_loss
from sdar.schemas.config import AdvantageConfig, Credit, Divergence, Gate, SdarConfig, UpdateConfig

TOKENS, VOCABULARY = 7, 6
AGGREGATIONS = ("token_mean", "sequence_mean", "sequence_sum")


def random_batch(seed: int) -> tuple[reference.Batch, reference.Array]:
    """Return seven tokens in rows of 3, 2, 2 and 0 tokens, and the student's logits."""
    draw = np.random.default_rng(seed)
    # Every third batch is extreme enough for the clamp of k3 to take effect.
    logits = draw.normal(size=(TOKENS, VOCABULARY)) * (5.0 if seed % 3 == 2 else 1.0)
    tokens = draw.integers(VOCABULARY, size=TOKENS)
    logp = np.log(reference.softmax(logits))[np.arange(TOKENS), tokens]
    batch = reference.Batch(
        teacher=draw.normal(size=(TOKENS, VOCABULARY)) * (5.0 if seed % 3 == 2 else 1.0),
        tokens=tokens,
        old=logp + 0.3 * draw.normal(size=TOKENS),
        reference=logp + 0.5 * draw.normal(size=TOKENS),
        advantages=draw.normal(size=TOKENS),
        row=np.array([0, 0, 0, 1, 1, 2, 2]),
        rows=4,
    )
    return batch, logits


def as_inputs(batch: reference.Batch, logits: Tensor) -> LossInputs:
    student = logits.log_softmax(-1)
    teacher = torch.from_numpy(batch.teacher).log_softmax(-1)
    tokens = torch.from_numpy(batch.tokens)[:, None]
    return LossInputs(
        logp=student.gather(1, tokens)[:, 0],
        logp_old=torch.from_numpy(batch.old),
        logp_teacher=teacher.gather(1, tokens)[:, 0],
        logp_reference=torch.from_numpy(batch.reference),
        student_logprobs=student,
        teacher_logprobs=teacher,
        entropy=-(student.exp() * student).sum(-1) / log(VOCABULARY),
        advantages=torch.from_numpy(batch.advantages),
        row=torch.from_numpy(batch.row),
        rows=batch.rows,
    )


def compare(seed: int, sdar: SdarConfig, update: UpdateConfig) -> None:
    batch, logits = random_batch(seed)
    live = torch.from_numpy(logits).requires_grad_()
    loss = sdar_loss(as_inputs(batch, live), sdar, update).loss
    (gradient,) = torch.autograd.grad(loss, live)
    value = reference.total(batch, logits, sdar, update)
    assert float(loss.detach()) == pytest.approx(value, rel=1e-11, abs=1e-11)
    expected = reference.gradient(batch, logits, sdar, update)
    scale = float(np.abs(expected).max())
    assert scale > 1e-3
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=1e-6 * scale)


def settings_of(seed: int, how: str) -> UpdateConfig:
    return UpdateConfig.model_validate(
        {
            "policy_coefficient": 0.7,
            "policy_loss": "likelihood" if seed % 4 == 3 else "clipped",
            "clip_low": 0.1,
            "clip_high": 0.25,
            "kl_coefficient": 0.05,
            "entropy_coefficient": 0.02,
            "aggregation": how,
        }
    )


@pytest.mark.parametrize("name", get_args(Divergence))
@pytest.mark.parametrize("gate", get_args(Gate))
def test_total_loss_and_gradient(gate: Gate, name: Divergence) -> None:
    for seed, how in enumerate(AGGREGATIONS):
        place = 6 * get_args(Gate).index(gate) + get_args(Divergence).index(name) + seed
        sdar = SdarConfig(gate=gate, beta=3.0, divergence=name, coefficient=0.4, jsd_weight=0.3)
        compare(place, sdar, settings_of(place, how))


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl", "jsd"])
@pytest.mark.parametrize("k", [1, 3, VOCABULARY - 1, VOCABULARY, VOCABULARY + 3])
def test_top_k_with_its_tail(k: int, name: Divergence) -> None:
    for seed in range(3):
        sdar = SdarConfig(gate="none", divergence=name, coefficient=2.0, top_k=k, jsd_weight=0.7)
        compare(seed, sdar, UpdateConfig(policy_coefficient=0.0))


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_maximum_likelihood(how: str) -> None:
    compare(3, SdarConfig(coefficient=0.0), settings_of(3, how))


@given(
    st.lists(
        st.tuples(st.floats(-5, 5), st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=20
    ),
    st.booleans(),
    st.booleans(),
)  # fmt: skip
def test_group_advantages(
    episodes: list[tuple[float, int, int]], normalize_std: bool, weighted: bool
) -> None:
    # Thousandths: returns that are neither equal nor apart by more than rounding have no one answer.
    returns = [round(value, 3) for value, _, _ in episodes]
    groups = [group for _, group, _ in episodes]
    weights = [count for _, _, count in episodes] if weighted else None
    found = group_advantages(
        torch.tensor(returns, dtype=torch.float64),
        torch.tensor(groups),
        normalize_std,
        weights=torch.tensor(weights) if weights else None,
    )
    expected = reference.group_advantages(returns, groups, normalize_std, weights)
    np.testing.assert_allclose(found.advantages.numpy(), expected, rtol=1e-9, atol=1e-9)


def random_stories(seed: int) -> list[reference.Story]:
    """Return twelve episodes in three groups; few observations, so that many steps share theirs."""
    draw = np.random.default_rng(seed)
    stories = []
    for index in range(12):
        turns = int(draw.integers(1, 6))
        stories.append(
            reference.Story(
                advantage=0.0 if index == 5 else float(draw.normal()),
                group=index % 3,
                success_rate=float(draw.choice([0.0, 0.25, 1.0])),
                observations=[f"room {place}" for place in draw.integers(0, 4, turns)],
                rewards=[float(value) for value in draw.choice([0.0, 1.0, -0.5], turns)],
                gaps=[
                    [float(np.float32(value)) for value in 2 * draw.normal(size=int(draw.integers(0, 4)))]
                    for _ in range(turns)
                ],
            )
        )
    return stories


def as_credit(story: reference.Story) -> CreditInputs:
    turn = [index for index, gaps in enumerate(story.gaps) for _ in gaps]
    return CreditInputs(
        advantage=story.advantage,
        group=story.group,
        success_rate=story.success_rate,
        observations=tuple(story.observations),
        rewards=np.array(story.rewards),
        turn=np.array(turn, dtype=np.int32),
        gap=np.array([gap for gaps in story.gaps for gap in gaps], dtype=np.float32),
    )


@settings(max_examples=60)
@given(
    st.sampled_from(get_args(Credit)), st.integers(0, 10_000), st.integers(1, 12), st.booleans()
)  # fmt: skip
def test_credits(credit: Credit, seed: int, round_number: int, normalize_std: bool) -> None:
    config = AdvantageConfig(
        credit=credit,
        credit_weight=0.7,
        discount=0.9,
        credit_share=0.6,
        credit_rounds=10 * (seed % 2),
        credit_clip=0.3,
        normalize_std=normalize_std,
    )
    stories = random_stories(seed)
    found = token_advantages([as_credit(story) for story in stories], config, round_number)
    expected = reference.credits(stories, config, round_number)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, [value for turn in theirs for value in turn], rtol=1e-6, atol=1e-6)
