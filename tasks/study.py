"""A study: arms x seeds under one protocol; what it consists of, and how one of its runs is carried out."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.envs.registry import KINDS
from sdar.rl.methods import METHODS
from sdar.schemas.errors import ConfigError
from sdar.schemas.keys import content_hash
from sdar.schemas.lineage import RunRecord
from sdar.schemas.near import nearest
from sdar.schemas.resolve import ConfigFaultsError, Fault, flatten, resolve
from sdar.schemas.study import Arm, Member, StudyDefinition, StudyRecord
from sdar.storage.study import StudyStore

if TYPE_CHECKING:
    # At run time this would bring torch to the process that only hands out runs.
    from sdar.tasks.session import Clock, Session, StageReport

ROUNDS = 20
PROTOCOL: Mapping[str, Any] = {
    "stop.target": 1.0,
    "stop.patience": 1_000_000,
    "evaluation.every": 5,
    "policy.threads": 1,
}
"""Below the methods: equal rounds for every arm, and sums that do not depend on how many runs there are at
once. The lower end of a success interval never reaches 1, so no arm stops early; a collapsed one does.
"""
_MOST_SEEDS = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PER_RUN = {"seed": "--seeds", "method": "--methods, or method=NAME in --arm"}


def define_study(
    methods: Sequence[str],
    arms: Sequence[str],
    seeds: str,
    *,
    base: str = "sdar",
    file: Path | None = None,
    overrides: Sequence[str] = (),
    rounds: int | None = None,
) -> StudyDefinition:
    """Return the study that a command line describes.

    The settings of an arm are, each over the one before: the defaults, its environment, `PROTOCOL`, its
    method, the file, the number of rounds unless the method has one, `overrides`, and what the arm itself
    sets.

    Args:
        methods: a name for each arm that is a method and nothing else.
        arms: texts `label: path=value path=value` of further arms.
        seeds: for instance `0-4` or `0,2,5`.
        base: method of the further arms that set none.
        file: a YAML or TOML file with settings of all arms, or None.
        overrides: `path=value` texts for all arms.
        rounds: rounds of every arm; by default those of the file, or 20.

    Raises:
        ConfigError: something is wrong; the message lists every fault with what is allowed.
    """
    faults: list[Fault] = []
    wanted: list[tuple[str, str, tuple[str, ...]]] = [(name, name, ()) for name in methods]
    read = (_read_arm(text, base, faults) for text in arms)
    wanted += [found for found in read if found is not None]
    for path, option in _PER_RUN.items():
        faults += [
            Fault("--set", repr(text), f"{path} by {option}") for text in overrides if _sets(text, path)
        ]
    numbers = read_seeds(seeds, faults)
    made = [_arm(*each, file, overrides, rounds, faults) for each in wanted]
    labels = [label for label, _, _ in wanted]
    faults += [
        Fault("--arm", repr(label), "labels that differ") for label in labels if labels.count(label) > 1
    ]
    if len(wanted) < 2:
        found = f"{len(wanted)} {'arm' if len(wanted) == 1 else 'arms'}"
        faults.append(Fault("--methods and --arm", found, "two arms or more"))
    if faults:
        raise ConfigFaultsError("the study", faults)
    return StudyDefinition(arms=tuple(arm for arm in made if arm is not None), seeds=numbers)


def read_seeds(text: str, faults: list[Fault]) -> tuple[int, ...]:
    """Return the seeds that a text such as `0-4` or `0,2,5` names; what is wrong is added to `faults`."""
    allowed = f"whole numbers such as 0-4 or 0,2,5, each once and at most {_MOST_SEEDS}"
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < min(first + _MOST_SEEDS, 2**31):
            faults.append(Fault("--seeds", repr(part), allowed))
            continue
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds) or len(seeds) > _MOST_SEEDS:
        faults.append(Fault("--seeds", repr(text), allowed))
    return tuple(seeds)


def study_record(
    definition: StudyDefinition, name: str | None, created: datetime, command: str
) -> StudyRecord:
    """Return the record of a study, by default under a name that follows from its definition.

    Raises:
        ConfigError: the name has characters that file names should not have.
    """
    name = name or f"study-{content_hash(definition.model_dump(mode='json'))[:8]}"
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r} is no name for a study; allowed are up to 64 letters, digits, dots, dashes and "
            "underscores, for instance --name gates"
        )
    slugs = _slugs([arm.label for arm in definition.arms])
    members = tuple(
        Member(arm=arm.label, seed=seed, run_id=f"{name}-{slug}-seed{seed}")
        for arm, slug in zip(definition.arms, slugs, strict=True)
        for seed in definition.seeds
    )
    moment = created.isoformat(timespec="seconds")
    return StudyRecord(name=name, created=moment, command=command, definition=definition, members=members)


def begin_study(store: StudyStore, study: StudyRecord) -> StudyRecord:
    """Record a study, or find the one of that name; return what the store holds.

    Raises:
        ConfigError: the store has another study of that name; the message says what differs.
    """
    known = store.study(study.name)
    if known is None:
        store.save_study(study)
        return study
    differences = study_differences(known.definition, study.definition)
    if differences:
        lines = "\n".join(f"  {line}" for line in differences)
        raise ConfigError(
            f"the store {store.path} has a study {study.name} with another definition:\n{lines}\n"
            f"Give this one another --name, or go on with the stored one: "
            f"sdar compare --resume {study.name} --store {shlex.quote(str(store.path))}"
        )
    return known


def study_differences(before: StudyDefinition, after: StudyDefinition) -> list[str]:
    """Return one line for everything in which two definitions differ, `stored -> given`."""
    lines = []
    if before.seeds != after.seeds:
        lines.append(f"seeds: {_numbers(before.seeds)} -> {_numbers(after.seeds)}")
    first, second = ({arm.label: arm for arm in each.arms} for each in (before, after))
    if list(first) != list(second):
        lines.append(f"arms: {', '.join(first)} -> {', '.join(second)}")
    for label in first.keys() & second.keys():
        old, new = flatten(first[label].config), flatten(second[label].config)
        lines += [
            f"{label}: {path}: {old.get(path, 'not set')} -> {new.get(path, 'not set')}"
            for path in sorted(old.keys() | new.keys())
            if old.get(path) != new.get(path)
        ]
    return lines


def run_member(
    store: StudyStore,
    arm: Arm,
    member: Member,
    clock: Clock,
    watch: Callable[[StageReport], None],
) -> None:
    """Carry out one run of a study, or what is left of it, in the calling process.

    Round 0 is the same for most arms: one process computes it while the others wait for it.

    Args:
        store: joined, or inside `store.writer`.
        arm: what to run.
        member: with which seed and under which id.
        clock: tells the time.
        watch: called after every stage.

    Raises:
        SdarError: whatever a stage found wrong; the run is recorded as failed and can go on.
    """
    from sdar.tasks.session import Session

    session = Session.start(store, arm.run_config(member.seed), _begun(store, arm, member, clock), clock)
    try:
        with store.alone("round-0"):
            _run_round(session, 0, watch)
        for number in itertools.count(1):
            if session.verdict is not None and session.verdict.stop:
                break
            _run_round(session, number, watch)
    except Exception:
        session.finish("failed")
        raise
    session.finish("done")


def _run_round(session: Session, number: int, watch: Callable[[StageReport], None]) -> None:
    for stage in session.plan(number):
        watch(session.execute(stage, number))


def _begun(store: StudyStore, arm: Arm, member: Member, clock: Clock) -> str:
    if all(run.id != member.run_id for run in store.runs()):
        config = arm.run_config(member.seed)
        created = clock.now().isoformat(timespec="seconds")
        record = RunRecord(
            id=member.run_id,
            created=created,
            method=config.method,
            seed=member.seed,
            config=config.model_dump(mode="json"),
        )
        store.begin_run(record)
    return member.run_id


def _read_arm(text: str, base: str, faults: list[Fault]) -> tuple[str, str, tuple[str, ...]] | None:
    label, colon, rest = (part.strip() for part in text.partition(":"))
    allowed = "'label: path=value path=value', for instance 'beta=0: sdar.beta=0'"
    if not colon or not label:
        faults.append(Fault("--arm", repr(text), allowed))
        return None
    try:
        settings = shlex.split(rest)
    except ValueError as error:
        faults.append(Fault("--arm", f"{text!r} ({error})", allowed))
        return None
    faults += [
        Fault("--arm", repr(each), "seed by --seeds", f"in arm {label!r}")
        for each in settings
        if _sets(each, "seed")
    ]
    methods = [each.partition("=")[2].strip() for each in settings if _sets(each, "method")]
    return label, (methods or [base])[-1], tuple(each for each in settings if not _sets(each, "method"))


def _arm(
    label: str,
    method: str,
    settings: tuple[str, ...],
    file: Path | None,
    overrides: Sequence[str],
    rounds: int | None,
    faults: list[Fault],
) -> Arm | None:
    if method not in METHODS:
        near = nearest(method, METHODS)
        faults.append(Fault("--methods", repr(method), ", ".join(METHODS), near=near))
        method = next(iter(METHODS))  # what else is wrong is reported at once
    own = METHODS[method].settings
    known = {name: {**PROTOCOL, "stop.rounds": ROUNDS, **each.settings} for name, each in METHODS.items()}
    given = [f"stop.rounds={rounds}"] if rounds is not None else []
    fixed = [f"stop.rounds={own['stop.rounds']}"] if "stop.rounds" in own else []
    shared = [text for text in overrides if not any(_sets(text, path) for path in _PER_RUN)]
    mine = [text for text in settings if not _sets(text, "seed")]
    try:
        resolved = resolve(known, file, [f"method={method}", *given, *shared, *fixed, *mine], KINDS)
    except ConfigFaultsError as error:
        faults += error.faults
        return None
    config = resolved.config.model_dump(mode="json", exclude={"seed"})
    return Arm(label=label, method=method, settings=settings, config=config)


def _sets(text: str, path: str) -> bool:
    return text.partition("=")[0].strip() == path


def _numbers(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _slugs(labels: Sequence[str]) -> list[str]:
    """Return a different short name for every label, of letters, digits and dashes."""
    slugs: list[str] = []
    for label in labels:
        stem = re.sub(r"[^a-z0-9_.]+", "-", label.lower()).strip("-.")[:40] or "arm"
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        slugs.append(next(name for name in names if name not in slugs))
    return slugs
