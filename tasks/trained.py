"""What an update trains, all weights of a policy or its adapter alone, and what is stored of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from sdar.policy.adapter import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    has_adapter,
    read_adapter_settings,
    save_adapter,
    trainable_adapter,
    write_adapter,
)
from sdar.policy.dialogue import Dialogue
from sdar.policy.model import load_model, load_weights, policy_id, save_policy, save_weights
from sdar.rl.masters import trained_weights
from sdar.rl.sharding import placed_like
from sdar.storage import read_references, write_references
from sdar.tasks.score import EMA, teacher_policy
from sdar.tasks.stage import BASE, StageInputs

if TYPE_CHECKING:
    from peft import PeftModel

OPTIMISER = "optimiser.safetensors"
MASTER = "master"
"""Beside the moments in the optimiser's file: the float32 copy of a weight that the model has in bfloat16."""


@dataclass(frozen=True)
class Trained:
    """A model in training.

    `adapter` is peft's view of it where the adapter alone is trained; `base` is then the blob with all other
    weights.
    """

    model: PreTrainedModel
    dialogue: Dialogue
    adapter: PeftModel | None = None
    base: str = ""


def trained_policy(inputs: StageInputs) -> Trained:
    """Return a copy of the round's policy to be trained; with an adapter its other weights are frozen.

    Where several processes train it, the copy is on the CPU and gets what they learnt on their devices.
    """
    settings, dialogue = inputs.config.policy, inputs.policy().dialogue
    base = trained_base(inputs)
    if settings.devices == 1 and not base:
        trained = Trained(copy.deepcopy(inputs.policy().model), dialogue)
    else:
        device = settings.device if settings.devices == 1 else "cpu"
        whole = inputs.store.blob(base) if base else None
        model, adapter = load_trained(inputs.folder("policy"), whole, device)
        trained = Trained(model, dialogue, adapter, base)
    if settings.gradient_checkpointing:
        compute_twice(trained.model)
    return trained


def trained_base(inputs: StageInputs) -> str:
    """Return the blob with the weights below the adapter that is trained; empty where there is no adapter."""
    folder = inputs.folder("policy")
    return read_references(folder).get(BASE, inputs.blobs["policy"]) if has_adapter(folder) else ""


def load_trained(folder: Path, base: Path | None, device: str) -> tuple[PreTrainedModel, PeftModel | None]:
    """Return a policy to be trained, and peft's view of it where that is its adapter.

    Args:
        folder: of the policy.
        base: folder with the weights below its adapter; None where it has none.
        device: where to put the model.
    """
    model = load_model(base or folder, device)
    if base is None:
        return model, None
    adapter = trainable_adapter(model, folder)
    return adapter.get_base_model(), adapter


def compute_twice(model: PreTrainedModel) -> None:
    """Let a model compute each layer a second time on the way back instead of keeping what it computed."""
    # Older transformers know it under the name of the second only, newer ones warn about that.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def save_trained(folder: Path, trained: Trained) -> None:
    """Write a policy folder: all of it, or the adapter and which blob the rest is."""
    if trained.adapter is None:
        save_policy(folder, trained.model, trained.dialogue)
        return
    save_adapter(folder, trained.adapter)
    write_references(folder, {BASE: trained.base})


def trained_id(inputs: StageInputs) -> str:
    """Return the id of the policy that was written into the stage's folder."""
    base = read_references(inputs.scratch).get(BASE)
    return policy_id(inputs.scratch, inputs.store.blob(base) if base else None)


def save_average(inputs: StageInputs, trained: Trained, optimiser: torch.optim.Optimizer) -> None:
    """Write the EMA teacher: `ema_rate` times the old average plus the rest of the new weights.

    An average moves by less than bfloat16 can tell, so it is float32. With an adapter its two matrices are
    averaged, each by itself.
    """
    new, rate = optimiser.param_groups[0]["params"], inputs.config.sdar.ema_rate
    if trained.adapter is not None:
        _save_adapter_average(inputs, rate)
        return
    average = copy.deepcopy(teacher_policy(inputs, "ema").model)
    torch.nn.Module.float(average)
    with torch.no_grad():
        for kept, weight in zip(average.parameters(), new, strict=True):
            kept.mul_(rate).add_(weight.to(kept.device), alpha=1 - rate)
    save_policy(inputs.scratch / EMA, average, trained.dialogue)


def _save_adapter_average(inputs: StageInputs, rate: float) -> None:
    before = inputs.folder("policy")
    before = before / EMA if (before / EMA).is_dir() else before
    old = load_weights(before / ADAPTER / ADAPTER_WEIGHTS)
    new = load_weights(inputs.scratch / ADAPTER / ADAPTER_WEIGHTS)
    average = {name: old[name].mul(rate).add(weight, alpha=1 - rate) for name, weight in new.items()}
    write_adapter(inputs.scratch / EMA, average, read_adapter_settings(inputs.scratch))


def load_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Restore AdamW's moments, step counts and float32 weights; their order is that of the parameters.

    Parameters without stored state, because no step was taken so far, begin afresh.
    """
    restore_optimiser(optimiser, load_weights(path))


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Restore what `optimiser_tensors` gave."""
    for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
        if f"{index}.{MASTER}" in tensors:
            with torch.no_grad():
                parameter.copy_(placed_like(tensors[f"{index}.{MASTER}"], parameter))
        if f"{index}.step" in tensors:
            # AdamW counts steps on the CPU and keeps its moments beside the weights.
            moments = {
                name: placed_like(tensors[f"{index}.{name}"], parameter) for name in ("exp_avg", "exp_avg_sq")
            }
            optimiser.state[parameter] = {"step": tensors[f"{index}.step"], **moments}


def save_optimiser(optimiser: torch.optim.Optimizer, path: Path, model: PreTrainedModel) -> None:
    """Write AdamW's moments and step counts, and the float32 copies of weights that the model rounds."""
    save_weights(path, dict(optimiser_tensors(optimiser, model)))


def optimiser_tensors(
    optimiser: torch.optim.Optimizer, model: PreTrainedModel
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what is stored of an optimiser, by name, in the order of the parameters."""
    weights = trained_weights(model)
    for index, parameter in enumerate(optimiser.param_groups[0]["params"]):
        for name, value in optimiser.state[parameter].items():
            yield f"{index}.{name}", value
        if parameter is not weights[index]:
            yield f"{index}.{MASTER}", parameter
