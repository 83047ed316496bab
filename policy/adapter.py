"""Low-rank adapters (LoRA): small matrices that are trained in place of all weights, through peft.

A policy with an adapter has a folder `adapter` in peft's own layout. Its policy 0 holds the base model beside
it; later policies hold the adapter alone and name the base by the hash of its files. There is no dropout:
what the learner computes has to be what was sampled.

Source:
    LoRA, arXiv 2106.09685.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from sdar.schemas.config import LoraConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER = "adapter"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


def has_adapter(folder: Path) -> bool:
    """Say whether a policy folder has an adapter."""
    return (folder / ADAPTER).is_dir()


def adapter_files(folder: Path) -> list[Path]:
    """Return the files of a policy's adapter, none where it has no adapter."""
    names = (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if has_adapter(folder) else ()
    return [folder / ADAPTER / name for name in names]


def new_adapter(model: PreTrainedModel, lora: LoraConfig, seed: int) -> PeftModel:
    """Return the model with a fresh adapter, which as yet adds nothing; all other weights are frozen.

    Args:
        model: is changed in place.
        lora: rank, scale, and which layers.
        seed: of the one of each pair of matrices that does not begin at 0.

    Raises:
        EnvironmentMissingError: peft is not installed.
        ConfigError: the model has no layers of these names.
    """
    require_peft()
    import peft

    names = [name.strip() for name in lora.targets.split(",")]
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules="all-linear" if names == ["all-linear"] else names,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        with _without_warning(), torch.random.fork_rng():
            torch.manual_seed(seed)
            adapter: PeftModel = peft.get_peft_model(model, config)
            return adapter
    except ValueError as error:
        linear = sorted(
            {name.rpartition(".")[2] for name, part in model.named_modules() if _is_linear(part)}
            - {"lm_head"}
        )
        raise ConfigError(
            f"policy.lora.targets is {lora.targets!r}, which fits no layer of {type(model).__name__}; "
            f"allowed: all-linear, or some of {', '.join(linear)}"
        ) from error


def trainable_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Return the model with the adapter of a policy folder, ready to be trained; the rest is frozen."""
    return _with_adapter(model, folder, trainable=True)


def merged(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the model with what the adapter of a policy folder adds, in the model's precision.

    Args:
        model: the base, changed in place.
        folder: of the policy.
    """
    plain: PreTrainedModel = _with_adapter(model, folder, trainable=False).merge_and_unload()
    return plain


def save_adapter(folder: Path, model: PeftModel) -> None:
    """Write the adapter of a model into a policy folder; the bytes depend on weights and settings alone."""
    from peft import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    write_adapter(folder, weights, adapter_settings(model))


def write_adapter(folder: Path, weights: dict[str, torch.Tensor], settings: dict[str, object]) -> None:
    """Write the weights and settings of an adapter into a policy folder."""
    place = folder / ADAPTER
    place.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(kept, place / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    text = json.dumps(settings, indent=1, sort_keys=True)
    (place / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")


def adapter_settings(model: PeftModel) -> dict[str, object]:
    """Return what peft reads from adapter_config.json."""
    values = model.peft_config["default"].to_dict()
    # The base is named by the store, by content; a path of this machine would mean nothing elsewhere.
    values |= {"base_model_name_or_path": None, "inference_mode": True, "revision": None}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}


def read_adapter_settings(folder: Path) -> dict[str, object]:
    """Return the settings of a policy's adapter."""
    return dict(json.loads((folder / ADAPTER / ADAPTER_CONFIG).read_text(encoding="utf-8")))


def require_peft() -> None:
    """Check that peft is installed.

    Raises:
        EnvironmentMissingError: it is not.
    """
    from importlib.util import find_spec

    if find_spec("peft") is None:
        raise EnvironmentMissingError(
            "adapters need peft, which is not installed. Next: pip install 'sdar[lora]', or train all "
            "weights with --set policy.lora.rank=0"
        )


def _with_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool) -> PeftModel:
    require_peft()
    from peft import PeftModel

    with _without_warning():
        return PeftModel.from_pretrained(
            model, str(folder / ADAPTER), is_trainable=trainable, torch_device=str(model.device)
        )


@contextmanager
def _without_warning() -> Iterator[None]:
    """Leave out the warning that peft asks transformers for something under an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def _is_linear(part: object) -> bool:
    return isinstance(part, torch.nn.Linear)
