"""What the policy reads: conversations, windows, skills; and which groups and teachers a round takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_runs import SmallRun, inputs_of, learn, run_all, small_config

from sdar.policy.dialogue import SKILLS, load_dialogue
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Episode
from sdar.tasks import update
from sdar.tasks.registry import input_places, plan, trial_round
from sdar.tasks.score import student_rows

ONE_STEP = {"update": {"minibatch": 1000}}


def collected(run: SmallRun, number: int = 1) -> list[Episode]:
    return run.store.episodes(run.artifacts[number, "collect"])


def learned(policy: Path, folder: Path, **changes: dict[str, object]) -> SmallRun:
    return learn(folder, small_config(policy, {**ONE_STEP, **changes}), 1)


def test_a_window_that_holds_all_turns_gives_the_loss_of_the_conversation(
    policy_path: Path, tmp_path: Path
) -> None:
    whole = learned(policy_path, tmp_path / "whole")
    window = learned(policy_path, tmp_path / "window", rollout={"context": "window", "history_length": 9})
    for one, other in zip(collected(whole), collected(window), strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.action_mask.tolist() == other.action_mask.tolist()
        np.testing.assert_allclose(one.sampler_logprobs, other.sampler_logprobs, atol=1e-5)
        assert other.context_policy == "window:9"
    [first], [second] = (run.store.updates(run.artifacts[1, "update"]) for run in (whole, window))
    assert first.tokens == second.tokens > 0
    for name in ("loss", "policy_loss", "distillation", "drift", "entropy", "gate_mean", "gap_mean"):
        assert getattr(first, name) == pytest.approx(getattr(second, name), abs=2e-5), name
    assert first.gradient_norm == pytest.approx(second.gradient_norm, rel=1e-3)


def test_a_short_window_is_sampled_scored_and_learned_from_as_it_was_read(
    policy_path: Path, tmp_path: Path
) -> None:
    run = learned(policy_path, tmp_path / "store", rollout={"context": "window", "history_length": 1})
    dialogue = load_dialogue(policy_path)
    whole = learned(policy_path, tmp_path / "whole")
    for episode, conversation in zip(collected(run), collected(whole), strict=True):
        rows = student_rows(episode, dialogue)
        assert len(rows) == len(episode.turns) > 2
        first, third = episode.turns[0], episode.turns[2]
        assert np.isin(episode.token_ids[first.start : first.end], rows[0].token_ids).all()
        head = episode.prompt_length - len(dialogue.observation(first.observation))
        assert len(rows[2].token_ids) == head + third.end - first.end
        # Up to the second turn both read the same.
        end = episode.turns[1].end
        assert episode.token_ids[:end].tolist() == conversation.token_ids[:end].tolist()
    scored = run.store.scores(run.artifacts[1, "score"])
    for episode, score in zip(collected(run), scored, strict=True):
        np.testing.assert_allclose(score.student, episode.sampler_logprobs[episode.action_mask], atol=1e-4)


def test_a_round_can_be_collected_with_skills_in_the_prompt(policy_path: Path, tmp_path: Path) -> None:
    changes = {"rollout": {"with_skills": True}, "evaluation": {"with_skills_always": True}}
    run = run_all(tmp_path / "store", small_config(policy_path, changes))
    marker = load_dialogue(policy_path).tokenizer.token_to_id(SKILLS)
    assert all(episode.token_ids[0] == marker for episode in collected(run))
    for score in run.store.scores(run.artifacts[1, "score"]):
        np.testing.assert_allclose(score.teacher, score.student, atol=1e-5)  # both read the same skills
    for number in (0, 2):
        plain, skilled = (
            run.store.evaluations(run.artifacts[number, stage])[0]
            for stage in ("evaluate", "evaluate_with_skills")
        )
        assert (plain.with_skills, skilled.with_skills) == (False, True)
        assert plain.policy_id == skilled.policy_id


def test_the_panel_can_be_played_with_skills(policy_path: Path, tmp_path: Path) -> None:
    changes = {"evaluation": {"prompt": "skills", "with_skills": False}, "stop": {"rounds": 0}}
    run = run_all(tmp_path / "store", small_config(policy_path, changes))
    assert [report.stage for report in run.reports] == ["bootstrap", "bank", "panel", "evaluate", "decide"]
    assert run.store.evaluations(run.artifacts[0, "evaluate"])[0].with_skills
    assert run.session.verdict is not None
    assert run.session.verdict.reason == "rounds"


def test_groups_with_equal_returns_give_way_to_others(tmp_path: Path) -> None:
    values = {"policy": {"path": "starter", "threads": 1}, "rollout": {"tasks": 6, "group_size": 2}}
    plain = learn(tmp_path / "plain", RunConfig.model_validate(values), 1)
    values["rollout"]["resample"] = 3
    run = learn(tmp_path / "store", RunConfig.model_validate(values), 1)

    def unlike(episodes: list[Episode]) -> int:
        return sum(
            a.episode_return != b.episode_return for a, b in zip(episodes[::2], episodes[1::2], strict=True)
        )

    before, after = collected(plain), collected(run)
    assert len(before) == len(after) == 12
    assert unlike(before) < unlike(after)
    kept = {episode.id for episode in after}
    teaching = [pair for pair in zip(before[::2], before[1::2], strict=True)]
    assert all({a.id, b.id} <= kept for a, b in teaching if a.episode_return != b.episode_return)
    summary = run.store.artifact(run.artifacts[1, "collect"]).summary
    assert summary["dropped_groups"] >= 6 - unlike(before)
    assert len({episode.group for episode in after}) == 6


def test_resampling_without_any_success_fills_the_round_and_counts(policy_path: Path, tmp_path: Path) -> None:
    changes = {"rollout": {"resample": 2}, "advantage": {"invalid_penalty": 0.0}}
    run = learn(tmp_path / "store", small_config(policy_path, changes), 1)
    assert len(collected(run)) == 4
    assert run.store.artifact(run.artifacts[1, "collect"]).summary["dropped_groups"] == 4


def test_a_group_that_only_the_penalty_sets_apart_teaches_and_stays(
    policy_path: Path, tmp_path: Path
) -> None:
    def played(name: str, resample: int) -> list[Episode]:
        rollout = {"tasks": 6, "group_size": 2, "resample": resample}
        return collected(
            learn(tmp_path / name, small_config(policy_path, {"rollout": rollout}), 1, ["collect"])
        )

    def faults(episode: Episode) -> float:
        return float(np.mean([not turn.valid for turn in episode.turns]))

    before = played("plain", 0)
    assert {episode.episode_return for episode in before} == {0.0}
    pairs = list(zip(before[::2], before[1::2], strict=True))
    teaching = {one.id for pair in pairs for one in pair if faults(pair[0]) != faults(pair[1])}
    assert 0 < len(teaching) < len(before)
    assert teaching <= {episode.id for episode in played("store", 2)}


def test_lambda_follows_the_teachers_trial(extended: SmallRun, tmp_path: Path) -> None:
    trial = extended.store.episodes(extended.artifacts[1, "trial"])
    assert len(trial) == 2
    assert all(episode.token_ids[0] == 1 or episode.prompt_length > 0 for episode in trial)
    assert (2, "trial") not in extended.artifacts  # frozen weights are tried once
    # Neither teacher nor student ever succeeds, so the teacher has no lead and the term is off.
    for number in (1, 2):
        reports = extended.store.updates(extended.artifacts[number, "update"])
        assert {report.coefficient for report in reports} == {0.0}
        assert {report.distillation for report in reports} == {0.0}
    assert update.trust(inputs_of(extended, "update", 1, tmp_path), collected(extended)) == 0.0


def test_which_weights_teach_and_when_they_are_tried(policy_path: Path) -> None:
    def config(teacher: str) -> RunConfig:
        return small_config(policy_path, {"sdar": {"teacher": teacher, "period": 3, "trust": "lead"}})

    frozen, periodic, live = (config(name) for name in ("frozen", "periodic", "live"))
    rounds = range(1, 8)
    assert {input_places(frozen, "score", r)["teacher"] for r in rounds} == {(0, "bootstrap")}
    assert [input_places(periodic, "score", r)["teacher"][0] for r in rounds] == [0, 0, 0, 3, 3, 3, 6]
    assert "teacher" not in input_places(live, "score", 4)
    assert [trial_round(frozen, r) for r in rounds] == [1] * 7
    assert [trial_round(periodic, r) for r in rounds] == [1, 1, 1, 4, 4, 4, 7]
    assert [trial_round(live, r) for r in rounds] == list(rounds)
    assert ["trial" in plan(periodic, r) for r in rounds] == [True, False, False, True, False, False, True]
    assert input_places(periodic, "update", 5)["trial"] == (4, "trial")


def test_a_linear_lambda_is_stored_with_each_step(policy_path: Path, tmp_path: Path) -> None:
    changes = {"sdar": {"coefficient": 3.0, "schedule": "linear", "schedule_rounds": 3}}
    run = run_all(tmp_path / "store", small_config(policy_path, changes))
    found = [run.store.updates(run.artifacts[number, "update"])[0].coefficient for number in (1, 2)]
    assert found == pytest.approx([3.0, 2.0])
