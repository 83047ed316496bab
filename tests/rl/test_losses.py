from __future__ import annotations

from dataclasses import replace
from math import log
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sdar.rl.losses import (
    Aggregation,
    AggregationWeights,
    LossInputs,
    aggregate,
    clipped_policy_term,
    sdar_loss,
)
from sdar.schemas.config import Divergence, SdarConfig, UpdateConfig

AGGREGATIONS: tuple[Aggregation, ...] = ("token_mean", "sequence_mean", "sequence_sum")
DIVERGENCES: tuple[Divergence, ...] = get_args(Divergence)
ALL_PARTS = UpdateConfig(policy_coefficient=0.7, kl_coefficient=0.05, entropy_coefficient=0.02)
VOCABULARY = 5


def inputs_from(logits: Tensor, row: list[int], rows: int, seed: int = 0) -> LossInputs:
    """Return random but consistent inputs: all student figures come from `logits` [N, V]."""
    n, vocabulary = logits.shape
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    tokens = torch.randint(vocabulary, (n, 1), generator=draw)
    student = logits.log_softmax(-1)
    teacher = noise(n, vocabulary).log_softmax(-1)
    logp = student.gather(1, tokens)[:, 0]
    return LossInputs(
        logp=logp,
        logp_old=logp.detach() + 0.3 * noise(n),
        logp_teacher=teacher.gather(1, tokens)[:, 0],
        logp_reference=logp.detach() + 0.3 * noise(n),
        student_logprobs=student,
        teacher_logprobs=teacher,
        entropy=-(student.exp() * student).sum(-1) / log(vocabulary),
        advantages=noise(n),
        row=torch.tensor(row, dtype=torch.int64),
        rows=rows,
    )


def random_logits(n: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, VOCABULARY, dtype=torch.float64, generator=draw).requires_grad_()


def test_aggregations_hand_worked() -> None:
    # Rows 1 2 3 | 4 5 | 6, and a fourth row without action tokens, which counts as a row.
    values, row = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), torch.tensor([0, 0, 0, 1, 1, 2])
    assert float(aggregate(values, row, 4, "token_mean", 6, 4)) == pytest.approx(21 / 6)
    assert float(aggregate(values, row, 4, "sequence_mean", 6, 4)) == pytest.approx((2 + 4.5 + 6) / 4)
    lengths = torch.tensor([3, 2, 1, 0])
    parts = [slice(0, 2), slice(2, 6)]  # cuts through a row
    split = [aggregate(values[p], row[p], 4, "sequence_mean", 6, 4, lengths) for p in parts]
    assert float(sum(split)) == pytest.approx((2 + 4.5 + 6) / 4)
    assert float(aggregate(values, row, 4, "sequence_sum", 6, 4)) == pytest.approx(21 / 4)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.5, 1.0, -1.2, True),  # min(1.5, 1.2): more of a good action is no longer rewarded
        (0.5, 1.0, -0.5, False),  # min(0.5, 0.8)
        (1.5, -1.0, 1.5, False),  # min(-1.5, -1.2)
        (0.5, -1.0, 0.8, True),  # min(-0.5, -0.8): less of a bad action is no longer rewarded
        (1.1, 2.0, -2.2, False),  # inside the clip
    ],
)
def test_clipped_ratio_on_both_signs(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    live = torch.tensor([ratio], requires_grad=True)
    term, took_effect = clipped_policy_term(live, torch.tensor([advantage]), 0.2, 0.2)
    (gradient,) = torch.autograd.grad(term.sum(), live)
    assert float(term.detach()) == pytest.approx(loss, abs=1e-6)
    assert bool(took_effect[0]) is clipped
    assert float(gradient) == pytest.approx(0.0 if clipped else -advantage)


def test_clip_sides_are_not_mixed_up() -> None:
    ratio, advantages = torch.tensor([1.5, 0.5]), torch.tensor([1.0, -1.0])
    term, _ = clipped_policy_term(ratio, advantages, clip_low=0.1, clip_high=0.3)
    torch.testing.assert_close(term, torch.tensor([-1.3, 0.9]))


def test_total_loss_hand_worked() -> None:
    logp = torch.tensor([log(0.5), log(0.25)], dtype=torch.float64, requires_grad=True)
    half = torch.full((2,), log(0.5), dtype=torch.float64)
    inputs = LossInputs(
        logp=logp,
        logp_old=half,
        logp_teacher=half,
        logp_reference=half,
        student_logprobs=None,
        teacher_logprobs=None,
        entropy=torch.tensor([0.5, 0.25], dtype=torch.float64),
        advantages=torch.tensor([1.0, -1.0], dtype=torch.float64),
        row=torch.tensor([0, 1]),
        rows=2,
    )
    sdar = SdarConfig(gate="gap", beta=1.0, divergence="sampled", coefficient=0.1)
    out = sdar_loss(inputs, sdar, UpdateConfig(kl_coefficient=0.01, entropy_coefficient=0.1))
    # Ratios 1 and 0.5: policy terms -1 and 0.8 (clipped), mean -0.1.
    assert float(out.policy_loss) == pytest.approx(-0.1)
    # Gaps 0 and ln 2, gates sigma(0) = 1/2 and sigma(ln 2) = 2/3: mean of 0 and 2/3 ln 2, times 0.1.
    assert out.gap.tolist() == pytest.approx([0.0, log(2)])
    assert out.gate.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert float(out.distillation) == pytest.approx(0.1 * log(2) / 3)
    # k3 0 and 1 - ln 2, times 0.01; entropy mean 0.375, times 0.1.
    assert float(out.kl) == pytest.approx(0.01 * (1 - log(2)) / 2)
    # From old to new: k3 of log-ratios 0 and -ln 2 is 0 and 1/2 + ln 2 - 1.
    assert float(out.drift) == pytest.approx((log(2) - 1 / 2) / 2)
    assert float(out.entropy) == pytest.approx(0.375)
    assert float(out.loss.detach()) == pytest.approx(-0.1 + 0.1 * log(2) / 3 + 0.005 * (1 - log(2)) - 0.0375)
    assert (float(out.clip_share), float(out.ratio_mean)) == pytest.approx((0.5, 0.75))


def test_reported_shares_are_token_means_whatever_the_aggregation() -> None:
    inputs = inputs_from(random_logits(24, 0), [0] * 18 + [1] * 6, 2)
    by_token, by_row = (
        sdar_loss(inputs, SdarConfig(), UpdateConfig(aggregation=how))
        for how in ("token_mean", "sequence_sum")
    )
    for field in ("entropy", "clip_share", "ratio_mean"):
        assert float(getattr(by_row, field)) == float(getattr(by_token, field)) > 0
    assert float(by_row.entropy) == pytest.approx(float(inputs.entropy.detach().mean()))


def test_published_term_has_gradient_minus_gate() -> None:
    inputs = inputs_from(random_logits(6, 1), [0, 0, 1, 1, 2, 2], 3)
    logp = inputs.logp.detach().requires_grad_()
    sdar = SdarConfig(gate="gap", divergence="sampled", coefficient=0.1)
    out = sdar_loss(replace(inputs, logp=logp), sdar, UpdateConfig(policy_coefficient=0.0))
    (gradient,) = torch.autograd.grad(out.loss, logp)
    torch.testing.assert_close(gradient, -0.1 * out.gate / 6)


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("name", ["sampled", "reverse_kl", "forward_kl", "jsd", "k3"])
def test_gradient_of_the_total_loss_against_finite_differences(name: Divergence, how: Aggregation) -> None:
    # The gate is held constant by definition, so a gate that does not move is used here.
    fixed = inputs_from(random_logits(5, 2), [0, 0, 1, 1, 1], 2)
    tokens = torch.tensor([[0], [3], [1], [4], [2]])
    old = fixed.logp_old.detach()

    def loss(logits: Tensor) -> Tensor:
        student = logits.log_softmax(-1)
        live = replace(
            fixed,
            logp=student.gather(1, tokens)[:, 0],
            logp_old=old,
            student_logprobs=student,
            entropy=-(student.exp() * student).sum(-1) / log(VOCABULARY),
        )
        update = ALL_PARTS.model_copy(update={"aggregation": how})
        return sdar_loss(live, SdarConfig(gate="none", divergence=name), update).loss

    assert torch.autograd.gradcheck(loss, (random_logits(5, 3),))


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
    st.sampled_from(AGGREGATIONS),
    st.sampled_from(DIVERGENCES),
    st.integers(0, 1000),
)
def test_micro_batches_sum_to_the_mini_batch(
    lengths: list[int], parts: list[int], how: Aggregation, name: Divergence, seed: int
) -> None:
    row = [index for index, length in enumerate(lengths) for _ in range(length)]
    whole_logits = random_logits(len(row), seed)
    whole_inputs = inputs_from(whole_logits, row, len(lengths), seed)
    update = ALL_PARTS.model_copy(update={"aggregation": how})
    sdar = SdarConfig(divergence=name)
    whole = sdar_loss(whole_inputs, sdar, update)
    weights = AggregationWeights(tokens=len(row), rows=len(lengths))
    micro = [
        sdar_loss(_rows_of(whole_inputs, parts[: len(lengths)], part), sdar, update, weights)
        for part in range(3)
    ]
    fields = ("loss", "policy_loss", "distillation", "kl", "drift", "entropy", "clip_share", "ratio_mean")
    for field in fields:
        total = sum(float(getattr(out, field).detach()) for out in micro)
        assert total == pytest.approx(float(getattr(whole, field).detach()), abs=1e-10)
    (expected,) = torch.autograd.grad(whole.loss, whole_logits, retain_graph=True)
    (gradient,) = torch.autograd.grad(torch.stack([out.loss for out in micro]).sum(), whole_logits)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def _rows_of(inputs: LossInputs, part_of_row: list[int], part: int) -> LossInputs:
    chosen = [row for row, of in enumerate(part_of_row) if of == part]
    keep = torch.tensor([int(row) in chosen for row in inputs.row], dtype=torch.bool)
    tensors = {
        name: value[keep]
        for name, value in vars(inputs).items()
        if isinstance(value, Tensor) and name != "row"
    }
    row = torch.tensor([chosen.index(int(row)) for row in inputs.row[keep]], dtype=torch.int64)
    return LossInputs(**tensors, row=row, rows=len(chosen))


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_no_action_tokens_give_zero_and_a_zero_gradient(name: Divergence, how: Aggregation) -> None:
    logits = random_logits(0, 0)
    update = ALL_PARTS.model_copy(update={"aggregation": how})
    out = sdar_loss(inputs_from(logits, [], 2), SdarConfig(divergence=name), update)
    (gradient,) = torch.autograd.grad(out.loss, logits)
    assert gradient.shape == (0, VOCABULARY)
    assert float(out.loss.detach()) == 0.0
    assert [float(x) for x in (out.entropy, out.clip_share, out.ratio_mean)] == [0.0, 0.0, 0.0]


def test_all_coefficients_zero_still_has_a_gradient_path() -> None:
    logits = random_logits(4, 0)
    out = sdar_loss(
        inputs_from(logits, [0, 0, 1, 1], 2),
        SdarConfig(coefficient=0.0),
        UpdateConfig(policy_coefficient=0.0),
    )
    (gradient,) = torch.autograd.grad(out.loss, logits)
    assert (float(out.loss.detach()), float(gradient.abs().max())) == (0.0, 0.0)


def test_parts_with_coefficient_zero_need_no_inputs() -> None:
    inputs = inputs_from(random_logits(4, 0), [0, 0, 1, 1], 2)
    bare = replace(inputs, logp_reference=None, student_logprobs=None, teacher_logprobs=None)
    out = sdar_loss(bare, SdarConfig(coefficient=0.0), UpdateConfig())
    assert float(out.loss.detach()) == float(out.policy_loss) != 0.0


def test_a_kl_term_without_reference_is_refused() -> None:
    inputs = inputs_from(random_logits(4, 0), [0, 0, 1, 1], 2)
    with pytest.raises(ValueError, match="logp_reference is None"):
        sdar_loss(replace(inputs, logp_reference=None), SdarConfig(), ALL_PARTS)


def test_lengths_that_disagree_are_refused() -> None:
    inputs = inputs_from(random_logits(4, 0), [0, 0, 1, 1], 2)
    with pytest.raises(ValueError, match=r"must all be \[N\]"):
        replace(inputs, advantages=inputs.advantages[:1])
    with pytest.raises(ValueError, match=r"must both be \[N, V\]"):
        replace(inputs, teacher_logprobs=torch.zeros(4, VOCABULARY + 1))


def test_likelihood_is_the_mean_negative_log_prob_and_reads_no_advantage() -> None:
    logp = torch.tensor([log(0.5), log(0.25)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(2, dtype=torch.float64)
    inputs = LossInputs(
        logp=logp,
        logp_old=zero,
        logp_teacher=zero,
        logp_reference=None,
        student_logprobs=None,
        teacher_logprobs=None,
        entropy=zero,
        advantages=torch.full((2,), torch.nan, dtype=torch.float64),
        row=torch.tensor([0, 0]),
        rows=1,
    )
    update = UpdateConfig(policy_loss="likelihood", policy_coefficient=2.0)
    out = sdar_loss(inputs, SdarConfig(coefficient=0.0), update)
    # 2 x (ln 2 + ln 4) / 2, and each token is pulled up alike.
    assert float(out.policy_loss) == pytest.approx(3 * log(2))
    (gradient,) = torch.autograd.grad(out.loss, logp)
    assert gradient.tolist() == [-1.0, -1.0]
    assert float(out.clip_share) == 0.0
    # The ratio is still reported: (1/2 + 1/4) / 2.
    assert float(out.ratio_mean) == pytest.approx(0.375)


def test_a_centred_gate_that_lambda_zero_turns_off_needs_no_tables() -> None:
    inputs = inputs_from(random_logits(4, 0), [0, 0, 1, 1], 2)
    bare = replace(inputs, student_logprobs=None, teacher_logprobs=None)
    off = SdarConfig(gate="centred_gap", divergence="sampled", coefficient=0.0)
    assert sdar_loss(bare, off, UpdateConfig()).gate.tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="centred_gap needs"):
        sdar_loss(bare, off.model_copy(update={"coefficient": 1.0}), UpdateConfig())
