"""Policies as folders that transformers and vLLM load as they are."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

from sdar.policy.adapter import has_adapter
from sdar.policy.dialogue import Dialogue, load_dialogue
from sdar.policy.model import INDEX, load_policy, weight_files
from sdar.policy.prompts import FILE as PROMPTS
from sdar.policy.template import CONFIG, read_template
from sdar.schemas.errors import InputError

TOKENIZER_CLASS = "PreTrainedTokenizerFast"
"""What loads tokenizer.json as it is in old and new versions of transformers; new ones write another name."""
SAMPLE = "Put 2 of the 17 mugs\n  in 'drawer 3', it's next to\n\nthe caf\u00e9: 3.50 + 1,200.  END"
"""Text in which tokenizers differ: numbers, spaces, line breaks, apostrophes, accents."""


def export_policy(folder: Path, target: Path, base: Path | None = None) -> str:
    """Write a policy as a plain Hugging Face folder: wholly, or not at all.

    It has config.json, generation_config.json with the ids that end an answer, the weights with the adapter
    added, tokenizer.json, and tokenizer_config.json with the chat template. Of a chat model it also has our
    dialogue.json: with that, and as weights are copied to the byte, the folder has the policy's id.

    Args:
        folder: of the policy.
        target: a new or empty folder.
        base: folder with the weights and the tokenizer of a policy whose own folder has the adapter alone.

    Returns:
        A sentence when transformers reads the tokenizer in another way than it is, else nothing.

    Raises:
        InputError: `target` holds something.
        EnvironmentMissingError: the policy has an adapter and peft is not installed.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is not empty; an export needs a new or an empty folder.")
    whole = base or folder
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir()
        if has_adapter(folder):
            load_policy(folder, base=base).model.save_pretrained(partial)
        else:
            _copy(folder, partial, "config.json", "generation_config.json", INDEX, *weight_files(folder))
        _copy(whole, partial, "tokenizer.json", PROMPTS)
        dialogue = load_dialogue(whole)
        _write_settings(whole, partial, dialogue)
        warning = _tokenizer_warning(partial, dialogue)
        if target.exists():
            target.rmdir()
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return warning


def _tokenizer_warning(target: Path, dialogue: Dialogue) -> str:
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(target, local_files_only=True)
    if (
        read(SAMPLE, add_special_tokens=False)["input_ids"]
        == dialogue.tokenizer.encode(SAMPLE, add_special_tokens=False).ids
    ):
        return ""
    return (
        f"transformers reads tokenizer.json as a {type(read).__name__}, which encodes texts in another way "
        "than the policy was trained with. Load it with tokenizers.Tokenizer.from_file, or serve token ids."
    )


def _write_settings(whole: Path, target: Path, dialogue: Dialogue) -> None:
    """Complete the settings: the chat template, the ids that end an answer, and a cache that is used."""
    words = {**_json(whole / CONFIG), "tokenizer_class": TOKENIZER_CLASS}
    template = read_template(whole)
    if template is not None:
        words["chat_template"] = template
    _save(target / CONFIG, words)
    generation = _json(target / "generation_config.json")
    generation["eos_token_id"] = sorted(dialogue.stop_ids)
    generation["pad_token_id"] = _pad(words, generation, dialogue)
    _save(target / "generation_config.json", generation)
    _save(target / "config.json", {**_json(target / "config.json"), "use_cache": True})


def _pad(words: dict[str, Any], generation: dict[str, Any], dialogue: Dialogue) -> int:
    """Return the id that fills rows up: the model's own, the tokenizer's, or what ends an answer."""
    if isinstance(generation.get("pad_token_id"), int):
        return int(generation["pad_token_id"])
    named = words.get("pad_token")
    text = named.get("content") if isinstance(named, dict) else named
    found = dialogue.tokenizer.token_to_id(text) if isinstance(text, str) else None
    return dialogue.end_id if found is None else found


def _copy(source: Path, target: Path, *names: str) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _save(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
