"""Chat models small enough for tests: ChatML on a tokenizer trained here, in three architectures."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tiny_policy import shown
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedModel, Qwen2Config, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from sdar.policy.chat import ChatDialogue, ChatModel
from sdar.policy.model import Policy, save_policy
from sdar.policy.prompts import Prompts
from sdar.tasks.demonstrations import texts

CONTEXT = 2048
UNKNOWN = 7
"""Rows of the output embedding that have no token, as padded vocabularies do."""
STOPS = frozenset(range(0, 600, 10))
CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are kind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PROMPTS = Prompts("You do tasks in a house.", "Your task: {goal}", "{observation}", "You know:", "plain")
ARCHITECTURES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


@cache
def chat_tokenizer(markers: tuple[str, ...] = MARKERS) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(markers),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for i in range(40) for text in texts(shown(i))), trainer)
    return tokenizer


def chat(
    template: str = CHATML,
    prompts: Prompts = PROMPTS,
    markers: tuple[str, ...] = MARKERS,
    stops: frozenset[int] = frozenset({0}),
) -> ChatDialogue:
    """The dialogue of a template; further markers become tokens of its tokenizer."""
    tokenizer = chat_tokenizer(markers)
    special = {"bos_token": markers[1], "eos_token": markers[2]}
    size = tokenizer.get_vocab_size() + UNKNOWN
    return ChatDialogue(ChatModel("the test model", tokenizer, template, special, stops, size), prompts)


def random_model(kind: str) -> PreTrainedModel:
    """Two blocks of width 32 with grouped heads; Llama shares input and output embeddings."""
    config_of, model_of = ARCHITECTURES[kind]
    config = config_of(
        vocab_size=chat_tokenizer().get_vocab_size() + UNKNOWN,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=kind == "llama",
        bos_token_id=None,
        eos_token_id=sorted(STOPS),
        pad_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model: PreTrainedModel = model_of(config)
    return model.eval()


@cache
def chat_policy(kind: str = "qwen2") -> Policy:
    """Random weights: as every tenth token ends an answer, some answers end and some are cut."""
    return Policy(random_model(kind), chat(stops=STOPS))


def save_chat_model(folder: Path) -> Path:
    """A folder as a hub would give it: weights, tokenizer and template, but no prompts of ours."""
    policy = chat_policy()
    save_policy(folder, policy.model, policy.dialogue)
    (folder / "dialogue.json").unlink()
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    return folder
