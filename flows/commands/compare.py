"""`sdar compare`: methods, or any other arms, over seeds, under one protocol and with one result."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows.commands.options import (
    STORE,
    EnvOption,
    FileOption,
    JsonOption,
    SetOption,
    StoreOption,
    WaitOption,
    overrides,
)
from sdar.flows.display import write_json
from sdar.flows.output import aligned
from sdar.flows.progress import accounted
from sdar.schemas.errors import ConfigError
from sdar.schemas.study import StudyRecord

if TYPE_CHECKING:
    from sdar.flows.study_pool import Failure
    from sdar.storage.study import StudyStore

SEEDS = "0-4"


def compare(
    methods: Annotated[
        str | None, typer.Option("--methods", metavar="A,B,...", help="Arms that are a method each.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="'LABEL: PATH=VALUE ...'", help="One more arm. Repeatable."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Method of each --arm that sets none; sdar by default.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help=f"Such as 0-4 or 0,2,5; {SEEDS} by default.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Rounds of every arm; 20 by default.")
    ] = None,
    env: EnvOption = None,
    config: FileOption = None,
    set_: SetOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the study; by default it follows from the definition.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="[NAME]", help="Go on with a study, by default the latest."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="ARM", help="What others are compared with; the first."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs at the same time; by default one for each core.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the result; by default STORE/studies/NAME.")
    ] = None,
    store: StoreOption = STORE,
    wait: WaitOption = 0.0,
    json_: JsonOption = False,
) -> None:
    """Compare methods, or arms of other settings, over seeds; write tables, JSON and a page with curves."""
    wanted: StudyRecord | str
    if resume is None:
        wanted = _defined(methods, arm or [], base, seeds, rounds, config, overrides(set_, env=env), name)
    else:
        wanted = resume
        if any(value is not None for value in (methods, arm, base, seeds, rounds, env, config, set_, name)):
            raise ConfigError(
                "--resume was given together with a definition; a study keeps its own. Allowed with it: "
                "--baseline, --jobs, --out, --store, --wait and --json."
            )
    ending = _Ending(store)
    with accounted(ending):
        failures = _run(wanted, ending, _Choices(jobs, baseline, out, wait, json_))
        if failures:
            raise typer.Exit(_tell_failures(failures))


@dataclass(frozen=True)
class _Choices:
    """What does not belong to the definition of a study."""

    jobs: int | None
    baseline: str | None
    out: Path | None
    wait: float
    as_json: bool


@dataclass
class _Ending:
    """Where to go on when the command does not come to its end."""

    store: Path
    study: str = ""
    told: bool = False

    @property
    def begun(self) -> bool:
        """Whether the study is recorded."""
        return bool(self.study)

    def tell(self) -> None:
        """Print once, on standard error, the command that goes on from here."""
        if self.study and not self.told:
            self.told = True
            line = f"Continue with: {resume_command(self.study, self.store)}"
            print(line, file=sys.stderr, flush=True)


def resume_command(study: str, store: Path) -> str:
    """Return the command that goes on with a study at the first unfinished stage of each run."""
    return f"sdar compare --resume {shlex.quote(study)} --store {shlex.quote(str(store))}"


def _defined(
    methods: str | None,
    arms: Sequence[str],
    base: str | None,
    seeds: str | None,
    rounds: int | None,
    file: Path | None,
    texts: Sequence[str],
    name: str | None,
) -> StudyRecord:
    from sdar.envs.registry import environment_factory
    from sdar.flows.trackers.base import require_trackers
    from sdar.tasks.study import define_study, study_record

    definition = define_study(
        [each.strip() for each in (methods or "").split(",") if each.strip()],
        arms,
        SEEDS if seeds is None else seeds,
        base=base or "sdar",
        file=file,
        overrides=texts,
        rounds=rounds,
    )
    for world in {arm.config["env"]["name"] for arm in definition.arms}:
        environment_factory(world)  # a missing package is told before anything starts
    for arm in definition.arms:
        require_trackers(arm.run_config(0).logging)
    return study_record(definition, name, datetime.now(UTC), shlex.join(["sdar", *sys.argv[1:]]))


def _run(wanted: StudyRecord | str, ending: _Ending, choices: _Choices) -> list[Failure]:
    from sdar.flows.study import Driver, chosen_baseline, default_folder, stored_study
    from sdar.flows.study_report import Reporter
    from sdar.flows.study_watch import open_study_watch
    from sdar.storage.study import open_study_store

    store = open_study_store(ending.store)
    with store.writer("sdar compare", choices.wait):
        study = stored_study(store, wanted) if isinstance(wanted, str) else _begun(store, wanted)
        ending.study = study.name
        folder = choices.out or default_folder(store.path, study.name)
        reporter = Reporter(store, study, chosen_baseline(study, choices.baseline), folder)
        store.publish()
        driver = Driver(store, study, reporter, choices.jobs)
        with open_study_watch(study, driver.done(), as_json=choices.as_json) as watch:
            failures = driver.run(watch)
        _close(reporter.write(), folder, as_json=choices.as_json)
    return failures


def _begun(store: StudyStore, study: StudyRecord) -> StudyRecord:
    from sdar.tasks.study import begin_study

    return begin_study(store, study)


def _close(document: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    from sdar.flows.study_tables import difference_columns, difference_rows, headline, result_rows

    if as_json:
        write_json(sys.stdout, {"event": "study", "folder": str(folder), "result": document})
        return
    columns = ("arm", "seeds", "last", "best", "area")
    lines = [
        f"Study {document['name']}: {headline(document)}",
        "Success in per cent, means over seeds with 95 % intervals over seeds:",
        aligned(columns, [row[: len(columns)] for row in result_rows(document)]),
    ]
    if document["differences"]:
        lines += ["", aligned(difference_columns(document), difference_rows(document))]
    lines += ["", *document["notes"], "", f"Page: {folder / 'index.html'}", f"Tables: {folder / 'result.md'}"]
    typer.echo("\n".join(lines))


def _tell_failures(failures: Sequence[Failure]) -> int:
    """Print each error once, with the runs that met it; return the exit code of the first."""
    by_error: dict[str, list[Failure]] = {}
    for failure in failures:
        by_error.setdefault(failure.error, []).append(failure)
    for error, found in by_error.items():
        runs = ", ".join(f"{each.member.arm} seed {each.member.seed}" for each in found)
        print(f"Error: {runs}: {error}", file=sys.stderr)
    return failures[0].exit_code
