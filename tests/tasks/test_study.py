"""Studies: how arms are defined, that runs go on where they stopped, and results on hand-made rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from small_runs import SteppingClock, small_config

from sdar.rl.methods import METHODS
from sdar.schemas.errors import ConfigError
from sdar.schemas.study import Arm, StudyDefinition
from sdar.storage.study import StudyStore, open_study_store
from sdar.tasks.session import StageReport
from sdar.tasks.study import begin_study, define_study, run_member, study_record
from sdar.tasks.study_data import Evaluation, MemberData, read_member
from sdar.tasks.study_results import area_under_curve, study_result

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def settings(definition: StudyDefinition, section: str, name: str) -> dict[str, Any]:
    return {arm.label: arm.config[section][name] for arm in definition.arms}


def test_arms_share_the_protocol_and_keep_their_own_settings() -> None:
    definition = define_study(
        ["grpo", "vanilla"],
        ["beta=0: sdar.beta=0 sdar.gate=gap", "big: method=grpo rollout.tasks=32"],
        "0-2,7",
        overrides=["evaluation.every=2", "sdar.beta=3"],
        rounds=6,
    )
    assert definition.seeds == (0, 1, 2, 7)
    assert [(arm.label, arm.method) for arm in definition.arms] == [
        ("grpo", "grpo"),
        ("vanilla", "vanilla"),
        ("beta=0", "sdar"),
        ("big", "grpo"),
    ]
    # A method that does not train keeps its number of rounds; nobody stops early.
    rounds = {"grpo": 6, "vanilla": 0, "beta=0": 6, "big": 6}
    assert settings(definition, "stop", "rounds") == rounds
    assert definition.rounds == 6
    assert set(settings(definition, "stop", "target").values()) == {1.0}
    assert set(settings(definition, "evaluation", "every").values()) == {2}
    assert set(settings(definition, "policy", "threads").values()) == {1}
    assert settings(definition, "sdar", "beta") == {"grpo": 3.0, "vanilla": 3.0, "beta=0": 0.0, "big": 3.0}
    assert settings(definition, "rollout", "tasks")["big"] == 32
    assert definition.arms[0].run_config(5).seed == 5


def test_a_file_stands_between_the_method_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("stop.rounds: 3\nsdar.gate: gap\nseed: 9\n")
    definition = define_study(["grpo", "opsd"], [], "0", file=file)
    assert settings(definition, "stop", "rounds") == {"grpo": 3, "opsd": 3}
    assert settings(definition, "sdar", "gate") == {"grpo": "gap", "opsd": "gap"}
    definition = define_study(["grpo", "opsd"], [], "0", file=file, rounds=4)
    assert settings(definition, "stop", "rounds") == {"grpo": 4, "opsd": 4}


def test_all_faults_come_together() -> None:
    with pytest.raises(ConfigError) as caught:
        define_study(["gpro"], ["nonsense"], "0-x,3,3", overrides=["sdar.gaet=gap", "seed=4"])
    message = str(caught.value)
    assert message.startswith("the study has 7 faults")
    for part in (
        "Did you mean grpo?",
        "Did you mean sdar.gate?",
        "found 'nonsense'; allowed: 'label: path=value",
        "found '0-x'; allowed: whole numbers such as 0-4",
        "found '0-x,3,3'",
        "found 'seed=4'; allowed: seed by --seeds",
        "found 1 arm; allowed: two arms or more",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("methods", "arms", "seeds", "message"),
    [
        (["grpo"], [], "0", "found 1 arm; allowed: two arms or more"),
        (["grpo", "grpo"], [], "0", "labels that differ"),
        (["grpo", "opsd"], [], "", "whole numbers such as"),
        (["grpo", "opsd"], [], "4-0", "whole numbers such as"),
        (["grpo", "opsd"], [], "0-99999", "at most 1000"),
        (["grpo"], ["x: seed=3"], "0", "seed by --seeds"),
        (["grpo"], ["x: sdar.beta=-1"], "0", "a number >= 0.0"),
        (["grpo"], ["x: 'sdar.beta=1"], "0", "No closing quotation"),
    ],
)
def test_bad_definitions_are_refused(methods: list[str], arms: list[str], seeds: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        define_study(methods, arms, seeds)


def test_a_name_follows_from_the_definition_and_runs_have_names_of_their_own() -> None:
    arms = ["A b: sdar.beta=1", "a-b: sdar.beta=2"]
    first, again = (study_record(define_study([], arms, "0-1"), None, NOW, "x") for _ in range(2))
    other = study_record(define_study([], arms, "0-2"), None, NOW, "x")
    assert first == again
    assert first.name != other.name
    assert first.name.startswith("study-")
    assert [member.run_id.removeprefix(first.name) for member in first.members] == [
        "-a-b-seed0",
        "-a-b-seed1",
        "-a-b-2-seed0",
        "-a-b-2-seed1",
    ]
    with pytest.raises(ConfigError, match="no name for a study"):
        study_record(first.definition, "../up", NOW, "x")


def test_another_definition_under_the_same_name_is_refused(tmp_path: Path) -> None:
    store = open_study_store(tmp_path / "store")
    first = study_record(define_study(["grpo", "opsd"], [], "0-1"), "mine", NOW, "sdar compare x")
    changed = define_study(["grpo"], ["opsd: method=opsd sdar.beta=7"], "0")
    with store.writer("test"):
        assert begin_study(store, first) == first
        later = first.model_copy(update={"created": "later"})
        assert begin_study(store, later) == first
        with pytest.raises(ConfigError) as caught:
            begin_study(store, study_record(changed, "mine", NOW, "x"))
    assert "seeds: 0,1 -> 0" in str(caught.value)
    assert "opsd: sdar.beta: 5.0 -> 7" in str(caught.value)
    assert store.study("mine") == first
    assert store.study("none") is None
    assert store.verify() == []


def small_study(policy: Path, rounds: int = 1) -> StudyDefinition:
    """Two arms that share the first episodes."""
    quick = {
        "evaluation": {"with_skills": False, "panel_size": 4},
        "stop": {"entropy_high": 1.0, "rounds": rounds},
    }
    configs = {
        "one": small_config(policy, {**quick, "update": {"learning_rate": 1e-3}}),
        "two": small_config(policy, {**quick, "update": {"learning_rate": 1e-2}}),
    }
    return StudyDefinition(
        arms=tuple(
            Arm(
                label=label,
                method="sdar",
                settings=(),
                config=config.model_dump(mode="json", exclude={"seed"}),
            )
            for label, config in configs.items()
        ),
        seeds=(0, 1),
    )


class PowerCutError(RuntimeError):
    """What the watch raises."""


def carry_out(
    store: StudyStore, definition: StudyDefinition, cut_after: int | None = None
) -> list[StageReport]:
    """Run what is missing; after so many stages the power is cut."""
    reports: list[StageReport] = []

    def watch(report: StageReport) -> None:
        reports.append(report)
        if len(reports) == cut_after:
            raise PowerCutError

    with store.writer("test"):
        study = begin_study(store, study_record(definition, "small", NOW, "x"))
        done = {run.id for run in store.runs() if run.status == "done"}
        for arm, member in study.pairs():
            if member.run_id not in done:
                run_member(store, arm, member, SteppingClock(), watch)
                store.free(member.run_id)
        store.publish()
    return reports


def data_of(store: StudyStore) -> list[MemberData]:
    study = store.study("small")
    assert study is not None
    return [read_member(store, member) for member in study.members]


def without_time(members: list[MemberData]) -> list[dict[str, Any]]:
    timed = {"seconds", "seconds_alone"}
    return [{name: value for name, value in vars(each).items() if name not in timed} for each in members]


@pytest.mark.timeout(600)
def test_a_study_shares_stages_and_goes_on_where_it_was_cut(policy_path: Path, tmp_path: Path) -> None:
    definition = small_study(policy_path)
    whole, cut = (open_study_store(tmp_path / name) for name in ("whole", "cut"))
    reports = carry_out(whole, definition)
    places = [(report.stage, report.round, report.reused) for report in reports]
    assert [reused for stage, number, reused in places if (stage, number) == ("panel", 0)] == [False] + 3 * [
        True
    ]
    assert [reused for stage, number, reused in places if (stage, number) == ("collect", 1)] == [
        False,
        False,
        True,
        True,
    ]
    assert not any(reused for stage, _, reused in places if stage == "update")
    assert carry_out(whole, definition) == []  # all is done
    with pytest.raises(PowerCutError):
        carry_out(cut, definition, cut_after=len(reports) // 2 + 3)
    assert [run.status for run in cut.runs()] == ["done", "done", "failed"]
    again = carry_out(cut, definition)
    assert {report.stage for report in again if not report.reused} <= {report.stage for report in reports}
    assert without_time(data_of(cut)) == without_time(data_of(whole))
    assert whole.verify() == cut.verify() == []
    members = data_of(whole)
    assert [member.episodes for member in members] == [4, 4, 4, 4]
    assert all(member.sampled == member.scored > 0 for member in members)
    assert members[2].seconds < members[2].seconds_alone  # it took round 0 and the first episodes from others
    curve = whole.query("SELECT arm, seed, round FROM study_curve").to_pylist()
    assert [(row["arm"], row["seed"], row["round"]) for row in curve][:3] == [
        ("one", 0, 0),
        ("one", 0, 1),
        ("one", 1, 0),
    ]


def test_only_the_weights_of_the_first_best_and_last_policy_stay(policy_path: Path, tmp_path: Path) -> None:
    store, definition = open_study_store(tmp_path / "store"), small_study(policy_path, 2)
    first = definition.model_copy(update={"arms": definition.arms[:1], "seeds": (0,)})
    carry_out(store, first)
    study = store.study("small")
    assert study is not None
    there = {
        (stage.round, stage.stage): store.find(stage.key) is not None
        for stage in store.stage_runs(study.members[0].run_id)
    }
    assert not there[1, "update"]
    assert there[2, "update"]
    assert there[0, "bootstrap"]
    assert there[1, "collect"]  # rows stay


def evaluation(number: int, outcomes: str) -> Evaluation:
    return Evaluation(number, "p" * 64, {f"t{i}": mark == "+" for i, mark in enumerate(outcomes)})


def member(arm: str, seed: int, curve: dict[int, str], ended: str = "rounds") -> MemberData:
    evaluations = tuple(evaluation(number, outcomes) for number, outcomes in curve.items())
    last = max(curve)
    return MemberData(
        arm, seed, f"{arm}-{seed}", evaluations, evaluations[:1], 60.0, 90.0, 10, 20, 4, ended, last
    )


def hand_made() -> tuple[StudyDefinition, list[MemberData]]:
    definition = define_study(["grpo", "opsd"], [], "0-1", rounds=4, overrides=["evaluation.every=2"])
    return definition, [
        member("grpo", 0, {0: "----", 2: "+---", 4: "++--"}),
        member("grpo", 1, {0: "----", 2: "++--", 4: "++++"}),
        member("opsd", 0, {0: "++--", 2: "----"}, "collapse"),
        member("opsd", 1, {0: "----", 2: "++--", 4: "+---"}),
    ]


def test_results_are_those_worked_by_hand() -> None:
    definition, members = hand_made()
    result = study_result(definition, members, "grpo")
    assert (result.rounds, result.complete, result.panels) == (4, True, {"p" * 12: 4})
    grpo, opsd = result.arms
    assert [seed.last for seed in grpo.seeds] == [0.5, 1.0]
    # Trapezoids of two rounds: ((0 + .25) + (.25 + .5)) / 4 = .25 and ((0 + .5) + (.5 + 1)) / 4 = .5.
    assert [seed.area for seed in grpo.seeds] == pytest.approx([0.25, 0.5])
    assert grpo.last is not None
    assert (grpo.last.mean, grpo.last.low, grpo.last.high, grpo.last.n) == (0.75, 0.0, 1.0, 2)
    assert [(point.round, point.mean) for point in grpo.curve] == [(0, 0.0), (2, 0.375), (4, 0.75)]
    # The collapsed run counts with its last value in round 4: (.5 + 0) / 4 = .125.
    assert opsd.collapsed == (0,)
    assert [(point.round, point.mean) for point in opsd.curve] == [(0, 0.25), (2, 0.25), (4, 0.125)]
    assert [seed.area for seed in opsd.seeds] == pytest.approx([0.125, 0.3125])
    assert [(seed.best, seed.best_round) for seed in opsd.seeds] == [(0.5, 0), (0.5, 2)]
    assert (grpo.seconds, grpo.seconds_alone, grpo.sampled_tokens, grpo.scored_tokens) == (60, 90, 10, 20)
    assert grpo.with_skills is not None
    assert (grpo.with_skills.mean, grpo.with_skills_round) == (0.0, 0)
    (difference,) = result.differences
    # Seed 0: 0 - .5, seed 1: .25 - 1.
    assert difference.difference == pytest.approx(-0.625)
    assert (difference.arm, difference.baseline, difference.seeds, difference.tasks) == ("opsd", "grpo", 2, 4)
    assert -1 <= difference.low < -0.625 < difference.high <= 0
    # -0.625 +- 12.706 * 0.125: two seeds say nothing.
    assert difference.seeds_high == pytest.approx(-0.625 + 12.706 * 0.125, abs=1e-3)
    assert difference.verdict == "not distinguishable"
    assert result.switches["update.policy_coefficient"] == {"grpo": 1.0, "opsd": 0.0}
    assert "stop.rounds" not in result.switches
    assert grpo.published is not None
    assert grpo.published["Qwen2.5-3B"]["ALFWorld"] == 75.0
    notes = " ".join(result.notes)
    assert "With 2 seeds nothing should be claimed" in notes
    assert "opsd collapsed with seed 0" in notes
    assert "another world" in notes


def test_missing_runs_are_left_out_and_named() -> None:
    definition, members = hand_made()
    result = study_result(definition, members[:1], "grpo")
    assert not result.complete
    assert [arm.missing for arm in result.arms] == [(1,), (0, 1)]
    assert result.arms[1].last is None
    assert result.differences == ()
    assert "3 runs are missing" in result.notes[0]


def test_different_panels_are_not_paired() -> None:
    definition, members = hand_made()
    other = Evaluation(0, "q" * 64, {"another": True})
    members[3] = member("opsd", 1, {0: "----"})
    changed = MemberData(**{**vars(members[3]), "evaluations": (other,)})
    result = study_result(definition, [*members[:3], changed], "grpo")
    assert result.differences == ()
    assert "different panels" in " ".join(result.notes)


def test_arms_with_settings_of_their_own_have_no_published_numbers() -> None:
    definition = define_study(["grpo"], ["big: method=grpo rollout.tasks=32"], "0")
    result = study_result(definition, [], "grpo")
    assert result.arms[0].published is not None
    assert result.arms[1].published is None


def test_the_area_of_a_single_evaluation_is_its_value() -> None:
    assert area_under_curve([0], [0.25]) == 0.25
    assert area_under_curve([0, 5, 20], [0.0, 0.4, 0.4]) == pytest.approx((5 * 0.2 + 15 * 0.4) / 20)


def test_an_arm_that_is_measured_with_skills_has_a_result(policy_path: Path, tmp_path: Path) -> None:
    changes = {"evaluation": {"prompt": "skills", "with_skills": False}, "stop": {"rounds": 0}}
    config = small_config(policy_path, changes).model_dump(mode="json", exclude={"seed"})
    arm = Arm(label="skilled", method="skill_prompt", settings=(), config=config)
    store, definition = open_study_store(tmp_path / "store"), StudyDefinition(arms=(arm,), seeds=(0,))
    carry_out(store, definition)
    [member] = data_of(store)
    assert [(each.round, len(each.outcomes)) for each in member.evaluations] == [(0, 8)]
    assert member.skilled == ()
    [found] = study_result(definition, [member], "skilled").arms
    assert found.prompt == "skills"
    assert found.last is not None
    assert found.last.mean == member.evaluations[0].success


def test_published_numbers_are_of_methods_that_exist() -> None:
    from sdar.tasks.published import PUBLISHED

    assert set(PUBLISHED) <= set(METHODS)
