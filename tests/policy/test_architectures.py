"""Llama, Qwen2 and Qwen3: what the sampler says is what the learner computes; other models are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chat_models import ARCHITECTURES, CONTEXT, chat, chat_policy, random_model
from transformers import PreTrainedModel

from sdar.policy.model import Policy, check_model
from sdar.policy.sampler import TransformersSampler
from sdar.policy.scoring import Row, forward_rows, log_distribution
from sdar.schemas.errors import InputError
from sdar.schemas.seeds import generator

LIMIT = 10


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampled_logprobs_equal_teacher_forced_ones(kind: str, temperature: float) -> None:
    policy, count, turns = chat_policy(kind), 7, 3
    words = policy.dialogue
    uniforms = np.stack([generator(row, "chat").random(turns * LIMIT) for row in range(count)])
    batch = TransformersSampler(policy, LIMIT).start(uniforms, temperature)
    ids = [
        words.prompt(f"put {'a hot ' * row}mug in the desk", "You are in a house.") for row in range(count)
    ]
    new, said, places = [list(row) for row in ids], [[] for _ in ids], [[] for _ in ids]
    complete = []
    for turn in range(turns):
        running = [row for row in range(count) if turn <= row % turns]
        for row, action in zip(running, batch.act(running, [new[i] for i in running]), strict=True):
            places[row] += range(len(ids[row]), len(ids[row]) + len(action.ids))
            said[row] += action.logprobs
            complete.append(action.complete)
            new[row] = [*words.seam(action.ids), *words.observation("Nothing happens.")]
            ids[row] = [*ids[row], *action.ids, *(new[row] if turn < row % turns else [])]
    assert set(complete) == {True, False}  # answers that ended and answers that were cut
    rows = [
        Row(np.array(i, dtype=np.int32), np.array(p, dtype=np.int32))
        for i, p in zip(ids, places, strict=True)
    ]
    with torch.inference_mode():
        for packed in forward_rows(policy.model, rows):
            found = log_distribution(policy.model, packed.hidden, temperature)
            found = found.gather(1, packed.targets[:, None])[:, 0]
            for place, index in enumerate(packed.rows):
                np.testing.assert_allclose(said[index], found[packed.owner == place], atol=1e-5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_three_architectures_pass_the_check(kind: str) -> None:
    check_model(Policy(random_model(kind), chat()), CONTEXT)


def test_a_context_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match=f"max_tokens is 2049, but LlamaForCausalLM reads at most {CONTEXT}"):
        check_model(Policy(random_model("llama"), chat()), CONTEXT + 1)


def test_a_sliding_window_is_refused() -> None:
    model = random_model("qwen2")
    model.config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(InputError, match="layers of kind full_attention, sliding_attention; allowed"):
        check_model(Policy(model, chat()), CONTEXT)
    model = random_model("llama")
    model.config.sliding_window = 64
    with pytest.raises(InputError, match="kind full_attention with a sliding window; allowed"):
        check_model(Policy(model, chat()), CONTEXT)


def test_logits_that_are_more_than_a_product_are_refused() -> None:
    def biased(kind: str) -> PreTrainedModel:
        model = random_model(kind)
        head = model.get_output_embeddings()
        head.bias = torch.nn.Parameter(torch.full((head.weight.shape[0],), 0.5))
        return model

    with pytest.raises(InputError, match=r"the logits of LlamaForCausalLM differ by 0\.5 from"):
        check_model(Policy(biased("llama"), chat()), CONTEXT)
