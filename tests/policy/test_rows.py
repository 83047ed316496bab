"""The rows of an episode, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sdar.policy.rows import Cuts, episode_rows, history_length, window_start
from sdar.schemas.records import Episode, StopReason, Turn

# Head 10 11, observations 20 21 / 22 / 23 24, actions 1 2 / 3 / 4 5.
IDS = [10, 11, 20, 21, 1, 2, 22, 3, 23, 24, 4, 5]
SPANS = [(4, 6), (7, 8), (10, 12)]
STUDENT = np.array(IDS[:4], dtype=np.int32)
TEACHER = np.array([90, 91, 92, 10, 11, 20, 21], dtype=np.int32)


def episode(context_policy: str, spans: list[tuple[int, int]] = SPANS) -> Episode:
    mask = np.zeros(len(IDS), dtype=np.bool_)
    for start, end in spans:
        mask[start:end] = True
    turns = [
        Turn(index=i, observation="", action="", reward=0.0, valid=True, start=start, end=end)
        for i, (start, end) in enumerate(spans)
    ]
    return Episode(
        id="e", task_id="t", task_type="k", group=0, sample=0, seed=0, turns=tuple(turns), prompt_length=4,
        token_ids=np.array(IDS, dtype=np.int32), action_mask=mask,
        sampler_logprobs=np.zeros(len(IDS), dtype=np.float32), episode_return=0.0, success=False,
        stop_reason=StopReason.MAX_STEPS, context_policy=context_policy,
    )  # fmt: skip


def cut(
    context_policy: str, prompt: np.ndarray = STUDENT, seams: tuple[int, ...] = (0, 0, 0)
) -> list[tuple[list[int], list[int]]]:
    rows = episode_rows(episode(context_policy), prompt, Cuts(2, seams))
    return [(row.token_ids.tolist(), row.positions.tolist()) for row in rows]


def test_a_conversation_is_one_row() -> None:
    assert cut("conversation") == [(IDS, [4, 5, 7, 10, 11])]
    assert cut("conversation", TEACHER) == [([90, 91, 92, *IDS], [7, 8, 10, 13, 14])]


def test_a_window_without_history_has_the_head_and_the_present_turn() -> None:
    assert cut("window:0") == [
        ([10, 11, 20, 21, 1, 2], [4, 5]),
        ([10, 11, 22, 3], [3]),
        ([10, 11, 23, 24, 4, 5], [4, 5]),
    ]


def test_a_window_of_one_earlier_turn() -> None:
    assert cut("window:1") == [
        ([10, 11, 20, 21, 1, 2], [4, 5]),
        ([10, 11, 20, 21, 1, 2, 22, 3], [7]),
        ([10, 11, 22, 3, 23, 24, 4, 5], [6, 7]),
    ]


def test_a_window_leaves_out_the_seam_before_its_first_observation() -> None:
    # The 23 belongs to the second action: no window begins with it, but one that goes over it keeps it.
    assert cut("window:0", seams=(0, 1, 0))[2] == ([10, 11, 24, 4, 5], [3, 4])
    assert cut("window:1", seams=(0, 1, 0))[2] == ([10, 11, 22, 3, 23, 24, 4, 5], [6, 7])
    assert cut("window:1", seams=(1, 0, 0))[2] == ([10, 11, 3, 23, 24, 4, 5], [5, 6])


def test_the_teacher_reads_the_same_window_behind_its_skills() -> None:
    student, teacher = cut("window:1"), cut("window:1", TEACHER)
    assert [ids for ids, _ in teacher] == [[90, 91, 92, *ids] for ids, _ in student]
    assert [places for _, places in teacher] == [[place + 3 for place in places] for _, places in student]


def test_a_window_that_holds_all_turns_is_a_beginning_of_the_conversation() -> None:
    for (ids, positions), (_, end) in zip(cut("window:9"), SPANS, strict=True):
        assert ids == IDS[:end]
        assert (
            positions
            == [place for place in [4, 5, 7, 10, 11] if place < end and place >= end - 2][-len(positions) :]
        )


def test_an_episode_without_turns_has_no_window() -> None:
    assert episode_rows(episode("window:1", []), STUDENT, Cuts(0, ())) == []


@pytest.mark.parametrize(
    ("turn", "history", "start"), [(0, 3, 2), (1, 0, 6), (2, 1, 6), (2, 2, 2), (2, 9, 2)]
)
def test_where_a_window_begins(turn: int, history: int, start: int) -> None:
    assert window_start([6, 8, 12], turn, history, 2) == start


def test_the_name_of_a_context_policy() -> None:
    assert history_length("conversation") is None
    assert history_length("window:12") == 12
