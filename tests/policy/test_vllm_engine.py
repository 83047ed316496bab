"""vLLM samples and scores what transformers would; run with `pytest -m vllm` where an extra is installed."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_policy import dialogue
from transformers import LlamaConfig, PreTrainedModel, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from sdar.policy.adapter import new_adapter, save_adapter
from sdar.policy.model import Policy, load_model, load_policy, save_policy
from sdar.policy.sampler import SampledAction, TransformersSampler
from sdar.policy.scoring import Row, forward_rows, log_distribution
from sdar.policy.vllm_engine import VllmSampler, check_vllm, close_engine, engine_for, score_rows
from sdar.schemas.config import LoraConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError
from sdar.schemas.seeds import derive_seed

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),  # the import alone takes minutes on a busy machine
    # Of vLLM and what it imports, not of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
CONTEXT, LIMIT, MEMORY = 512, 12, 0.25
TOLERANCE = 5e-5
"""Nats, fp32 on a CPU; `checks.logprob_tolerance` is twice that."""


@pytest.fixture(scope="module", autouse=True)
def _engine_ends() -> Iterator[None]:
    importlib.import_module("numba")  # as bm25s does; the engine has to start beside it
    yield
    close_engine()


def random_policy(tied: bool, seed: int = 1) -> Policy:
    """Two blocks with heads of 32; large weights, so that the next token is far from uniform."""
    kind, settings = (LlamaForCausalLM, LlamaConfig) if tied else (Qwen3ForCausalLM, Qwen3Config)
    words = dialogue()
    config = settings(
        vocab_size=words.tokenizer.get_vocab_size(),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=tied,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = kind(config)
    stops = frozenset(range(0, config.vocab_size, 9)) | {words.end_id}
    changed = copy.copy(words)
    changed.stop_ids = stops
    return Policy(model.eval(), changed)


def prompts(count: int) -> list[list[int]]:
    words = dialogue()
    long = "Nothing happens. " * 20
    return [words.prompt(f"put {'a hot ' * i}mug in the desk", long) for i in range(count)]


def sample(
    policy: Policy, asked: Sequence[Sequence[int]], temperature: float, seed: int = 5
) -> list[SampledAction]:
    stream = VllmSampler(policy, LIMIT, CONTEXT, MEMORY).open(temperature)
    for row, prompt in enumerate(asked):
        stream.ask(row, prompt, derive_seed(seed, row))
    found: dict[int, SampledAction] = {}
    while len(found) < len(asked):
        found |= stream.ready()
    return [found[row] for row in range(len(asked))]


def rescored(policy: Policy, rows: Sequence[Row], temperature: float) -> list[NDArray[np.float32]]:
    found: dict[int, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for packed in forward_rows(policy.model, rows):
            logprobs = log_distribution(policy.model, packed.hidden, temperature)
            chosen = logprobs.gather(1, packed.targets[:, None])[:, 0]
            for place, index in enumerate(packed.rows):
                found[index] = chosen[packed.owner == place].numpy()
    return [found[index] for index in range(len(rows))]


def as_rows(asked: Sequence[Sequence[int]], said: Sequence[SampledAction]) -> list[Row]:
    return [
        Row(
            np.array([*prompt, *action.ids], dtype=np.int32),
            np.arange(len(prompt), len(prompt) + len(action.ids), dtype=np.int32),
        )
        for prompt, action in zip(asked, said, strict=True)
    ]


@pytest.mark.parametrize("tied", [False, True])
def test_logprobs_are_those_of_transformers_before_and_after_a_reload(tied: bool) -> None:
    asked = prompts(10)
    first, second = random_policy(tied), random_policy(tied, seed=2)
    for policy in (first, second, first):
        for temperature in (1.0, 0.7, 0.0):
            said = sample(policy, asked, temperature)
            assert {action.complete for action in said} <= {True, False}
            told = rescored(policy, as_rows(asked, said), temperature or 1.0)
            for action, logprobs in zip(said, told, strict=True):
                np.testing.assert_allclose(action.logprobs, logprobs, atol=TOLERANCE)
                stopped = [token in policy.dialogue.stop_ids for token in action.ids]
                assert not any(stopped[:-1])
                assert action.complete == stopped[-1]
                assert action.complete or len(action.ids) == LIMIT
        # Weights that had not arrived would be far outside the tolerance.
        other = second if policy is first else first
        far = rescored(other, as_rows(asked, said), 1.0)
        assert max(np.abs(a.logprobs - b).max() for a, b in zip(said, far, strict=True)) > 0.5


def test_an_adapter_reaches_the_running_engine_as_part_of_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs peft: pip install 'sdar[lora]'")
    asked, words = prompts(6), random_policy(True).dialogue
    base, own = tmp_path / "base", tmp_path / "own"
    save_policy(base, random_policy(True).model, words)
    adapted = new_adapter(load_model(base), LoraConfig(rank=4), seed=3)
    with torch.no_grad():
        for index, weight in enumerate(w for w in adapted.parameters() if w.requires_grad):
            weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).reshape(weight.shape).roll(index))
    save_adapter(own, adapted)
    plain, added = (Policy(load_policy(each, base=base).model, words) for each in (base, own))
    engine = engine_for(plain, CONTEXT, MEMORY)
    said = sample(added, asked, 1.0)
    assert engine_for(added, CONTEXT, MEMORY) is engine
    rows = as_rows(asked, said)
    for action, mine, without in zip(
        said, rescored(added, rows, 1.0), rescored(plain, rows, 1.0), strict=True
    ):
        np.testing.assert_allclose(action.logprobs, mine, atol=TOLERANCE)
        assert np.abs(mine - without).max() > 0.1


@pytest.mark.parametrize("tied", [False, True])
def test_greedy_actions_are_those_of_transformers(tied: bool) -> None:
    asked, policy = prompts(8), random_policy(tied)
    said = sample(policy, asked, 0.0)
    start = TransformersSampler(policy, LIMIT).start(np.zeros((len(asked), LIMIT)), 0.0)
    assert [a.ids for a in said] == [a.ids for a in start.act(range(len(asked)), asked)]


def test_a_seed_decides_what_is_said_whoever_shares_the_batch() -> None:
    policy, asked = random_policy(False), prompts(6)
    said = sample(policy, asked, 1.0)
    assert [a.ids for a in sample(policy, asked, 1.0)] == [a.ids for a in said]
    assert [a.logprobs for a in sample(policy, asked, 1.0)] == [a.logprobs for a in said]
    assert [a.ids for a in sample(policy, asked[:2], 1.0)] == [a.ids for a in said[:2]]
    assert [a.ids for a in sample(policy, asked, 1.0, seed=6)] != [a.ids for a in said]


def test_tokens_follow_the_distribution() -> None:
    policy, prompt = random_policy(False), prompts(1)[0]
    with torch.inference_mode():
        logits = policy.model(torch.tensor([prompt])).logits[0, -1]
    shares = torch.softmax(logits / 0.7, -1).numpy()
    count = 1500
    stream = VllmSampler(policy, 1, CONTEXT, MEMORY).open(0.7)
    for row in range(count):
        stream.ask(row, prompt, derive_seed(9, row))
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += [action.ids[0] for _, action in stream.ready()]
    likely = np.argsort(-shares)[:5]
    found = np.array([drawn.count(token) for token in likely]) / count
    deviation = np.sqrt(shares[likely] * (1 - shares[likely]) / count)
    assert shares[likely].sum() > 0.3  # the test would see a wrong distribution
    assert (np.abs(found - shares[likely]) < 4.5 * deviation).all()


def test_answers_come_as_they_are_ready_and_earlier_turns_are_found_again() -> None:
    policy, asked = random_policy(False), prompts(8)
    stream = VllmSampler(policy, LIMIT, CONTEXT, MEMORY).open(1.0)
    for row, prompt in enumerate(asked):
        stream.ask(row, prompt, derive_seed(5, row))
    first = stream.ready()
    assert 0 < len(first) < len(asked)  # no lock-step: the others are still under way
    assert [row for row, _ in first] == sorted(row for row, _ in first)
    row, action = first[0]
    longer = [*asked[row], *action.ids, *dialogue().observation("You arrive.")]
    stream.engine.add(99, longer, {"temperature": 0.0, "max_tokens": 1, "logprobs": 0})
    found = None
    while found is None:
        found = dict(stream.engine.finished()).get(99)
    assert found.num_cached_tokens >= len(asked[row]) // 32 * 32


def test_given_tokens_are_scored_as_transformers_scores_them() -> None:
    policy = random_policy(True)
    longest = np.resize(np.array(prompts(1)[0], dtype=np.int32), CONTEXT)
    places = np.array([40, 41, 90], dtype=np.int32)
    rows = [Row(longest, np.append(places, CONTEXT - 1)), Row(longest[:100], places)]
    found = score_rows(policy, rows, CONTEXT, MEMORY)
    for mine, theirs in zip(found, rescored(policy, rows, 1.0), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=TOLERANCE)


def test_an_interrupted_batch_leaves_nothing_behind() -> None:
    policy, asked = random_policy(False), prompts(3)
    whole = sample(policy, asked, 1.0)
    stream = VllmSampler(policy, LIMIT, CONTEXT, MEMORY).open(1.0)
    stream.ask(7, asked[0], 1)
    assert [a.ids for a in sample(policy, asked, 1.0)] == [a.ids for a in whole]


def test_the_engine_leaves_this_process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close_engine()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    variables = {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")}
    threads = torch.get_num_threads()
    engine_for(random_policy(False), CONTEXT, MEMORY)
    assert {k: v for k, v in os.environ.items() if not k.startswith("VLLM_")} == variables
    torch.set_num_threads(threads + 1)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)
    assert torch.get_default_dtype() == torch.float32
    assert list(tmp_path.glob("*vllm*")) == []
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""


def test_heads_that_the_cpu_attention_lacks_are_refused() -> None:
    check_vllm("cpu", 32)
    with pytest.raises(ConfigError, match=r"heads have size 24.* allows 32, 64, 80.*sdar bootstrap --set"):
        check_vllm("cpu", 24)


def test_a_device_that_the_installed_build_lacks_is_refused() -> None:
    with pytest.raises(EnvironmentMissingError, match=r"device is cuda, but the vLLM .* runs on cpu"):
        check_vllm("cuda", 64)


def test_a_temperature_that_vllm_would_raise_is_refused() -> None:
    sampler = VllmSampler(random_policy(False), LIMIT, CONTEXT, MEMORY)
    with pytest.raises(ConfigError, match=r"temperature is 0.005, but vLLM samples at 0.01"):
        dataclasses.replace(sampler).open(0.005)
