"""The learner against plain torch on hand-made rows."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from sdar.policy import memory
from sdar.policy.memory import TokenBudget
from sdar.policy.model import new_model
from sdar.policy.scoring import Row, forward_rows, token_logprobs
from sdar.rl.learner import LearnerRow, Objective, minibatches, new_optimiser, optimise
from sdar.schemas.config import SdarConfig, UpdateConfig
from sdar.tasks.trained import compute_twice

VOCABULARY = 24
TEMPERATURE = 0.7
GRPO = SdarConfig(coefficient=0.0)


def model() -> torch.nn.Module:
    made = new_model(VOCABULARY, 0, 8, 1, 2, 32)
    with torch.no_grad():  # the initial weights are so small that all tokens would be alike
        for weight in made.parameters():
            if weight.dim() > 1:
                weight.mul_(15)
    return made


def rows(count: int = 5, hidden: int = 0) -> list[LearnerRow]:
    rng = np.random.default_rng(4)
    made = []
    for index in range(count):
        length = 4 + 2 * index
        positions = np.sort(1 + rng.permutation(length - 1)[: 2 + index]).astype(np.int32)
        size = len(positions)
        made.append(
            LearnerRow(
                row=Row(rng.integers(0, VOCABULARY, length).astype(np.int32), positions),
                advantages=rng.normal(size=size).astype(np.float32),
                logp_old=rng.uniform(-4, -2, size).astype(np.float32),
                logp_teacher=rng.uniform(-4, -2, size).astype(np.float32),
                logp_reference=rng.uniform(-4, -2, size).astype(np.float32),
                teacher_hidden=rng.normal(size=(size, hidden)).astype(np.float32) if hidden else None,
            )
        )
    return made


def vector(net: torch.nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def test_one_step_equals_plain_torch() -> None:
    """GRPO with a KL term, written out row by row and token by token."""
    update = UpdateConfig(learning_rate=1e-2, kl_coefficient=0.05, max_gradient_norm=0.3, weight_decay=0.1)
    ours, plain = model(), model()
    batch = rows()
    reports = optimise(
        ours, new_optimiser(ours, update), batch, [np.arange(5)], Objective(GRPO, update, TEMPERATURE)
    )
    terms = []
    for each in batch:
        ids = torch.from_numpy(each.row.token_ids.astype(np.int64))[None]
        logprobs = (plain(input_ids=ids).logits[0] / TEMPERATURE).log_softmax(-1)
        for place, position in enumerate(each.row.positions):
            logp = logprobs[position - 1, ids[0, position]]
            ratio = torch.exp(logp - float(each.logp_old[place]))
            clipped = ratio.clamp(0.8, 1.2)
            advantage = float(each.advantages[place])
            policy = -torch.minimum(ratio * advantage, clipped * advantage)
            assert each.logp_reference is not None
            difference = float(each.logp_reference[place]) - logp
            terms.append(policy + 0.05 * (difference.exp() - difference - 1))
    loss = torch.stack(terms).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
    torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=(0.9, 0.999), weight_decay=0.1).step()
    assert reports[0].loss == pytest.approx(loss.item(), abs=1e-5)
    assert reports[0].gradient_norm == pytest.approx(float(norm), rel=1e-4)
    assert reports[0].tokens == len(terms) == 20
    # Adam divides by the size of the gradient, so rounding shows where a gradient is next to nothing.
    assert float((vector(ours) - vector(plain)).abs().max()) < 1e-4
    assert float((vector(ours) - vector(model())).abs().max()) > 5e-3


SWITCHES = [
    (GRPO, UpdateConfig()),
    (SdarConfig(divergence="sampled", gate="gap"), UpdateConfig(aggregation="sequence_mean")),
    (SdarConfig(divergence="forward_kl", gate="soft_or"), UpdateConfig(kl_coefficient=0.1)),
    (SdarConfig(divergence="reverse_kl", gate="entropy"), UpdateConfig(entropy_coefficient=0.1)),
    (SdarConfig(divergence="sampled_reverse_kl"), UpdateConfig(aggregation="sequence_sum")),
    (SdarConfig(divergence="sampled", gate="centred_gap"), UpdateConfig()),
    (SdarConfig(divergence="jsd", top_k=3), UpdateConfig(policy_loss="likelihood")),
    (SdarConfig(divergence="k3", gate="none"), UpdateConfig()),
]


@pytest.mark.parametrize(("sdar", "update"), SWITCHES)
def test_micro_batches_equal_one_batch(
    sdar: SdarConfig, update: UpdateConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = torch.from_numpy(np.random.default_rng(5).normal(size=(VOCABULARY, 8)).astype(np.float32))
    objective = Objective(sdar, update, TEMPERATURE, head)
    batch = rows(hidden=8)

    def gradient(budget: int, tokens: int) -> tuple[torch.Tensor, float, int]:
        monkeypatch.setitem(memory.LOGITS, "cpu", tokens * VOCABULARY)
        net, passes = model(), list[int]()
        net.get_decoder().register_forward_hook(lambda *_: passes.append(1))
        stochastic = torch.optim.SGD(net.parameters(), lr=1.0)
        free = dataclasses.replace(
            objective, update=objective.update.model_copy(update={"max_gradient_norm": 1e9})
        )
        report = optimise(net, stochastic, batch, [np.arange(5)], free, TokenBudget(budget))
        return vector(model()) - vector(net), report[0].loss, len(passes)

    whole, whole_loss, one = gradient(8192, tokens=100)
    parts, parts_loss, many = gradient(14, tokens=100)
    small, small_loss, _ = gradient(8192, tokens=3)  # 20 tokens in 7 parts, some with tokens of two rows
    assert (one, many) == (1, 4)
    scale = float(whole.abs().max())
    assert scale > 1e-3
    assert float((whole - parts).abs().max()) / scale < 1e-5
    assert float((whole - small).abs().max()) / scale < 1e-5
    assert whole_loss == pytest.approx(parts_loss, rel=1e-6, abs=1e-6)
    assert whole_loss == pytest.approx(small_loss, rel=1e-6, abs=1e-6)


def test_a_gradient_that_is_not_finite_is_skipped_and_told() -> None:
    net, update, batch = model(), UpdateConfig(learning_rate=1e-2), rows()
    batch[0] = dataclasses.replace(batch[0], advantages=batch[0].advantages * np.float32("nan"))
    optimiser = new_optimiser(net, update)
    before = vector(net)
    steps = [np.array([0, 1]), np.array([2, 3, 4])]
    objective = Objective(GRPO, update, TEMPERATURE)
    first = optimise(net, optimiser, batch, steps[:1], objective)
    assert first[0].skipped
    assert first[0].gradient_norm == 0.0
    assert vector(net).equal(before)
    assert not optimiser.state
    both = optimise(net, optimiser, batch, steps, objective)
    assert [report.skipped for report in both] == [True, False]
    assert vector(net).isfinite().all()
    assert not vector(net).equal(before)
    assert not net.training


def test_a_mini_batch_of_rows_without_action_tokens_has_finite_figures() -> None:
    net, update = model(), UpdateConfig()
    empty = [
        dataclasses.replace(
            each,
            row=Row(each.row.token_ids, each.row.positions[:0]),
            logp_reference=None,
            **{name: getattr(each, name)[:0] for name in ("advantages", "logp_old", "logp_teacher")},
        )
        for each in rows()[:2]
    ]
    before = vector(net)
    (report,) = optimise(
        net, new_optimiser(net, update), empty, [np.arange(2)], Objective(GRPO, update, TEMPERATURE)
    )
    assert (report.tokens, report.skipped) == (0, False)
    assert all(np.isfinite(value) for value in report.model_dump().values())
    assert vector(net).equal(before)


@pytest.mark.parametrize(
    "sdar", [SdarConfig(divergence="forward_kl"), SdarConfig(divergence="sampled", gate="centred_gap")]
)
def test_what_reads_the_vocabulary_needs_the_teachers_states(sdar: SdarConfig) -> None:
    net, update = model(), UpdateConfig()
    objective = Objective(sdar, update, TEMPERATURE)
    with pytest.raises(ValueError, match=f"{sdar.gate} needs the teacher's states and output head"):
        optimise(net, new_optimiser(net, update), rows(), [np.arange(5)], objective)


def test_a_student_that_is_its_own_teacher_has_no_exact_divergence() -> None:
    net, update = model(), UpdateConfig(policy_coefficient=0.0)
    own = []
    with torch.inference_mode():
        for each in rows():
            packed = next(forward_rows(net, [each.row]))
            own.append(dataclasses.replace(each, teacher_hidden=packed.hidden.numpy()))
    head = copy.deepcopy(net).get_output_embeddings().weight.detach()
    objective = Objective(SdarConfig(divergence="forward_kl", gate="none"), update, TEMPERATURE, head)
    report = optimise(net, new_optimiser(net, update), own, [np.arange(5)], objective)[0]
    assert report.distillation == pytest.approx(0.0, abs=1e-6)
    assert report.gradient_norm == pytest.approx(0.0, abs=1e-5)


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 3))
def test_every_epoch_takes_each_row_once_in_near_equal_batches(count: int, size: int, epochs: int) -> None:
    batches = minibatches(count, size, epochs, np.random.default_rng(0))
    pieces = len(batches) // epochs
    assert pieces == max(1, round(count / size))
    for epoch in range(epochs):
        mine = batches[epoch * pieces : (epoch + 1) * pieces]
        assert sorted(np.concatenate(mine).tolist()) == list(range(count))
        assert max(map(len, mine)) - min(map(len, mine)) <= 1


def test_batches_follow_from_the_generator() -> None:
    first = minibatches(40, 8, 2, np.random.default_rng(3))
    again = minibatches(40, 8, 2, np.random.default_rng(3))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first[:5], first[5:], strict=True))
    # A row of the default context window fits into one pass.
    assert all(budget >= 1024 for budget in memory.TOKEN_BUDGETS.values())


def test_a_backward_pass_that_fails_half_way_leaves_nothing_behind() -> None:
    """The device has room for four rows of this length; the output embedding has its gradient by then."""
    update, batch = UpdateConfig(max_gradient_norm=1e9), rows()
    failed = list[int]()

    def gradient(*, room: int) -> tuple[torch.Tensor, TokenBudget]:
        def refuse(module: torch.nn.Module, inputs: object, outputs: tuple[torch.Tensor, ...]) -> None:
            if outputs[0].shape[0] * outputs[0].shape[1] > room:
                failed.append(outputs[0].shape[0])
                raise torch.cuda.OutOfMemoryError("too many")

        net, budget = model(), TokenBudget(2048)
        net.get_decoder().layers[0].register_full_backward_hook(refuse)
        optimiser = torch.optim.SGD(net.parameters(), lr=1.0)
        optimise(net, optimiser, batch, [np.arange(5)], Objective(GRPO, update, TEMPERATURE), budget)
        return vector(model()) - vector(net), budget

    whole, untouched = gradient(room=1000)
    assert (untouched.tokens, untouched.halvings, failed) == (2048, 0, [])
    parts, halved = gradient(room=48)
    # Five rows of 12 are 60 tokens, then at most 30: the two longest, and then the three others.
    assert (halved.tokens, halved.halvings, failed) == (30, 1, [5])
    assert float((whole - parts).abs().max()) / float(whole.abs().max()) < 1e-5


def test_recomputed_layers_give_the_same_gradients() -> None:
    """What `policy.gradient_checkpointing` switches on."""

    def step(*, twice: bool) -> torch.Tensor:
        net, update = model(), UpdateConfig(learning_rate=1e-2)
        if twice:
            net.activation_checkpointing_enable()
        optimise(
            net, new_optimiser(net, update), rows(), [np.arange(5)], Objective(GRPO, update, TEMPERATURE)
        )
        return vector(net)

    assert step(twice=False).equal(step(twice=True))


@pytest.mark.parametrize("twice", [False, True])
def test_dropout_of_a_model_is_off_while_it_learns(twice: bool) -> None:
    """A ratio of 1 in the first step says that what was scored is what is learnt."""
    net = model()
    for layer in net.get_decoder().layers:
        layer.self_attn.attention_dropout = 0.5
        layer.mlp.down_proj = torch.nn.Sequential(layer.mlp.down_proj, torch.nn.Dropout(0.5))
    if twice:
        net.activation_checkpointing_enable()
    assert ratio_of_untouched(net) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("made", ["opt", "gpt2"])
def test_dropout_of_models_with_rates_of_their_own_is_off(made: str, twice: bool) -> None:
    """OPT's layers apply their rates themselves, not through modules, and its decoder leaves out layers."""
    torch.manual_seed(0)
    kept = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "vocab_size": VOCABULARY}
    if made == "opt":
        sizes = {"hidden_size": 8, "word_embed_proj_dim": 8, "ffn_dim": 16, "num_attention_heads": 2}
        rates = {"dropout": 0.5, "attention_dropout": 0.5, "layerdrop": 0.5}
        net = OPTForCausalLM(OPTConfig(**sizes, **rates, **kept, num_hidden_layers=2))
    else:
        rates = {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
        net = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=2, n_head=2, **rates, **kept))
    if twice:
        compute_twice(net)
    assert ratio_of_untouched(net) == pytest.approx(1.0, abs=1e-5)


def ratio_of_untouched(net: torch.nn.Module) -> float:
    """Return the mean ratio of the first step to what the same weights scored before."""
    update = UpdateConfig()
    net.train(mode=False)
    (each,) = rows(1)
    (packed,) = forward_rows(net, [each.row])
    logp, _ = token_logprobs(net, packed, TEMPERATURE)
    scored = dataclasses.replace(each, logp_old=logp.detach().numpy())
    (report,) = optimise(
        net, new_optimiser(net, update), [scored], [np.arange(1)], Objective(GRPO, update, TEMPERATURE)
    )
    assert report.gradient_norm > 0
    return report.ratio_mean
