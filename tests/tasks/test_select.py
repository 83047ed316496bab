"""What each filter rejects, the sentence that says why, and the round that nothing is left of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from small_runs import SmallRun, inputs_of, small_config

from sdar.schemas.config import SelectConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import Episode, Selection, SelfJudgement, StopReason, Turn
from sdar.tasks.registry import STAGES
from sdar.tasks.select import kept_indices, rejections, selections


def episode(name: str, success: bool = False, turns: int = 1) -> Episode:
    played = tuple(
        Turn(index=i, observation="", action="look", reward=0.0, valid=True, start=1 + i, end=2 + i)
        for i in range(turns)
    )
    return Episode(
        id=name, task_id="t", task_type="pick", group=0, sample=0, seed=0, turns=played, prompt_length=1,
        token_ids=[0] * (turns + 1), action_mask=[False] + [True] * turns,
        sampler_logprobs=[0.0] * (turns + 1), episode_return=float(success), success=success,
        stop_reason=StopReason.SUCCESS if success else StopReason.MAX_STEPS,
    )  # fmt: skip


FOUR = [episode("a", True, 4), episode("b", True, 9), episode("c", False, 5), episode("d", False, 16)]
RETURNS = [1.0, 1.0, 0.0, 0.0]
JUDGED = [
    SelfJudgement(episode_id=each.id, verdicts=[0.0] * 4, score=0.0, consistency=share)
    for each, share in zip(FOUR, [1.0, 0.5, 0.75, 0.625], strict=True)
]


def chosen(config: SelectConfig) -> list[Selection]:
    return selections(FOUR, rejections(FOUR, RETURNS, JUDGED, config))


@pytest.mark.parametrize(
    ("config", "kept", "reason"),
    [
        (SelectConfig(), "abcd", ""),
        (SelectConfig(success=True), "ab", "It did not succeed."),
        # Sorted returns 0 0 1 1, place 0.6 * 3 = 1.8: 0.8.
        (
            SelectConfig(return_quantile=0.6),
            "ab",
            "Its return 0 is below 0.8, the 0.6 quantile of the round.",
        ),
        # Sorted turns 4 5 9 16, place 0.5 * 3 = 1.5: 7.
        (
            SelectConfig(length_quantile=0.5),
            "ac",
            "Its 16 turns are more than 7, the 0.5 quantile of the round.",
        ),
        (SelectConfig(consistency=0.75), "ac", "Only 0.625 of its judgements agree, less than 0.75."),
        (
            SelectConfig(success=True, length_quantile=0.5),
            "a",
            "It did not succeed and its 16 turns are more than 7, the 0.5 quantile of the round.",
        ),
    ],
)
def test_each_filter_by_hand(config: SelectConfig, kept: str, reason: str) -> None:
    found = chosen(config)
    assert "".join(each.episode_id for each in found if each.kept) == kept
    assert found[-1].reason == reason
    assert all(bool(each.reason) != each.kept for each in found)


def test_what_lies_on_a_quantile_is_kept() -> None:
    # Place 0.29 * 100 is 28.999999999999996 in floating point; the quantile is 30 turns all the same.
    many = [episode(str(i), turns=i) for i in range(1, 102)]
    rejected = rejections(many, [0.0] * 101, None, SelectConfig(length_quantile=0.29))
    assert sorted(rejected["length_quantile"]) == list(range(30, 101))


def test_a_round_of_which_nothing_is_left_names_the_filter_to_relax() -> None:
    # Success rejects two, length three of four, and only together all.
    config = SelectConfig(success=True, length_quantile=0.0)
    failures = [episode("a", False, 4), *FOUR[1:]]
    with pytest.raises(CheckFailedError) as caught:
        selections(failures, rejections(failures, RETURNS, None, config))
    message = str(caught.value)
    assert "none of the round's 4 episodes" in message
    assert "select.success 3, select.length_quantile 3" in message
    assert "Relax select.success, whose default false keeps all" in message
    assert "sdar stage score --round N --set select.success=false --downstream" in message


def test_kept_indices_follow_the_episodes() -> None:
    found = chosen(SelectConfig(length_quantile=0.5))
    assert kept_indices(list(reversed(found)), FOUR) == [0, 2]


def test_selection_of_a_real_round(judged: SmallRun) -> None:
    """Filters: the better half by the judged return, and a consistency that every episode has."""
    episodes = judged.store.episodes(judged.artifacts[1, "collect"])
    found = judged.store.selections(judged.artifacts[1, "select"])
    scores = [each.score for each in judged.store.judgements(judged.artifacts[1, "judge"])]
    best = sorted(sorted(range(4), key=lambda i: -scores[i])[:2])
    assert kept_indices(found, episodes) == best
    assert all("quantile of the round" in each.reason for each in found if not each.kept)
    summary = next(report.summary for report in judged.reports if report.stage == "select")
    assert summary == {
        "kept": 2.0, "share": 0.5, "rejected_return_quantile": 2.0, "rejected_consistency": 0.0,
    }  # fmt: skip


def test_a_stage_that_keeps_nothing_fails(judged: SmallRun, policy_path: Path, tmp_path: Path) -> None:
    config = small_config(policy_path, {"select": {"success": True}})
    given = dataclasses.replace(inputs_of(judged, "select", 1, tmp_path), config=config)
    with pytest.raises(CheckFailedError, match=r"Relax select\.success"):
        STAGES["select"].run(given)
