"""The judge asks the teacher under different skills, and its figures are what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SmallRun, inputs_of, small_config

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.skills.context import SkillBlock
from sdar.tasks import judge
from sdar.tasks.judge import Opinions, draw_subsets, judging_blocks
from sdar.tasks.registry import STAGES, input_places, plan

CONTEXTS = 3


def test_all_subsets_have_their_turn_before_one_comes_again() -> None:
    drawn = draw_subsets(4, 14, seed=1)
    assert len(set(drawn[:6])) == len(set(drawn[6:12])) == 6  # 4 over 2
    assert len(set(drawn[12:])) == 2
    assert draw_subsets(1, 3, seed=1) == [(0,)] * 3
    assert draw_subsets(0, 2, seed=1) == [()] * 2


@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 2**62))
def test_a_subset_is_half_of_the_hits_in_their_order(count: int, contexts: int, seed: int) -> None:
    drawn = draw_subsets(count, contexts, seed)
    assert all(len(subset) == (count + 1) // 2 for subset in drawn)
    assert all(list(subset) == sorted(set(subset)) for subset in drawn)
    assert all(0 <= place < count for subset in drawn for place in subset)
    assert drawn == draw_subsets(count, contexts + 1, seed)[:contexts]


def blocks_of(judged: SmallRun, config: SkillsConfig, general: bool = False) -> dict[str, list[SkillBlock]]:
    tasks = judged.store.tasks(judged.artifacts[1, "collect"])
    skills = judged.store.skills(judged.artifacts[0, "bank"])
    if general:
        skills = [skill.model_copy(update={"task_types": ()}) for skill in skills]
    artifact = judged.artifacts[0, "bootstrap"]
    blob = judged.store.artifact(artifact).blob
    assert blob is not None
    dialogue = judged.session.shelf.get(artifact, blob).dialogue
    return judging_blocks(tasks, skills, config, CONTEXTS, dialogue, seed=5)


def test_blocks_differ_and_keep_to_the_budget(judged: SmallRun) -> None:
    for blocks in blocks_of(judged, SkillsConfig(budget=80)).values():
        assert len({block.text for block in blocks}) == CONTEXTS
        assert all(0 < block.tokens_used <= 80 for block in blocks)
        assert max(skill.rank for block in blocks for skill in block.used) < 2 * SkillsConfig().top_k
    found = {
        s.skill_id
        for blocks in blocks_of(judged, SkillsConfig(top_k=1)).values()
        for b in blocks
        for s in b.used
    }
    assert len(found) > 1


def test_a_context_without_skills_is_an_error_unless_allowed(judged: SmallRun) -> None:
    with pytest.raises(CheckFailedError, match="empty skill block"):
        blocks_of(judged, SkillsConfig(strategy="none"))
    allowed = blocks_of(judged, SkillsConfig(strategy="none", allow_empty=True))
    assert all(block.text == "" for blocks in allowed.values() for block in blocks)


def test_a_context_of_general_skills_is_one_more_opinion(judged: SmallRun) -> None:
    blocks = blocks_of(judged, SkillsConfig(), general=True)
    assert all(block.generic for each in blocks.values() for block in each)


def test_a_verdict_is_a_mean_over_the_action_tokens(judged: SmallRun, tmp_path: Path) -> None:
    """Gap and teacher's log-prob, recomputed without packing, one row at a time, from the model's logits."""
    given = inputs_of(judged, "judge", 1, tmp_path)
    episodes = judged.store.episodes(judged.artifacts[1, "collect"])
    contexts = judge.judging_contexts(given, episodes)
    found = judged.store.judgements(judged.artifacts[1, "judge"])
    opinion = judge.opinions(given, episodes, contexts)
    model = given.policy().model

    def logprobs(ids: np.ndarray, places: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            logits = model(torch.tensor(ids[None], dtype=torch.long)).logits[0].double()
        return logits.log_softmax(-1)[places - 1, ids[places]].numpy()

    assert opinion.verdicts("gap") is opinion.gap
    for place, (episode, own, each) in enumerate(zip(episodes, contexts, found, strict=True)):
        places = np.flatnonzero(episode.action_mask)
        student = logprobs(episode.token_ids, places)
        expected = []
        alone = []
        for context in own:
            ids = np.concatenate([context.prompt_ids, episode.token_ids[episode.prompt_length :]])
            shift = len(context.prompt_ids) - episode.prompt_length
            teacher = logprobs(ids, places + shift)
            expected.append(float((teacher - student).mean()))
            alone.append(float(teacher.mean()))
        np.testing.assert_allclose(each.verdicts, expected, atol=1e-5)
        np.testing.assert_allclose(opinion.verdicts("teacher")[place], alone, atol=1e-5)


def test_every_episode_is_judged(judged: SmallRun) -> None:
    episodes = judged.store.episodes(judged.artifacts[1, "collect"])
    found = judged.store.judgements(judged.artifacts[1, "judge"])
    assert [each.episode_id for each in found] == [episode.id for episode in episodes]
    for each in found:
        assert each.verdicts.shape == (CONTEXTS,)
        assert len(set(each.verdicts.tolist())) == CONTEXTS
        assert each.score == pytest.approx(float(each.verdicts.mean()), abs=1e-6)
        assert 0.5 <= each.consistency <= 1
    summary = next(report.summary for report in judged.reports if report.stage == "judge")
    assert summary["score"] == pytest.approx(np.mean([each.score for each in found]))
    assert summary["consistency"] == pytest.approx(np.mean([each.consistency for each in found]))


def test_the_store_joins_judgements_with_the_truth(judged: SmallRun) -> None:
    rows = judged.store.query("SELECT * FROM self_evaluation ORDER BY episode_id").to_pylist()
    found = sorted(judged.store.judgements(judged.artifacts[1, "judge"]), key=lambda each: each.episode_id)
    assert [(row["episode_id"], row["score"]) for row in rows] == [(e.episode_id, e.score) for e in found]
    assert {row["success"] for row in rows} == {False}


def test_judging_again_gives_the_same(judged: SmallRun, tmp_path: Path) -> None:
    output = STAGES["judge"].run(inputs_of(judged, "judge", 1, tmp_path))
    before = judged.store.judgements(judged.artifacts[1, "judge"])
    assert [each.model_dump_json() for each in output.rows["self_judgement"]] == [
        each.model_dump_json() for each in before
    ]


def test_auroc_is_shown_only_where_both_outcomes_occurred(judged: SmallRun) -> None:
    episodes = judged.store.episodes(judged.artifacts[1, "collect"])
    assert [episode.success for episode in episodes] == [False] * 4
    verdicts = np.array([[4, 4], [1, 1], [3, 3], [2, 2]], np.float32)
    found = judge.judgements(episodes, verdicts)
    opinion = Opinions(verdicts, np.array([[-4, -4], [-1, -1], [-3, -3], [-2, -2]], np.float32))
    failed = judge.figures(episodes, found, opinion)
    assert failed == {"score": 2.5, "consistency": 1.0, "warnings": ""}
    # Successes score 1 and 3 against 4 and 2: one pair of four in order. For the teacher it is three.
    half = [episode.model_copy(update={"success": i in (1, 2)}) for i, episode in enumerate(episodes)]
    shown = judge.figures(half, found, opinion)
    assert (shown["auroc"], shown["auroc_gap"], shown["auroc_teacher"]) == (0.25, 0.25, 0.75)
    other = judge.figures(half, judge.judgements(episodes, opinion.verdicts("teacher")), opinion)
    assert (other["auroc"], other["warnings"]) == (0.75, "")
    assert float(shown["auroc_low"]) < 0.25 < float(shown["auroc_high"])
    assert "Echo chamber" in str(shown["warnings"])


def test_skills_that_change_nothing_fail(
    judged: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = judge.student_rows
    monkeypatch.setattr(judge, "teacher_rows", lambda episode, context, dialogue: real(episode, dialogue))
    with pytest.raises(CheckFailedError, match="the skill block has no effect on the teacher"):
        STAGES["judge"].run(inputs_of(judged, "judge", 1, tmp_path))


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({}, set()),
        ({"reward": {"source": "self"}}, {"judge"}),
        ({"select": {"success": True}}, {"select"}),
        ({"select": {"consistency": 0.75}}, {"judge", "select"}),
    ],
)
def test_a_round_has_the_stages_that_its_settings_need(
    policy_path: Path, changes: dict[str, dict[str, object]], extra: set[str]
) -> None:
    config = small_config(policy_path, changes)
    assert set(plan(config, 1)) == {"collect", "retrieve", "score", "update"} | extra
    assert [name for name in STAGES if name in plan(config, 2)] == list(plan(config, 2))
    update, select = input_places(config, "update", 1), input_places(config, "select", 1)
    assert ("judgements" in update) == (config.reward.source != "environment")
    assert ("selection" in update) == ("select" in extra)
    assert ("judgements" in select) == ("judge" in extra)
