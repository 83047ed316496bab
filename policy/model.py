"""Policies on disk: a causal LM, its tokenizer, and the state of its optimiser."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from sdar.policy.dialogue import END, PAD, Dialogue, load_dialogue
from sdar.schemas.errors import InputError

WEIGHTS = "model.safetensors"
STARTER = Path(__file__).parent / "starter"


@dataclass(frozen=True)
class Policy:
    """A model with the dialogue format of its tokenizer."""

    model: PreTrainedModel
    dialogue: Dialogue

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.model.parameters())


def new_model(
    vocabulary: int, seed: int, hidden: int, layers: int, heads: int, context: int
) -> PreTrainedModel:
    """Return a freshly initialised Qwen3 model with untied embeddings.

    Args:
        vocabulary: number of tokens.
        seed: of the initial weights.
        hidden: width; the feed-forward layers are twice as wide.
        layers: number of blocks.
        heads: attention heads, as many for keys and values.
        context: longest row in tokens.
    """
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def save_policy(folder: Path, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    """Write weights, configuration and tokenizer in the Hugging Face layout; never pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END
    )
    wrapped.save_pretrained(folder)
    model.save_pretrained(folder)


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write tensors as safetensors; contiguous copies, so that the bytes depend on the values alone."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, path)


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read tensors from safetensors."""
    weights: dict[str, torch.Tensor] = load_file(path)
    return weights


def run_decoder(model: PreTrainedModel, **arguments: Any) -> torch.Tensor:
    """Return the last hidden states `[B, S, H]`; the arguments are those of the model's decoder."""
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    hidden: torch.Tensor = decoder(**arguments).last_hidden_state
    return hidden


def output_head(model: PreTrainedModel) -> torch.Tensor:
    """Return the output embedding `[V, H]`."""
    weight: torch.Tensor = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
    return weight


def policy_folder(path: str) -> Path:
    """Return the folder of a policy: `starter` means the shipped one.

    Raises:
        InputError: the folder is missing or is no policy.
    """
    folder = STARTER if path == "starter" else Path(path)
    missing = [name for name in ("config.json", WEIGHTS, "tokenizer.json") if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"policy {path!r}: {folder} has no {', '.join(missing)}; "
            "give policy.path a Hugging Face causal LM folder, or `starter` for the shipped one"
        )
    return folder


def load_policy(folder: Path, device: str = "cpu") -> Policy:
    """Load a policy in float32 and evaluation mode."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa", local_files_only=True
    )
    torch.nn.Module.to(model, torch.device(device))
    model.train(mode=False)
    return Policy(model, load_dialogue(folder))


def policy_id(folder: Path) -> str:
    """Return the content hash of weights and tokenizer, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, "tokenizer.json"):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
