"""Stage `distill`: hand-made trials, and two real rounds in which the starter earns its first skills."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SmallRun, inputs_of, start

from sdar.flows import cli
from sdar.schemas.config import DistillConfig, RunConfig
from sdar.schemas.errors import CheckFailedError, ConfigError
from sdar.schemas.records import TaskSpec
from sdar.skills.files import make_skill
from sdar.skills.retrieval import Retriever
from sdar.skills.writers import Candidate
from sdar.storage import open_store
from sdar.tasks import distill
from sdar.tasks.material import (
    Book,
    check_training,
    held_out,
    open_book,
    read_material,
    retire_setting,
    retired_by_hand,
)
from sdar.tasks.registry import bank_place, input_places, plan, trial_round
from sdar.tasks.tryout import Tryout, bank_lifts, mean_logprobs

PLAY, GAP = DistillConfig(), DistillConfig(trial="gap")


def skill(name: str, body: str = "b", version: int = 1, parents: tuple[str, ...] = ()) -> Any:
    return make_skill(name, "d", "household", ("pick_two",), body, "template", parents, version)


def tryout(
    without: str = "", with_: str = "", won: tuple[float, ...] = (), lost: tuple[float, ...] = ()
) -> Tryout:
    outcomes = tuple((a == "1", b == "1") for a, b in zip(without, with_, strict=True))
    return Tryout(outcomes, won, lost, seed=0)


def test_the_numbers_of_a_trial() -> None:
    numbers = tryout("1000", "1110", (0.1, 0.3, 0.2), (-0.2, 0.1)).numbers()
    assert (numbers["tasks"], numbers["wins_with"], numbers["wins_without"]) == (4, 3, 1)
    assert numbers["difference"] == pytest.approx(0.5)
    # Mean 0.2, deviation 0.1, t of 2 degrees 4.302653: half-width 4.302653 * 0.1 / sqrt(3) = 0.248414.
    assert numbers["lift_success"] == pytest.approx(0.2)
    assert numbers["lift_low"] == pytest.approx(-0.048414, abs=1e-6)
    assert numbers["lift_high"] == pytest.approx(0.448414, abs=1e-6)
    assert numbers["lift_failure"] == pytest.approx(-0.05)
    assert set(tryout().numbers()) == {"tasks", "wins_with", "wins_without", "successes", "failures"}


@pytest.mark.parametrize(
    ("without", "with_", "admitted", "reason"),
    [
        ("000000000000", "111111110000", True, "8 instead of 0 of 12 held-out tasks with it."),
        ("000000000000", "111110000000", False, "no proven rise"),  # five differing pairs prove nothing
        ("111111110000", "000000001111", False, "4 instead of 8 of 12"),
        ("", "", False, "No held-out task finds it."),
    ],
)
def test_a_skill_must_raise_the_success_of_the_teacher(
    without: str, with_: str, admitted: bool, reason: str
) -> None:
    found, why = distill.judge_candidate(tryout(without, with_), PLAY)
    assert found == admitted
    assert reason in why


@pytest.mark.parametrize(
    ("won", "lost", "admitted", "reason"),
    [
        ((0.2, 0.21, 0.19), (0.1,), True, "rises by 0.2"),
        ((0.2, 0.21, 0.19), (), True, "rises by 0.2"),
        ((0.1, 0.3, 0.2), (), False, "no proven rise"),  # the interval of the first test
        ((0.2, 0.21, 0.19), (0.4,), False, "rises more"),
        ((0.2, 0.21), (), False, "Only 2 held-out"),
    ],
)
def test_a_skill_must_raise_the_gap_of_successes(won: Any, lost: Any, admitted: bool, reason: str) -> None:
    found, why = distill.judge_candidate(tryout(won=won, lost=lost), GAP)
    assert found == admitted
    assert reason in why


def test_a_new_version_retires_the_old_one_and_keeps_it() -> None:
    old, new = skill("x", parents=("e1",)), skill("x", "other", 2, ("e2",))
    book = Book((old,)).add(new)
    assert book.skills == (old, new)
    assert book.active() == [new]
    assert book.state(old).reason == "Replaced by version 2."
    assert book.state(new).evidence == ("e2",)


def test_retiring_by_hand_and_taking_it_back() -> None:
    a, b = skill("a"), skill("b")
    retired = open_book([a, b], [], DistillConfig(retire="a, c"))
    assert retired.active() == [b]
    states = [retired.state(each) for each in (a, b)]
    assert open_book([a, b], states, DistillConfig()).active() == [b]
    back = open_book([a, b], states, DistillConfig(restore="a"))
    assert back.active() == [a, b]
    assert "restore" in back.state(a).reason
    # The name is taken by a newer version: the old one stays away.
    versions = Book((a,)).add(skill("a", "new", 2))
    stored = [versions.state(each) for each in versions.skills]
    assert open_book(versions.skills, stored, DistillConfig(restore="a")).active() == [versions.skills[1]]


def test_decisions_by_hand_may_have_reasons() -> None:
    text = "a, b: The lamp, it moved.; c"
    assert retired_by_hand(text) == {
        "a": "The lamp, it moved.",
        "b": "The lamp, it moved.",
        "c": "distill.retire names it.",
    }
    assert retired_by_hand(retire_setting(retired_by_hand(text))) == retired_by_hand(text)
    assert retired_by_hand("") == {}
    book = open_book([skill("a")], [], DistillConfig(retire="a: It moved."))
    assert book.state(book.skills[0]).reason == "Retired by hand: It moved."


def test_a_task_is_on_one_side_only() -> None:
    names = [f"t{i}" for i in range(400)]
    kept = [name for name in names if held_out(name, 0.25)]
    assert 60 < len(kept) < 140
    assert set(kept) <= {name for name in names if held_out(name, 0.5)}


def test_evaluation_tasks_are_refused() -> None:
    config = RunConfig()
    train, unseen = (
        TaskSpec(id=split, environment="household", split=split, type="x", goal="g", seed=0)
        for split in ("train", "unseen")
    )
    check_training([train], config)
    with pytest.raises(CheckFailedError, match=r"training tasks only.*unseen"):
        check_training([train, unseen], config)
    same = RunConfig.model_validate({"env": {"panel_split": "train"}})
    with pytest.raises(CheckFailedError, match="two splits"):
        check_training([train], same)


def test_an_empty_bank_finds_nothing() -> None:
    for strategy in ("embedding", "keyword", "full", "random"):
        config = RunConfig.model_validate({"skills": {"strategy": strategy}}).skills
        assert Retriever.from_bank([], config).retrieve("put a cup on the desk", "pick_two", 0) == []


def test_where_a_round_finds_its_bank() -> None:
    off, every = RunConfig(), RunConfig.model_validate({"distill": {"every": 2, "window": 3}})
    assert [bank_place(off, n) for n in (0, 5)] == [(0, "bank"), (0, "bank")]
    assert [bank_place(every, n)[0] for n in range(6)] == [0, 0, 2, 2, 4, 4]
    assert "distill" not in plan(off, 2) + plan(every, 1)
    stages = plan(every, 10)
    assert stages.index("update") < stages.index("distill") < stages.index("evaluate")
    assert input_places(every, "retrieve", 2)["bank"] == (0, "bank")
    assert input_places(every, "retrieve", 3)["bank"] == (2, "distill")
    assert input_places(every, "evaluate_with_skills", 2)["bank"] == (2, "distill")
    places = input_places(every, "distill", 4)
    assert places["bank"] == (2, "distill")
    assert {number for role, (number, _) in places.items() if role.startswith("episodes_")} == {2, 3, 4}
    assert {stage for _, stage in places.values()} <= {
        "bootstrap",
        "update",
        "distill",
        "collect",
        "retrieve",
    }


def test_a_grown_bank_has_its_teacher_tried_anew() -> None:
    lead = {"sdar": {"trust": "lead"}}
    assert [trial_round(RunConfig.model_validate(lead), n) for n in (1, 3)] == [1, 1]
    every = RunConfig.model_validate({**lead, "distill": {"every": 2}})
    assert [trial_round(every, n) for n in (1, 2, 3, 4, 5)] == [1, 1, 3, 3, 5]


def learn(path: Path, seed: int = 0, rounds: int = 2, **changes: Mapping[str, Any]) -> SmallRun:
    values: dict[str, Any] = {
        "policy": {"path": "starter", "threads": 1},
        "skills": {"path": "empty", "allow_empty": True},
        "rollout": {"tasks": 8, "group_size": 4},
        "distill": {"every": 1, "trial_tasks": 12, "candidates": 2, "lift_sample": 4},
        "stop": {"rounds": rounds},
    }
    for section, fields in changes.items():
        values[section] = {**values.get(section, {}), **fields}
    store, session = start(path, RunConfig.model_validate({"seed": seed, **values}))
    with store.writer("test"):
        reports = [session.execute(stage, 0) for stage in ("bootstrap", "bank")]
        for number in range(1, rounds + 1):
            stages = [stage for stage in session.plan(number) if stage not in ("evaluate", "decide")]
            reports += [session.execute(stage, number) for stage in stages]
    return SmallRun(store, session, reports)


@pytest.fixture(scope="module")
def earned(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return learn(tmp_path_factory.mktemp("earned") / "store")


def test_the_starter_earns_skills_from_an_empty_bank(earned: SmallRun) -> None:
    assert earned.store.skills(earned.artifacts[0, "bank"]) == []
    skills = earned.store.skills(earned.artifacts[2, "distill"])
    trials = earned.store.skill_trials(earned.artifacts[1, "distill"])
    assert skills
    assert {trial.verdict for trial in trials} <= {"admitted", "refused"}
    for trial in trials:
        low = trial.low if trial.low is not None else -1.0
        assert (trial.verdict == "admitted") == (low > 0 and trial.wins_with - trial.wins_without >= 6)


def test_without_skills_there_is_no_teacher(earned: SmallRun) -> None:
    contexts = earned.store.contexts(earned.artifacts[1, "retrieve"])
    assert {context.block for context in contexts} == {""}
    scores = earned.store.scores(earned.artifacts[1, "score"])
    assert all(np.array_equal(score.teacher, score.student) for score in scores)
    assert {report.distillation for report in earned.store.updates(earned.artifacts[1, "update"])} == {0.0}


def test_the_next_round_retrieves_from_the_new_bank(earned: SmallRun) -> None:
    known = {skill.id for skill in earned.store.skills(earned.artifacts[1, "distill"])}
    contexts = earned.store.contexts(earned.artifacts[2, "retrieve"])
    assert {used.skill_id for context in contexts for used in context.skills} <= known


def test_skills_come_from_training_episodes_that_are_not_held_out(earned: SmallRun) -> None:
    share = earned.session.config.distill.held_out
    episodes = {
        episode.id: episode
        for number in (1, 2)
        for episode in earned.store.episodes(earned.artifacts[number, "collect"])
    }
    for number in (1, 2):
        for trial in earned.store.skill_trials(earned.artifacts[number, "distill"]):
            assert set(trial.parents) <= set(episodes)
            assert all("/train/" in episodes[parent].task_id for parent in trial.parents)
            assert not any(held_out(episodes[parent].task_id, share) for parent in trial.parents)


def test_banks_have_a_lineage_and_lose_nothing(earned: SmallRun) -> None:
    rows = earned.store.query(
        "SELECT DISTINCT round, bank, parent FROM distilled_skill ORDER BY round"
    ).to_pylist()
    places = [earned.artifacts[place] for place in ((0, "bank"), (1, "distill"), (2, "distill"))]
    assert [(row["parent"], row["bank"]) for row in rows] == [tuple(places[:2]), tuple(places[1:])]
    first, second = (earned.store.skills(place, retired=True) for place in places[1:])
    assert {skill.id for skill in first} <= {skill.id for skill in second}


def test_the_same_seed_gives_the_same_bank(earned: SmallRun, tmp_path: Path) -> None:
    again = learn(tmp_path / "store", rounds=1)
    assert again.artifacts[1, "distill"] == earned.artifacts[1, "distill"]


def test_duplicates_add_up_and_a_settled_refusal_is_not_tried_again(earned: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(earned, "distill", 2, tmp_path)
    first, second = skill("x", "Look  here.", parents=("e1",)), skill("y", "look here.", parents=("e2",))
    other = skill("z", "Something else.", parents=("e3",))
    book, new, trials = distill.merge(
        inputs,
        Book((first,)),
        [Candidate(second, 1), Candidate(other, 2), Candidate(skill("w", other.body), 1)],
    )
    assert book.state(first).evidence == ("e1", "e2")
    assert [(each.skill.name, each.support) for each in new] == [("z", 3)]
    assert [(trial.name, trial.verdict) for trial in trials] == [("y", "merged")]
    # Words that only a new skill has count: another place is another fact.
    near = [skill("p", f"The cup is kept in cabinet {number}.", parents=(f"e{number}",)) for number in (3, 4)]
    assert distill.twins(inputs, Book((near[0],)), near) == [near[0], None]
    gone = Book((first,)).retire(first, "It hurts.")
    _, _, refused = distill.merge(inputs, gone, [Candidate(second, 1)])
    assert [(trial.verdict, "retired" in trial.reason) for trial in refused] == [("refused", True)]


def test_lift_is_the_difference_of_two_scorings(earned: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(earned, "distill", 2, tmp_path)
    material = read_material(inputs)
    episodes = [episode for episode in material.episodes if episode.action_mask.any()]
    won, lost = (next(e for e in episodes if e.success == success) for success in (True, False))
    a, b = skill("a", "Cabinet 1 is the one."), skill("b", "Look on bed 1.")
    contexts = dict(material.contexts)
    used = [
        {"skill_id": each.id, "score": 1.0, "rank": rank, "tokens": 5} for rank, each in enumerate((a, b))
    ]
    for episode in (won, lost):
        changed = contexts[episode.id].model_dump() | {"skills": used}
        contexts[episode.id] = type(contexts[episode.id]).model_validate(changed)
    for episode in episodes:
        if episode.id not in (won.id, lost.id):
            contexts[episode.id] = contexts[episode.id].model_copy(update={"skills": ()})
    told = type(material)(material.episodes, material.tasks, contexts, material.kept, material.share)
    lifts = {lift.skill_id: lift for lift in bank_lifts(inputs, told, Book((a, b)))}
    both = f"{a.body}\n{b.body}"
    scored = mean_logprobs(inputs, told, [(e.id, text) for e in (won, lost) for text in (both, b.body)])
    assert lifts[a.id].lift_success == pytest.approx(scored[won.id, both] - scored[won.id, b.body], abs=1e-5)
    assert lifts[a.id].lift_failure == pytest.approx(
        scored[lost.id, both] - scored[lost.id, b.body], abs=1e-5
    )
    assert (lifts[a.id].successes, lifts[a.id].failures, lifts[a.id].low) == (1, 1, None)


def test_the_model_may_write_and_the_trial_refuses_poor_text(tmp_path: Path) -> None:
    changes = {"writer": "policy", "max_tokens": 8, "trial_tasks": 6, "candidates": 1}
    run = learn(tmp_path / "store", rounds=1, distill=changes)
    trials = run.store.skill_trials(run.artifacts[1, "distill"])
    assert [trial.source for trial in trials] == ["policy"]
    assert trials[0].verdict == "refused"
    assert run.store.skills(run.artifacts[1, "distill"]) == []


def test_an_environment_without_a_phrasebook_is_refused(earned: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(earned, "distill", 2, tmp_path)
    material = read_material(inputs)
    config = inputs.config.model_copy(update={"env": inputs.config.env.model_copy(update={"name": "trip"})})
    with pytest.raises(ConfigError, match="phrasebook"):
        distill.write(type(inputs)(**{**vars(inputs), "config": config}), material)


def test_stats_show_the_latest_bank(earned: SmallRun, capsys: pytest.CaptureFixture[str]) -> None:
    names = {skill.name for skill in earned.store.skills(earned.artifacts[2, "distill"])}
    assert cli.execute(["skills", "stats", "--store", str(earned.store.path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["skill"] for row in rows} == names
    assert all(row["support"] >= 2 and row["source"] == "template" and not row["retired"] for row in rows)
    assert cli.execute(["skills", "stats", "--store", str(earned.store.path)]) == 0
    assert names <= set(capsys.readouterr().out.split())


def test_a_skill_is_retired_by_hand_in_a_branch(
    earned: SmallRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(earned.store.path, tmp_path / "store")
    name = earned.store.skills(earned.artifacts[1, "distill"])[0].name
    arguments = ["stage", "distill", "--round", "2", "--set", f"distill.retire={name}"]
    changes = ["--set", "distill.writer=none", "--store", str(tmp_path / "store")]
    assert cli.execute([*arguments, *changes]) == 0
    capsys.readouterr()
    store = open_store(tmp_path / "store", read_only=True)
    branch = store.runs()[-1]
    assert cli.execute(["skills", "stats", "--store", str(store.path), "--run", branch.id, "--json"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["skill"] == name]
    assert (row["retired"], row["reason"]) == (True, "Retired by hand: distill.retire names it.")
