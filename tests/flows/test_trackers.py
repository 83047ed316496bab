"""What is written for TensorBoard and MLflow: once, with the round as step, whatever was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from report_store import report_store
from store_samples import stage

from sdar.flows import cli
from sdar.flows.trackers import base
from sdar.flows.trackers.base import moment, require_trackers, stage_figures, tracking
from sdar.schemas.config import LoggingConfig, RunConfig
from sdar.schemas.errors import EnvironmentMissingError, InputError
from sdar.schemas.records import UpdateReport
from sdar.storage import Store, open_store

KINDS = ("tensorboard", "mlflow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("tracked") / "store"
    report_store(folder)
    opened = open_store(folder)
    summary = {"success": 0.25, "low": 0.1, "warnings": "Look."}
    with opened.writer("test"):
        third = stage("collect", "collect 3", round=3, summary=summary, finished="2026-01-01T00:00:09+00:00")
        opened.commit(third, "episodes", {})
    return opened


class Notebook:
    """A tracker in memory, which refuses what it has already."""

    def __init__(self, there: Mapping[tuple[str, int], float]) -> None:
        self.figures = dict(there)
        self.moments = dict.fromkeys(there, moment(datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC)))
        self.ends: list[bool] = []

    def written(self) -> dict[tuple[str, int], int]:
        return self.moments

    def forget(self, round: int) -> None:
        self.figures = {place: value for place, value in self.figures.items() if place[1] < round}
        self.moments = {place: value for place, value in self.moments.items() if place[1] < round}

    def write(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        for name, value in figures.items():
            assert (name, round) not in self.figures
            self.figures[name, round], self.moments[name, round] = value, moment(when)
        if (name, round) == ("collect/low", 3):
            assert when == datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC)

    def close(self, *, done: bool) -> None:
        self.ends.append(done)


def update(**changes: Any) -> UpdateReport:
    figures = dict.fromkeys(set(UpdateReport.model_fields) - {"step", "tokens", "skipped"}, 0.5)
    return UpdateReport.model_validate({**figures, "step": 0, "tokens": 3, "skipped": False, **changes})


def test_figures_of_a_stage_are_its_numbers_losses_and_time() -> None:
    summary = {"loss": 1.5, "policy": "p1", "warnings": "", "_source": "abc"}
    steps = [update(policy_loss=1.0, distillation=0.25), update(policy_loss=2.0, distillation=0.75)]
    skipped = update(policy_loss=float("nan"), skipped=True)
    assert stage_figures(stage("update", summary=summary), [*steps, skipped]) == {
        "update/loss": 1.5,
        "update/policy_loss": 1.5,
        "update/distillation": 0.5,
        "seconds/update": 2.0,
    }
    assert stage_figures(stage("update", summary=summary, reused_from="r0"), []) == {"update/loss": 1.5}


def interrupted(store: Store, config: RunConfig) -> None:
    with tracking(store, "r1", config) as catch_up:
        catch_up()
        raise KeyboardInterrupt


def test_each_figure_is_written_once_also_after_an_interruption(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notebook({("collect/success", 3): 0.25})  # all that a killed process came to write
    monkeypatch.setattr(base, "_open", lambda run_id, config: [notes])
    with pytest.raises(KeyboardInterrupt):
        interrupted(store, RunConfig())
    first = dict(notes.figures)
    assert first["collect/low", 3] == 0.1
    assert first["update/policy_loss", 1] == 0.015
    assert first["seconds/evaluate", 2] == 2.0
    with tracking(store, "r1", RunConfig()) as catch_up:
        catch_up()
        catch_up()
    assert notes.figures == first
    assert notes.ends == [False, True]


def test_without_settings_nothing_is_read_or_written(tmp_path: Path) -> None:
    class NoStore:
        pass

    with tracking(NoStore(), "r1", RunConfig()) as catch_up:  # type: ignore[arg-type]
        catch_up()


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_package_names_its_extra(
    kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    require_trackers(LoggingConfig())
    monkeypatch.setattr(f"sdar.flows.trackers.{kind}.find_spec", lambda name: None)
    with pytest.raises(EnvironmentMissingError, match=rf"pip install 'sdar\[{kind}\]'"):
        require_trackers(LoggingConfig.model_validate({kind: "folder"}))
    for command in (["run"], ["compare", "--methods", "sdar,grpo"]):
        asked = [*command, "--set", f"logging.{kind}=folder", "--store", str(tmp_path / "store")]
        assert cli.execute(asked) == EnvironmentMissingError.exit_code
        assert f"pip install 'sdar[{kind}]'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def read_tensorboard(folder: Path) -> list[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "r1"), size_guidance={"scalars": 0})
    found.Reload()
    names = found.Tags()["scalars"]
    return [(name, event.step, event.value) for name in names for event in found.Scalars(name)]


def read_mlflow(folder: Path) -> list[tuple[str, int, float]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sdar")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("r1", "FINISHED")
    assert run.data.params["sdar.gate"] == RunConfig().sdar.gate
    return [
        (name, metric.step, metric.value)
        for name in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, name)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_the_real_packages_hold_each_figure_once(kind: str, store: Store, tmp_path: Path) -> None:
    pytest.importorskip(kind)
    folder = tmp_path / "logs"
    config = RunConfig.model_validate({"logging": {kind: str(folder)}})
    with pytest.raises(KeyboardInterrupt):
        interrupted(store, config)
    for file in folder.glob("r1/events*"):  # a process that was killed while it wrote
        file.write_bytes(file.read_bytes()[:-7])
    with tracking(store, "r1", config) as catch_up:
        catch_up()
    rows = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}[kind](folder)
    places = [(name, step) for name, step, _ in rows]
    assert len(places) == len(set(places))
    values = {(name, step): value for name, step, value in rows}
    assert values["collect/success", 3] == 0.25
    assert values["update/policy_loss", 1] == pytest.approx(0.015, abs=1e-8)  # float32 in event files
    assert values["seconds/evaluate", 0] == 2.0


def evaluated_twice(folder: Path) -> tuple[Store, Callable[[], None]]:
    """A store with a run of three rounds, and what computes its first evaluation again to other results."""
    report_store(folder)
    opened = open_store(folder)

    def evaluate(key: str, finished: str, **summary: float) -> None:
        with opened.writer("test"):
            done = stage("evaluate", key, round=1, summary=summary, finished=finished)
            opened.commit(done, "evaluation", {})

    evaluate("first", "2026-01-01T00:00:05+00:00", success=0.5, low=0.25)
    with opened.writer("test"):
        opened.commit(stage("collect", "collect 3", round=3, summary={"success": 0.25}), "episodes", {})
    return opened, lambda: evaluate("second", "2026-01-01T00:01:00+00:00", success=0.875)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_computed_again_is_shown(kind: str, tmp_path: Path) -> None:
    pytest.importorskip(kind)
    store, again = evaluated_twice(tmp_path / "store")
    config = RunConfig.model_validate({"logging": {kind: str(tmp_path)}})
    with tracking(store, "r1", config) as catch_up:
        catch_up()
    again()
    with tracking(store, "r1", config) as catch_up:
        catch_up()
        catch_up()
    rows = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}[kind](tmp_path)
    values = [value for name, step, value in rows if (name, step) == ("evaluate/success", 1)]
    assert values[-1] == 0.875
    assert len(values) == {"tensorboard": 1, "mlflow": 2}[kind]
    assert [value for name, step, value in rows if (name, step) == ("collect/success", 3)] == [0.25]


def test_what_was_computed_again_takes_the_place_of_what_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (store, again), notes = evaluated_twice(tmp_path / "store"), Notebook({})
    monkeypatch.setattr(base, "_open", lambda run_id, config: [notes])
    with tracking(store, "r1", RunConfig()) as catch_up:
        catch_up()
        before = dict(notes.figures)
        again()
        catch_up()
    changed = {("evaluate/success", 1): 0.875}
    assert notes.figures == {name: v for name, v in before.items() if name != ("evaluate/low", 1)} | changed


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_cannot_be_used_is_named(kind: str, store: Store, tmp_path: Path) -> None:
    pytest.importorskip(kind)
    (tmp_path / "file").touch()
    config = RunConfig.model_validate({"logging": {kind: str(tmp_path / "file" / "logs")}})
    with pytest.raises(InputError, match=f"logging.{kind}: cannot"), tracking(store, "r1", config):
        pass
