"""The checks of the score stage catch what they are for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import SmallRun, inputs_of

from sdar.policy.dialogue import Dialogue, load_dialogue
from sdar.policy.scoring import Row
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import Episode, TeacherContext
from sdar.storage import Store
from sdar.tasks import score
from sdar.tasks.registry import STAGES


def test_scores_are_aligned_with_the_action_tokens(finished: SmallRun) -> None:
    episodes = finished.store.episodes(finished.artifacts[1, "collect"])
    scores = finished.store.scores(finished.artifacts[1, "score"])
    assert [each.episode_id for each in scores] == [episode.id for episode in episodes]
    for episode, each in zip(episodes, scores, strict=True):
        assert each.positions.tolist() == np.flatnonzero(episode.action_mask).tolist()
        np.testing.assert_allclose(each.student, episode.sampler_logprobs[episode.action_mask], atol=1e-5)
        assert (each.teacher < 0).all()
        assert ((each.entropy >= 0) & (each.entropy <= 1)).all()
        assert not np.allclose(each.teacher, each.student, atol=1e-3)


def test_the_teachers_row_keeps_every_id_after_the_prompt(finished: SmallRun, policy_path: Path) -> None:
    episode = finished.store.episodes(finished.artifacts[1, "collect"])[0]
    context = finished.store.contexts(finished.artifacts[1, "retrieve"])[0]
    [row] = score.teacher_rows(episode, context, load_dialogue(policy_path))
    body = episode.token_ids[episode.prompt_length :]
    assert row.token_ids[-len(body) :].tolist() == body.tolist()
    assert row.token_ids[row.positions].tolist() == episode.token_ids[episode.action_mask].tolist()
    assert len(context.prompt_ids) > episode.prompt_length
    assert (
        context.prompt_ids[-episode.prompt_length :].tolist()
        == episode.token_ids[: episode.prompt_length].tolist()
    )


def test_other_sampler_logprobs_fail_naming_engine_tolerance_and_token(
    finished: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Store.episodes

    def corrupted(store: Store, artifact: str) -> list[Episode]:
        episodes = real(store, artifact)
        logprobs = episodes[1].sampler_logprobs.copy()
        logprobs[np.flatnonzero(episodes[1].action_mask)[2]] -= 0.5
        episodes[1] = episodes[1].model_copy(update={"sampler_logprobs": logprobs})
        return episodes

    monkeypatch.setattr(Store, "episodes", corrupted)
    with pytest.raises(CheckFailedError) as caught:
        STAGES["score"].run(inputs_of(finished, "score", 1, tmp_path))
    episode = finished.store.episodes(finished.artifacts[1, "collect"])[1]
    place = int(np.flatnonzero(episode.action_mask)[2])
    message = str(caught.value)
    assert "engine transformers at temperature 1" in message
    assert "largest difference 0.5, tolerance 0.0001" in message
    assert f"episode {episode.id}, turn " in message
    assert f"position {place}, token {episode.token_ids[place]} '" in message


def test_a_teacher_row_with_other_actions_fails(
    finished: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = score.teacher_rows

    def reencoded(episode: Episode, context: TeacherContext, dialogue: Dialogue) -> list[Row]:
        [row] = real(episode, context, dialogue)
        ids = row.token_ids.copy()
        ids[row.positions[0]] += 1
        return [Row(ids, row.positions)]

    monkeypatch.setattr(score, "teacher_rows", reencoded)
    with pytest.raises(
        CheckFailedError, match=r"action tokens differ .* action token 0.*sdar stage retrieve"
    ):
        STAGES["score"].run(inputs_of(finished, "score", 1, tmp_path))


@pytest.mark.parametrize("number", [1, 2])  # in round 2 the student has other weights than its teacher
def test_a_teacher_that_sees_no_skills_fails(
    number: int, finished: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(episode: Episode, context: TeacherContext, dialogue: Dialogue) -> list[Row]:
        return score.student_rows(episode, dialogue)

    monkeypatch.setattr(score, "teacher_rows", blind)
    with pytest.raises(CheckFailedError, match=r"the teacher's row is the student's.*sdar stage retrieve"):
        STAGES["score"].run(inputs_of(finished, "score", number, tmp_path))


def test_skills_that_change_nothing_fail(
    finished: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmoved(*arguments: Any, **options: Any) -> list[score.RowScores]:
        return score.score_in_batches(
            arguments[0],
            ("policy", ""),
            [score.student_rows(e, arguments[0].policy().dialogue) for e in episodes],
            1.0,
            options["budget"],
            keep_hidden=options["keep_hidden"],
        )

    episodes = finished.store.episodes(finished.artifacts[1, "collect"])
    monkeypatch.setattr(score, "_teacher_scores", unmoved)
    with pytest.raises(CheckFailedError, match="the skill block has no effect on the teacher"):
        STAGES["score"].run(inputs_of(finished, "score", 1, tmp_path))
