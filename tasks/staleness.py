"""Which stored stages are still what code, settings and inputs would give; nothing is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sdar.schemas.keys import stage_key
from sdar.schemas.lineage import StageRun
from sdar.schemas.resolve import flatten
from sdar.tasks.registry import Place
from sdar.tasks.stage import SOURCE

Cause = Literal["CODE", "CONFIG", "INPUT", "MISSING", "SCHEMA"]
Condition = Literal["fresh", "stale", "missing"]


@dataclass(frozen=True)
class Reason:
    """Why a stage is not fresh: the cause, what differs, its stored and its present value."""

    cause: Cause
    what: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class StageState:
    """The condition of one stage of one round, and every reason for it; `warning` is empty or a sentence."""

    round: int
    stage: str
    condition: Condition
    reasons: tuple[Reason, ...] = ()
    warning: str = ""
    key: str = ""
    artifact_id: str | None = None

    @property
    def place(self) -> Place:
        """Round and name of the stage."""
        return self.round, self.stage


@dataclass(frozen=True)
class Present:
    """What a stage would be made from now.

    Attributes:
        version: of the stage's code.
        source: hash of the stage's module.
        fields: what it reads from outside the store, as `read_fields` gives it.
        inputs: artifact id by role; None where the run has no such artifact.
        makers: by role, the place whose artifact is read.
        seed: of this execution.
        files: whether the files of the stored artifact are there.
        schema: version of the store's schema, and the version that this code writes.
    """

    version: int
    source: str
    fields: Mapping[str, Any]
    inputs: Mapping[str, str | None]
    makers: Mapping[str, Place]
    seed: int
    files: bool
    schema: tuple[int, int]


def stage_states(
    places: Iterable[Place], stored: Mapping[Place, StageRun], present: Callable[[Place], Present]
) -> list[StageState]:
    """Return the state of each place; what was made from something stale counts as stale as well.

    Args:
        places: in the order of execution.
        stored: what the run has.
        present: what a place would be made from now.
    """
    states: list[StageState] = []
    unsettled: set[Place] = set()
    for place in places:
        state = stage_state(place, stored.get(place), present(place), unsettled)
        if state.condition == "stale" or place not in stored:
            unsettled.add(place)
        states.append(state)
    return states


def stage_state(
    place: Place, stored: StageRun | None, present: Present, unsettled: Iterable[Place] = ()
) -> StageState:
    """Compare a stored stage run with what it would be made from now.

    Args:
        place: round and stage.
        stored: the stage run, None when there is none.
        present: what it would be made from.
        unsettled: places whose artifact will change, or may.
    """
    if stored is None:
        return StageState(*place, "missing", (Reason("MISSING", "not computed yet"),))
    reasons = (
        *_code(stored, present),
        *_config(stored, present),
        *_inputs(stored, present, set(unsettled)),
        *_schema(present),
    )
    key = present_key(place[1], present)
    if not reasons and stored.key != key:
        reasons = (Reason("CODE", "key", stored.key, key),)
    condition: Condition = "stale" if reasons else "fresh"
    if not present.files:
        reasons, condition = (*reasons, Reason("MISSING", "its files are gone")), "missing"
    warning = _warning(place[1], stored, present)
    return StageState(*place, condition, reasons, warning, stored.key, stored.artifact_id)


def present_key(stage: str, present: Present) -> str:
    """Return the key under which the stage would be stored now."""
    inputs = {role: found or "" for role, found in present.inputs.items()}
    return stage_key(stage, present.version, present.fields, inputs, present.seed)


def _code(stored: StageRun, present: Present) -> list[Reason]:
    if stored.version == present.version:
        return []
    return [Reason("CODE", "version", stored.version, present.version)]


def _config(stored: StageRun, present: Present) -> list[Reason]:
    before, after = flatten(stored.config), flatten(present.fields)
    paths = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    return [Reason("CONFIG", path, before.get(path), after.get(path)) for path in paths]


def _inputs(stored: StageRun, present: Present, unsettled: set[Place]) -> list[Reason]:
    reasons = []
    for role in sorted({*stored.inputs, *present.inputs}):
        before, after = stored.inputs.get(role), present.inputs.get(role)
        maker = present.makers.get(role)
        if before != after:
            reasons.append(Reason("INPUT", role, before, after))
        elif maker in unsettled and maker is not None:
            reasons.append(Reason("INPUT", role, before, f"stale: {maker[1]} of round {maker[0]}"))
    return reasons


def _schema(present: Present) -> list[Reason]:
    found, written = present.schema
    return [] if found == written else [Reason("SCHEMA", "schema version", found, written)]


def _warning(stage: str, stored: StageRun, present: Present) -> str:
    kept = stored.summary.get(SOURCE)
    if kept is None or kept == present.source or stored.version != present.version:
        return ""
    return (
        f"the source of {stage} changed since, its version is {stored.version} as before: raise the version "
        "if the stage computes something else now, or compute it again with --force"
    )
