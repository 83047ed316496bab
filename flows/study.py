"""A study from its record to its result: runs what is missing, reports what there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdar.flows.study_pool import Event, Failure, Pool
from sdar.flows.study_report import Reporter
from sdar.flows.study_watch import StudyWatch
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.machine import cores
from sdar.schemas.near import did_you_mean
from sdar.schemas.study import Member, StudyRecord

if TYPE_CHECKING:
    from sdar.storage.study import StudyStore

LATEST = "latest"


@dataclass(frozen=True)
class Driver:
    """Carries out what is missing of a study in an open store, inside `store.writer`.

    Attributes:
        store: where the study is recorded.
        study: its record.
        reporter: writes the result again whenever a run is done.
        jobs: runs at the same time, or None for one per core.
    """

    store: StudyStore
    study: StudyRecord
    reporter: Reporter
    jobs: int | None

    def run(self, watch: StudyWatch) -> list[Failure]:
        """Run what is missing and report; return the runs that failed.

        When it is interrupted, the runs in progress are recorded as such and all processes have ended.
        """
        done = self.done()
        for member in self.study.members:
            if member.run_id in done:
                self.reporter.add(member)
        left = [member for member in self.study.members if member.run_id not in done]
        pool = Pool(self.store.path, self.study.name, self._jobs(len(left)), self._on_event(watch))
        try:
            return pool.run(left)
        except BaseException:
            begun = {run.id for run in self.store.runs()}
            for member in pool.running:
                if member.run_id in begun:
                    self.store.finish_run(member.run_id, "interrupted")
            raise
        finally:
            self.store.publish()

    def done(self) -> set[str]:
        """Return the ids of the runs that are done, of this study and others."""
        return {run.id for run in self.store.runs() if run.status == "done"}

    def _jobs(self, left: int) -> int:
        return max(min(self.jobs or cores(), left), 1)

    def _on_event(self, watch: StudyWatch) -> Callable[[Member, Event], None]:
        def on_event(member: Member, event: Event) -> None:
            if event["event"] == "done":
                self.store.free(member.run_id)
                self.store.publish()
                self.reporter.add(member)
                self.reporter.write()
            watch.event(member, event)

        return on_event


def stored_study(store: StudyStore, name: str) -> StudyRecord:
    """Return the study of a name, or the one that began last for `latest`.

    Raises:
        InputError: there is none.
    """
    studies = store.studies()
    found = studies[-1] if studies and name == LATEST else store.study(name)
    if found is None:
        names = ", ".join(study.name for study in studies) or "none"
        raise InputError(
            f"the store {store.path} has no study {name!r}; it has: {names}."
            f"{did_you_mean(name, [study.name for study in studies])} "
            "Begin one, for instance with: sdar compare --methods grpo,sdar --seeds 0-4"
        )
    return found


def chosen_baseline(study: StudyRecord, label: str | None) -> str:
    """Return the label of the arm that others are compared with: the given one, or the first.

    Raises:
        ConfigError: the study has no such arm.
    """
    labels = [arm.label for arm in study.definition.arms]
    if label is not None and label not in labels:
        raise ConfigError(f"--baseline: found {label!r}; allowed: {', '.join(labels)}")
    return label or labels[0]


def default_folder(store: Path, study: str) -> Path:
    """Return where the result of a study is written unless the user names a folder."""
    return store / "studies" / study
