"""More rounds: the same as a longer run from the beginning, found again after an interruption."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_runs import SmallRun, SteppingClock, run_all, small_config

from sdar.flows.improve import run_rounds
from sdar.schemas.chain import newest, unfinished
from sdar.schemas.errors import InputError
from sdar.storage import Store, open_store
from sdar.tasks.branches import read_history
from sdar.tasks.continuation import go_on
from sdar.tasks.rerun import run_states
from sdar.tasks.session import Session


@pytest.fixture
def store(finished: SmallRun, tmp_path: Path) -> Store:
    shutil.copytree(finished.store.path, tmp_path / "store")
    return open_store(tmp_path / "store")


def finish(session: Session, first: int) -> None:
    run_rounds(session, lambda stage, number: void(session.execute(stage, number)), void, first)
    session.finish("done")


def void(_: object) -> None:
    """Take a value and do nothing with it."""


def test_two_rounds_more_are_those_of_a_longer_run(store: Store, finished: SmallRun, tmp_path: Path) -> None:
    run = store.runs()[0]
    with store.writer("test"):
        session, first = go_on(store, run, 2, SteppingClock(1000.0))
        assert (first, session.config.stop.rounds, session.config.seed) == (3, 4, 0)
        finish(session, first)
    assert session.verdict is not None
    assert (session.verdict.reason, session.verdict.round) == ("rounds", 4)
    assert session.best_policy_folder() is not None
    assert [row["round"] for row in session.table()] == [0, 1, 2, 3, 4]
    record = store.run(session.run_id)
    assert (record.parent, record.branch) == (run.id, (3, "collect"))
    config = finished.session.config
    longer = config.model_copy(update={"stop": config.stop.model_copy(update={"rounds": 4})})
    whole = run_all(tmp_path / "whole", longer)
    mine = {(made.round, made.stage): made.artifact_id for made in store.stage_runs(session.run_id)}
    # The verdict of round 2 said that all rounds were done; everything else is the same to the bit.
    assert {place for place, made in mine.items() if whole.artifacts[place] != made} == {(2, "decide")}
    assert mine.keys() == whole.artifacts.keys()
    origins = {made.round: made.reused_from for made in store.stage_runs(session.run_id)}
    assert origins == {0: run.id, 1: run.id, 2: run.id, 3: None, 4: None}


def test_the_verdict_of_more_rounds_is_over_the_round_that_was_the_last_before(
    policy_path: Path, tmp_path: Path
) -> None:
    """It was evaluated as the last one, though its number is no multiple of `evaluation.every`."""
    changes = {"stop": {"rounds": 1}, "evaluation": {"every": 3, "with_skills": False}}
    store = run_all(tmp_path / "store", small_config(policy_path, changes)).store
    with store.writer("test"):
        finish(*go_on(store, store.runs()[0], 1, SteppingClock(1000.0)))
    last = next(run for run in store.runs() if run.parent is not None)
    stored = {(made.round, made.stage): made for made in store.stage_runs(last.id)}
    roles = {role for role in stored[2, "decide"].inputs if role.startswith("evaluation")}
    assert roles == {f"evaluation_round_{number}" for number in (0, 1, 2)}
    states = run_states(store, read_history(store, last))
    assert {state.condition for state in states} == {"fresh"}


def test_an_interrupted_continuation_is_gone_on_with(store: Store) -> None:
    run = store.runs()[0]
    with store.writer("test"):
        session, first = go_on(store, run, 1, SteppingClock(1000.0))
        session.execute("collect", first)
        session.finish("interrupted")
        again, same = go_on(store, run, 1, SteppingClock(2000.0))
        assert (again.run_id, same) == (session.run_id, first)
        finish(again, same)
        third, then = go_on(store, run, 1, SteppingClock(3000.0))
    assert then == first + 1
    assert store.run(third.run_id).parent == session.run_id
    assert not unfinished(store.runs(), store.run(session.run_id))
    assert unfinished(store.runs(), store.run(third.run_id))


def test_branches_with_other_settings_do_not_take_over(store: Store) -> None:
    run = store.runs()[0]
    with store.writer("test"):
        session, _ = go_on(store, run, 1, SteppingClock(1000.0))
    longer = store.run(session.run_id)
    other = longer.model_copy(update={"id": "other", "config": {**longer.config, "method": "grpo"}})
    assert newest([run, longer, other], run).id == longer.id
    assert newest([run, other], run).id == run.id


def test_a_run_without_a_complete_round_is_refused(tmp_path: Path, finished: SmallRun) -> None:
    store = open_store(tmp_path / "store")
    with store.writer("test"):
        session = Session.start(store, finished.session.config, None, SteppingClock())
        with pytest.raises(InputError, match=f"no complete round.*--resume {session.run_id}"):
            go_on(store, store.run(session.run_id), 1, SteppingClock())


def test_a_collapsed_run_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = store.verdicts

    def collapsed(artifact: str) -> object:
        verdict = stored(artifact)[0]
        return [verdict.model_copy(update={"reason": "collapse", "sentence": "Collapsed: entropy."})]

    monkeypatch.setattr(store, "verdicts", collapsed)
    with store.writer("test"), pytest.raises(InputError, match=r"Collapsed: entropy\. Begin a new run"):
        go_on(store, store.runs()[0], 1, SteppingClock())
