"""Whole small runs: reuse, resume, reproducibility, and every kind of teacher and divergence."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import LEARNING, SmallRun, SteppingClock, learn, run_all, small_config, start

from sdar.envs.base import Environment
from sdar.envs.workers import reset_many
from sdar.rl.learner import LearnerRow
from sdar.rl.statistics import wilson_interval
from sdar.schemas.errors import CheckFailedError, EnvironmentFailedError, InputError, IntegrityError
from sdar.schemas.lineage import StageRun
from sdar.schemas.records import TaskSpec
from sdar.storage import news, open_store
from sdar.storage.news import News
from sdar.tasks import rollout as rollout_module
from sdar.tasks import session as session_module
from sdar.tasks import update as update_module
from sdar.tasks.branches import begin_branch
from sdar.tasks.registry import STAGES, plan
from sdar.tasks.session import Session
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.update import learner_rows


def test_all_rounds_are_stored(finished: SmallRun) -> None:
    config = finished.session.config
    expected = [(number, stage) for number in range(3) for stage in plan(config, number)]
    assert list(finished.artifacts) == expected
    stored = finished.store.stage_runs(finished.session.run_id)
    assert {(run.round, run.stage): run.artifact_id for run in stored} == finished.artifacts
    assert not any(report.reused for report in finished.reports)
    assert finished.store.verify() == []
    assert finished.store.run(finished.session.run_id).status == "done"


def test_the_verdict_ends_the_run_and_names_the_best_policy(finished: SmallRun) -> None:
    verdict = finished.session.verdict
    assert verdict is not None
    assert (verdict.stop, verdict.reason, verdict.round) == (True, "rounds", 2)
    folder = finished.session.best_policy_folder()
    assert folder is not None
    assert (folder / "model.safetensors").is_file()


def test_the_table_has_one_row_a_round(finished: SmallRun) -> None:
    table = finished.session.table()
    assert [row["round"] for row in table] == [0, 1, 2]
    assert all(row["low"] <= row["success"] <= row["high"] for row in (table[0], table[2]))
    assert "success" not in table[1]  # an evaluation after every second round
    assert all(row["collected_low"] <= row["collected"] <= row["collected_high"] for row in table[1:])
    assert {"gap", "entropy", "gate_share", "drift", "tokens_per_second"} <= set(table[2])


def test_rounds_that_a_branch_shares_keep_their_intervals_and_cost_it_nothing(
    finished: SmallRun, policy_path: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.store.path, tmp_path / "store")
    store, parent = open_store(tmp_path / "store"), finished.session.run_id
    larger = small_config(policy_path, {"rollout": {"tasks": 8}})
    with store.writer("test"):
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        branch = begin_branch(store, store.run(parent), larger, (2, "collect"), moment)
        session = Session.start(store, larger, branch.id, SteppingClock())
    session.recall(2)
    shared, first = session.table()[1], finished.session.table()[1]
    assert all(shared[name] == first[name] for name in ("collected", "collected_low", "collected_high"))
    assert (shared["collected"], first["seconds"] > 0, shared["seconds"]) == (0.0, True, 0.0)
    assert shared["collected_high"] == wilson_interval(0, 4).high  # two tasks of two episodes


def test_the_same_configuration_computes_nothing_twice(
    finished: SmallRun, policy_path: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.store.path, tmp_path / "store")
    again = run_all(tmp_path / "store", small_config(policy_path))
    assert all(report.reused for report in again.reports)
    assert again.artifacts == finished.artifacts
    assert again.session.run_id != finished.session.run_id
    origins = {run.reused_from for run in again.store.stage_runs(again.session.run_id)}
    assert origins == {finished.session.run_id}


class PowerCutError(RuntimeError):
    """What the tests let a stage raise."""


def test_an_interrupted_run_resumes_to_the_same_artifacts(
    finished: SmallRun, policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a second store with the same seed, so it also shows that a run is reproducible to the bit."""
    broken = [(2, "score")]

    def break_once(inputs: StageInputs, spec: Stage) -> StageOutput:
        output = spec.run(inputs)
        if broken and (inputs.round, spec.name) == broken[0]:
            broken.pop(0)
            raise PowerCutError
        return output

    fragile = {
        name: dataclasses.replace(spec, run=lambda inputs, spec=spec: break_once(inputs, spec))
        for name, spec in STAGES.items()
    }
    monkeypatch.setattr(session_module, "STAGES", fragile)
    config = small_config(policy_path)
    with pytest.raises(PowerCutError):
        run_all(tmp_path / "store", config)
    ended = run_all(tmp_path / "store", config, resume="latest")
    assert not broken
    assert ended.artifacts == finished.artifacts
    assert ended.session.run_id == finished.session.run_id
    assert next((r.round, r.stage) for r in ended.reports if not r.reused) == (2, "score")
    assert len(ended.store.runs()) == 1


def test_another_seed_is_another_run(finished: SmallRun, policy_path: Path, tmp_path: Path) -> None:
    other = learn(tmp_path / "store", small_config(policy_path, seed=1), 1)
    same = {place for place, artifact in other.artifacts.items() if artifact == finished.artifacts[place]}
    assert same == {(0, "bootstrap"), (0, "bank")}


def test_a_stage_without_its_inputs_is_refused(policy_path: Path, tmp_path: Path) -> None:
    store, session = start(tmp_path / "store", small_config(policy_path))
    with store.writer("test"), pytest.raises(InputError, match="score of round 1 needs bootstrap of round 0"):
        session.execute("score", 1)


def test_there_is_nothing_to_resume_in_an_empty_store(policy_path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no run to resume; start one with `sdar run`"):
        start(tmp_path / "store", small_config(policy_path), resume="latest")


def test_a_resumed_run_keeps_its_own_configuration(
    finished: SmallRun, policy_path: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.store.path, tmp_path / "store")
    other = small_config(policy_path, {"rollout": {"tasks": 5}})
    _, session = start(tmp_path / "store", other, resume=finished.session.run_id)
    assert session.config == finished.session.config


@pytest.fixture(scope="session")
def variants(finished: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished store, so that the variants share its episodes."""
    path = tmp_path_factory.mktemp("variants") / "store"
    shutil.copytree(finished.store.path, path)
    return path


@pytest.mark.parametrize(
    ("sdar", "update"),
    [
        ({"teacher": "live", "divergence": "sampled", "gate": "none"}, {}),
        (
            {"teacher": "frozen", "divergence": "sampled_reverse_kl", "gate": "entropy"},
            {"kl_coefficient": 0.1},
        ),
        ({"teacher": "live", "divergence": "reverse_kl", "gate": "soft_or"}, {"entropy_coefficient": 0.1}),
        ({"coefficient": 0.0}, {"aggregation": "sequence_mean"}),
    ],
)
def test_every_teacher_and_divergence_runs_a_round(
    variants: Path, policy_path: Path, sdar: dict[str, str], update: dict[str, float]
) -> None:
    run = learn(variants, small_config(policy_path, {"sdar": sdar, "update": update}), 1)
    reports = run.store.updates(run.artifacts[1, "update"])
    assert len(reports) == 2
    assert all(np.isfinite(report.loss) and report.gradient_norm >= 0 for report in reports)
    before, after = run.artifacts[0, "bootstrap"], run.artifacts[1, "update"]
    assert run.store.policy(before).id != run.store.policy(after).id
    kl = [report.kl for report in reports]
    assert any(kl) == bool(update.get("kl_coefficient"))


def test_the_ema_teacher_lies_between_policy_0_and_the_live_one(variants: Path, policy_path: Path) -> None:
    config = small_config(policy_path, {"sdar": {"teacher": "ema", "ema_rate": 0.75}})
    run = learn(variants, config, 2)

    def weights(number: int, part: str = "") -> np.ndarray:
        place = (number, "update") if number else (0, "bootstrap")
        blob = run.store.artifact(run.artifacts[place]).blob
        assert blob is not None
        policy = run.session.shelf.get(run.artifacts[place], blob, part)
        return next(iter(policy.model.parameters())).detach().numpy()

    first = 0.75 * weights(0) + 0.25 * weights(1)
    np.testing.assert_allclose(weights(1, "ema"), first, atol=1e-6)
    np.testing.assert_allclose(weights(2, "ema"), 0.75 * first + 0.25 * weights(2), atol=1e-6)
    assert not np.allclose(weights(1), weights(0), atol=1e-5)


@pytest.mark.parametrize("bad", [1, 4])
def test_a_skipped_step_is_told_and_its_round_stored(
    bad: int, policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ratios that overflow make the loss infinite, of one of the two steps or of both."""

    def overflowing(*given: Any) -> list[LearnerRow]:
        rows = learner_rows(*given)
        worse = [
            dataclasses.replace(row, logp_old=row.logp_old - 100, advantages=-np.ones_like(row.advantages))
            for row in rows[:bad]
        ]
        return [*worse, *rows[bad:]]

    monkeypatch.setattr(update_module, "learner_rows", overflowing)
    run = run_all(tmp_path / "store", small_config(policy_path, {"stop": {"rounds": 1}}))
    reports = run.store.updates(run.artifacts[1, "update"])
    summary = run.store.artifact(run.artifacts[1, "update"]).summary
    assert [report.loss for report in reports if report.skipped] == [np.inf] * (1 if bad == 1 else 2)
    assert summary["skipped"] == (1 if bad == 1 else 2)
    assert "skipped for a non-finite gradient" in str(summary["warnings"])
    (row,) = [row for row in run.session.table() if row["round"] == 1]
    taken = [report.gate_mean for report in reports if not report.skipped]
    assert ([row["gate_mean"]] if "gate_mean" in row else []) == taken
    assert run.store.verify() == []


@pytest.mark.parametrize(
    ("update", "warned"),
    [({}, True), ({"policy_loss": "likelihood"}, False), ({"policy_coefficient": 0.0}, False)],
)
def test_equal_returns_are_warned_about_where_the_loss_reads_advantages(
    update: dict[str, Any], warned: bool, variants: Path, policy_path: Path
) -> None:
    changes = {"advantage": {"invalid_penalty": 0.0}, "update": update}  # no episode of it succeeds
    run = learn(variants, small_config(policy_path, changes), 1)
    (summary,) = [report.summary for report in run.reports if report.stage == "update"]
    assert summary["zero_spread_share"] == 1.0
    assert ("groups with equal returns" in str(summary["warnings"])) == warned


def break_worlds(monkeypatch: pytest.MonkeyPatch, worlds: int, broken: int) -> None:
    """Let the first worlds of a batch of so many fail before they show anything."""

    def reset(made: Sequence[Environment], tasks: Sequence[TaskSpec]) -> list[str | Exception]:
        shown = reset_many(made, tasks)
        count = broken if len(made) == worlds else 0
        return [*[OSError("no such scene")] * count, *shown[count:]]

    monkeypatch.setattr(rollout_module, "reset_many", reset)


@pytest.mark.parametrize("context", ["conversation", "window"])
def test_episodes_that_broke_at_once_are_told_and_teach_nothing(
    context: str, policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_worlds(monkeypatch, worlds=4, broken=3)
    changes = {"rollout": {"context": context}, "update": {"minibatch": 1}, "stop": {"rounds": 1}}
    run = run_all(tmp_path / "store", small_config(policy_path, changes))
    summary = run.store.artifact(run.artifacts[1, "collect"]).summary
    assert summary["warnings"] == (
        "The share of episodes that an error of the environment ended is 0.75, above 0: they count as "
        "failures."
    )
    reports = run.store.updates(run.artifacts[1, "update"])
    assert sum(report.tokens > 0 for report in reports) == (1 if context == "conversation" else len(reports))
    assert all(np.isfinite([report.gate_mean, report.gap_mean, report.gap_std]).all() for report in reports)


@pytest.mark.parametrize(("worlds", "stage"), [(4, "collect"), (8, "evaluate")])
def test_a_round_or_panel_whose_worlds_are_all_broken_fails(
    worlds: int, stage: str, policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_worlds(monkeypatch, worlds, broken=worlds)
    message = (
        rf"ended each of the {worlds} episodes, the first one: OSError: no such scene\. .*sdar envs check"
    )
    store, session = start(tmp_path / "store", small_config(policy_path))
    places = [(0, each) for each in ("bootstrap", "bank", "panel")]
    with store.writer("test"):
        for number, name in places:
            session.execute(name, number)
        with pytest.raises(EnvironmentFailedError, match=message):
            session.execute(stage, 1 if stage == "collect" else 0)


def test_damaged_weights_are_named_and_made_anew(
    finished: SmallRun, policy_path: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished.store.path, tmp_path / "store")
    store = open_store(tmp_path / "store")
    blob = store.artifact(finished.artifacts[1, "update"]).blob
    assert blob is not None
    weights = store.blob(blob) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with store.writer("test"):
        session = Session.start(store, finished.session.config, finished.session.run_id, SteppingClock())
        session.recall(2)
        with pytest.raises(IntegrityError, match="differ from those that were stored"):
            session.execute("collect", 2, force=True)
        session.execute("update", 1, force=True)
        assert session.execute("collect", 2, force=True).artifact_id == finished.artifacts[2, "collect"]
    assert store.verify() == []


def test_a_stage_that_fails_leaves_nothing(variants: Path, policy_path: Path) -> None:
    config = small_config(policy_path, {"checks": {"logprob_tolerance": 1e-12}})
    store, session = start(variants, config)
    with store.writer("test"):
        for number, stage in [(0, "bootstrap"), (0, "bank"), (1, "collect"), (1, "retrieve")]:
            session.execute(stage, number)
        with pytest.raises(CheckFailedError, match="tolerance 1e-12"):
            session.execute("score", 1)
    stored: list[StageRun] = store.stage_runs(session.run_id)
    assert "score" not in {run.stage for run in stored}
    assert store.verify() == []


def test_stages_tell_how_far_they_are(
    policy_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[News] = []
    monkeypatch.setattr(news, "EVERY_S", 0.0)
    monkeypatch.setattr(news, "_write", lambda _, each: heard.append(each))
    run = learn(tmp_path, small_config(policy_path), 1)
    units = {(each.stage, each.unit) for each in heard if each.unit}
    assert units == {("collect", "episodes"), ("score", "rows"), ("update", "steps")}
    ends = {each.stage: (each.done, each.total) for each in heard if each.unit}
    assert ends == {"collect": (4, 4), "score": (4, 4), "update": (2, 2)}
    assert {(each.run_id, each.rounds) for each in heard} == {(run.session.run_id, 2)}
    assert [each.stage for each in heard if each.done == 0 and not each.unit][-4:] == list(LEARNING)
