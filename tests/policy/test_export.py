"""Export and what transformers makes of it: the same logits, the same ids, the same policy."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from chat_models import ARCHITECTURES, CHATML, MARKERS, PROMPTS, chat, chat_tokenizer, random_model
from tiny_policy import tiny_policy
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from sdar.policy.adapter import new_adapter, save_adapter
from sdar.policy.chat import ChatDialogue, ChatModel
from sdar.policy.export import export_policy
from sdar.policy.model import load_policy, policy_id, save_policy
from sdar.schemas.config import LoraConfig
from sdar.schemas.errors import InputError

QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
MESSAGES = [
    {"role": "system", "content": "You do tasks."},
    {"role": "user", "content": "put 12 mugs\n in the café's desk 3"},
    {"role": "assistant", "content": "go to desk 3"},
    {"role": "user", "content": "You are there.\n\nIt's empty."},
]


def words(kind: str) -> ChatDialogue:
    """The chat format of the tests; for Qwen on the kind of tokenizer that transformers gives every Qwen2."""
    if kind == "llama":
        return chat()
    tokenizer = Tokenizer.from_str(chat_tokenizer().to_str())
    split = pre_tokenizers.Split(Regex(QWEN), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.normalizer = normalizers.NFC()
    special = {"eos_token": MARKERS[2], "pad_token": MARKERS[0]}
    size = tokenizer.get_vocab_size()
    return ChatDialogue(
        ChatModel("the test model", tokenizer, CHATML, special, frozenset({0}), size), PROMPTS
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_round_trip(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    policy, exported, back = tmp_path / "policy", tmp_path / "exported", tmp_path / "back"
    save_policy(policy, random_model(kind).to(dtype), words(kind))
    assert export_policy(policy, exported) == ""
    assert sorted(path.name for path in exported.iterdir()) == [
        "config.json",
        "dialogue.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    ours, ids = load_policy(policy), torch.arange(20)[None]
    model = AutoModelForCausalLM.from_pretrained(exported, dtype="auto", local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(exported, local_files_only=True)
    assert model.dtype == dtype
    with torch.inference_mode():
        assert model(input_ids=ids).logits.equal(ours.model(input_ids=ids).logits)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)
    assert text == ours.dialogue.render(MESSAGES)  # type: ignore[attr-defined]
    assert tokenizer(text)["input_ids"] == ours.dialogue.tokenizer.encode(text, add_special_tokens=False).ids
    assert sorted(model.generation_config.eos_token_id) == sorted(ours.dialogue.stop_ids)
    assert policy_id(exported) == policy_id(policy)
    export_policy(exported, back)
    assert policy_id(back) == policy_id(policy)


def test_the_starters_format_is_exported_without_a_template(tmp_path: Path) -> None:
    policy = tiny_policy()
    save_policy(tmp_path / "policy", policy.model, policy.dialogue)
    assert export_policy(tmp_path / "policy", tmp_path / "out") == ""
    assert policy_id(tmp_path / "out") == policy_id(tmp_path / "policy")
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [policy.dialogue.end_id]
    assert generation["pad_token_id"] == policy.dialogue.tokenizer.token_to_id("<|pad|>")
    assert "chat_template" not in (tmp_path / "out" / "tokenizer_config.json").read_text()


@pytest.mark.skipif(find_spec("peft") is None, reason="needs peft: pip install 'sdar[lora]'")
def test_an_adapter_is_added_to_the_weights(tmp_path: Path) -> None:
    base, own, out = tmp_path / "base", tmp_path / "own", tmp_path / "out"
    save_policy(base, random_model("qwen3"), words("qwen3"))
    made = new_adapter(random_model("qwen3"), LoraConfig(rank=2), 0)
    with torch.no_grad():
        for weight in made.parameters():
            if weight.requires_grad:
                weight.fill_(0.1)
    save_adapter(own, made)
    assert export_policy(own, out, base) == ""
    ids = torch.arange(20)[None]
    model = AutoModelForCausalLM.from_pretrained(out, local_files_only=True)
    with torch.inference_mode():
        found, before = model(input_ids=ids).logits, random_model("qwen3")(input_ids=ids).logits
        expected = made.get_base_model()(input_ids=ids).logits
    assert float((found - expected).abs().max()) < 1e-5
    assert float((found - before).abs().max()) > 0.01
    assert "adapter_config.json" not in {path.name for path in out.rglob("*")}
    export_policy(out, tmp_path / "again")
    assert policy_id(tmp_path / "again") == policy_id(out)


def test_a_tokenizer_that_transformers_reads_otherwise_is_told(tmp_path: Path) -> None:
    # Whatever its file says, transformers splits the text of a Qwen2 model as Qwen2 does.
    save_policy(tmp_path / "policy", random_model("qwen2"), chat())
    warning = export_policy(tmp_path / "policy", tmp_path / "out")
    assert "reads tokenizer.json as a Qwen2Tokenizer, which encodes texts in another way" in warning


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        export_policy(tmp_path / "policy", tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    save_policy(tmp_path / "policy", random_model("llama"), chat())
    (tmp_path / "policy" / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="lacks the special tokens"):
        export_policy(tmp_path / "policy", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
