"""Policies on disk: a causal LM, its tokenizer, and the state of its optimiser."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from sdar.policy.adapter import adapter_files, has_adapter, merged
from sdar.policy.dialogue import Dialogue, load_dialogue
from sdar.policy.prompts import FILE as PROMPTS
from sdar.policy.template import read_template
from sdar.schemas.config import Dtype
from sdar.schemas.errors import InputError
from sdar.schemas.keys import file_hash

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
STARTER = Path(__file__).parent / "starter"
LOGIT_TOLERANCE = 1e-3
DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_STORED = {"F32": torch.float32, "BF16": torch.bfloat16}
"""What safetensors calls these."""


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


def save_policy(folder: Path, model: PreTrainedModel, dialogue: Dialogue) -> None:
    """Write weights, configuration and dialogue format in the Hugging Face layout; never pickle."""
    folder.mkdir(parents=True, exist_ok=True)
    dialogue.save(folder)
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
    needed = ("config.json", *weight_files(folder), "tokenizer.json")
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"policy {path!r}: {folder} has no {', '.join(missing)}; "
            "give policy.path a Hugging Face causal LM folder, or `starter` for the shipped one"
        )
    return folder


def weight_files(folder: Path) -> list[str]:
    """Return the names of a policy's weight files: one, or the parts that an index names.

    Raises:
        InputError: the index is malformed.
    """
    if not (folder / INDEX).is_file():
        return [WEIGHTS]
    try:
        parts = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({Path(part).name for part in parts})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{folder / INDEX} is malformed ({error}); copy the model's folder anew") from error


def stored_dtype(folder: Path) -> torch.dtype | None:
    """Return the precision of all weights of a policy folder; None where it is another or not one for all."""
    found: set[str] = set()
    for name in weight_files(folder):
        with safe_open(folder / name, framework="pt") as weights:
            found |= {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    return _STORED.get(found.pop()) if len(found) == 1 else None


def load_model(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Load the weights of a policy folder in evaluation mode.

    Args:
        folder: with configuration and weights; an adapter in it is not looked at.
        device: where to put the model.
        dtype: precision; by default the one that the weights are stored in, else float32.
    """
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype or stored_dtype(folder) or torch.float32,
        attn_implementation="sdpa",
        local_files_only=True,
    )
    torch.nn.Module.to(model, torch.device(device))
    model.train(mode=False)
    return model


def load_policy(
    folder: Path, device: str = "cpu", base: Path | None = None, dtype: torch.dtype | None = None
) -> Policy:
    """Load a policy in evaluation mode; what an adapter adds is added to the weights.

    Args:
        folder: of the policy.
        device: where to put the model.
        base: folder with the weights and the tokenizer of a policy whose own folder has the adapter alone.
        dtype: see `load_model`.
    """
    whole = base or folder
    model = load_model(whole, device, dtype)
    if has_adapter(folder):
        model = merged(model, folder)
    return Policy(model, load_dialogue(whole))


def check_model(policy: Policy, max_tokens: int) -> None:
    """Check that a model computes what sampler and learner take for granted.

    Raises:
        InputError: its context is too short, its attention is not full and causal, or its logits are not the
            product of the last hidden states and the output embedding.
    """
    model, name = policy.model, type(policy.model).__name__
    config = model.config
    longest = int(getattr(config, "max_position_embeddings", max_tokens))
    if max_tokens > longest:
        raise InputError(
            f"policy.max_tokens is {max_tokens}, but {name} reads at most {longest} tokens; "
            f"Next: --set policy.max_tokens={longest}"
        )
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    sliding = getattr(config, "sliding_window", None) is not None and getattr(
        config, "use_sliding_window", True
    )
    if kinds != {"full_attention"} or sliding:
        raise InputError(
            f"{name} has layers of kind {', '.join(sorted(kinds))}"
            f"{' with a sliding window' if sliding else ''}; "
            "allowed: models whose layers all have full attention, such as Llama, Qwen2 and Qwen3"
        )
    ids = torch.arange(4, device=model.device)[None]
    with torch.inference_mode():
        logits = model(input_ids=ids, use_cache=False).logits.float()
        ours = torch.nn.functional.linear(
            run_decoder(model, input_ids=ids, use_cache=False), output_head(model)
        )
    worst = float((logits - ours.float()).abs().max())
    if not worst <= LOGIT_TOLERANCE:
        raise InputError(
            f"the logits of {name} differ by {worst:.2g} from hidden states times output embedding; "
            "allowed: models without bias, scaling or cap on their logits, such as Llama, Qwen2 and Qwen3"
        )


def policy_id(folder: Path, base: Path | None = None) -> str:
    """Return the content hash of weights, adapter, tokenizer, and of a chat model's template and prompts.

    Args:
        folder: of the policy.
        base: see `load_policy`.

    Returns:
        64 hexadecimal digits.
    """
    whole, digest = base or folder, hashlib.sha256()
    names = [*weight_files(whole), "tokenizer.json", *([PROMPTS] if (whole / PROMPTS).is_file() else [])]
    files = [whole / name for name in names] + adapter_files(folder)
    for file in files:
        digest.update(bytes.fromhex(file_hash(file)))
    template = read_template(whole)
    if template is not None:
        digest.update(hashlib.sha256(template.encode()).digest())
    return digest.hexdigest()
