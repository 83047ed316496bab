"""What an update hands to its ranks, as JSON and safetensors in a folder, and what they hand back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributed.tensor import DTensor

from sdar.policy.model import load_weights, save_weights
from sdar.policy.scoring import Row
from sdar.rl.learner import LearnerRow, Objective
from sdar.schemas.config import PolicyConfig, SdarConfig, UpdateConfig
from sdar.schemas.records import UpdateReport

PLAN, ARRAYS = "plan.json", "plan.safetensors"
REPORTS = "reports.json"
WEIGHT = "weight"
"""Before the number of a trained weight; those of the optimiser's state are named as in its file."""
FAILURE = "failure.json"
"""Written by the rank that failed first: those that miss it then fail as well."""

_PER_TOKEN = ("advantages", "logp_old", "logp_teacher", "logp_reference", "teacher_hidden")


@dataclass(frozen=True)
class Plan:
    """An update as every rank is told it.

    Attributes:
        folder: with the policy and its optimiser's state; ranks only read it.
        base: folder with all other weights where the policy is an adapter alone.
        settings: of the policy: devices, threads, recomputed layers.
        rate_factor: multiplies the learning rate.
        rows: all rows of the round.
        batches: row indices of each mini-batch.
        objective: loss switches, and the teacher's output embedding where the loss needs it.
    """

    folder: Path
    base: Path | None
    settings: PolicyConfig
    rate_factor: float
    rows: Sequence[LearnerRow]
    batches: Sequence[NDArray[np.int64]]
    objective: Objective


def write_plan(folder: Path, plan: Plan) -> None:
    """Write a plan into an empty folder."""
    objective = plan.objective
    arrays = {"batches": np.concatenate(plan.batches), "sizes": _lengths(plan.batches), **_flat(plan.rows)}
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    if objective.teacher_head is not None:
        tensors["teacher_head"] = objective.teacher_head
    save_weights(folder / ARRAYS, tensors)
    told = {
        "folder": str(plan.folder),
        "base": str(plan.base) if plan.base else None,
        "settings": plan.settings.model_dump(mode="json"),
        "rate_factor": plan.rate_factor,
        "sdar": objective.sdar.model_dump(mode="json"),
        "update": objective.update.model_dump(mode="json"),
        "temperature": objective.temperature,
    }
    (folder / PLAN).write_text(json.dumps(told), encoding="utf-8")


def read_plan(folder: Path) -> Plan:
    """Read a plan; its arrays stay in the file until they are used."""
    told = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    tensors = load_weights(folder / ARRAYS)
    head = tensors.pop("teacher_head", None)
    arrays = {name: values.numpy() for name, values in tensors.items()}
    return Plan(
        folder=Path(told["folder"]),
        base=Path(told["base"]) if told["base"] else None,
        settings=PolicyConfig.model_validate(told["settings"]),
        rate_factor=told["rate_factor"],
        rows=_rows(arrays),
        batches=_split(arrays["batches"], arrays["sizes"]),
        objective=Objective(
            SdarConfig.model_validate(told["sdar"]),
            UpdateConfig.model_validate(told["update"]),
            told["temperature"],
            head,
        ),
    )


def write_part(folder: Path, number: int, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write what a rank has of some tensors: its rows of those that are sharded."""
    own = {name: value.to_local() if isinstance(value, DTensor) else value for name, value in tensors.items()}
    save_weights(_part(folder, number), own)


def read_parts(folder: Path, count: int) -> dict[str, torch.Tensor]:
    """Put together tensors of which `count` ranks wrote their rows; single numbers are the same in all."""
    parts = [load_weights(_part(folder, number)) for number in range(count)]
    return {
        name: torch.cat([part[name] for part in parts]) if value.dim() else value
        for name, value in parts[0].items()
    }


def _part(folder: Path, number: int) -> Path:
    return folder / f"part{number}.safetensors"


def write_reports(folder: Path, reports: Sequence[UpdateReport]) -> None:
    """Write reports; a loss that is not finite is kept as it is."""
    text = json.dumps([report.model_dump() for report in reports])
    (folder / REPORTS).write_text(text, encoding="utf-8")


def read_reports(folder: Path) -> list[UpdateReport]:
    """Read reports."""
    return [UpdateReport(**values) for values in json.loads((folder / REPORTS).read_text(encoding="utf-8"))]


def _flat(rows: Sequence[LearnerRow]) -> dict[str, NDArray[Any]]:
    """Return the fields of all rows, one after another; a field that the loss does not read is left out."""
    arrays: dict[str, NDArray[Any]] = {
        "token_ids": np.concatenate([each.row.token_ids for each in rows]),
        "positions": np.concatenate([each.row.positions for each in rows]),
        "lengths": _lengths([each.row.token_ids for each in rows]),
        "counts": _lengths([each.row.positions for each in rows]),
        "taught": np.array([each.taught for each in rows]),
    }
    for name in _PER_TOKEN:
        values = [getattr(each, name) for each in rows]
        if all(value is not None for value in values):
            arrays[name] = np.concatenate(values)
    return arrays


def _rows(arrays: dict[str, NDArray[Any]]) -> list[LearnerRow]:
    counts = arrays["counts"]
    fields = {name: _split(arrays[name], counts) for name in _PER_TOKEN if name in arrays}
    ids, positions = _split(arrays["token_ids"], arrays["lengths"]), _split(arrays["positions"], counts)
    return [
        LearnerRow(
            row=Row(ids[i], positions[i]),
            taught=bool(taught),
            **{name: values[i] for name, values in fields.items()},
        )
        for i, taught in enumerate(arrays["taught"])
    ]


def _lengths(values: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    return np.array([len(each) for each in values], dtype=np.int64)


def _split(values: NDArray[Any], lengths: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values, np.cumsum(lengths)[:-1])
