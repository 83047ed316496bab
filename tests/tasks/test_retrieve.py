"""Strategy `ucb` learns from the round before, and only that strategy reads it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from small_runs import SmallRun, learn, small_config

from sdar.schemas.config import RunConfig
from sdar.skills.usefulness import upper_bound
from sdar.tasks.registry import input_places


@pytest.fixture(scope="module")
def run(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    config = small_config(policy_path, {"skills": {"strategy": "ucb", "top_k": 2}})
    learnt = learn(tmp_path_factory.mktemp("ucb") / "store", config, 2)
    with learnt.store.writer("test"):
        learnt.reports.extend(learnt.session.execute(stage, 3) for stage in ("collect", "retrieve"))
    return learnt


def test_other_strategies_and_the_first_round_read_no_earlier_round() -> None:
    ucb = RunConfig.model_validate({"skills": {"strategy": "ucb"}})
    assert set(input_places(RunConfig(), "retrieve", 2)) == {"policy", "bank", "episodes"}
    assert set(input_places(ucb, "retrieve", 1)) == {"policy", "bank", "episodes"}
    earlier = {role: place for role, place in input_places(ucb, "retrieve", 3).items() if "previous" in role}
    assert earlier == {
        "previous": (2, "retrieve"), "previous_episodes": (2, "collect"), "previous_scores": (2, "score"),
    }  # fmt: skip


def test_the_first_round_has_no_statistics(run: SmallRun) -> None:
    assert run.store.skill_stats(run.artifacts[1, "retrieve"]) == []


def test_the_counts_are_those_of_all_rounds_before(run: SmallRun) -> None:
    uses: Counter[str] = Counter()
    for number in (1, 2):
        for context in run.store.contexts(run.artifacts[number, "retrieve"]):
            uses.update(skill.skill_id for skill in context.skills)
        stats = run.store.skill_stats(run.artifacts[number + 1, "retrieve"])
        assert {stat.skill_id: stat.uses for stat in stats} == uses
        assert [stat.skill_id for stat in stats] == sorted(uses)


def test_the_sums_are_those_that_sql_finds(run: SmallRun) -> None:
    rows = run.store.query(
        """SELECT k.skill_id, sum(g.gap) FILTER (a.success) AS won, sum(g.gap) FILTER (NOT a.success) AS lost
        FROM collected_episode a
        JOIN (SELECT run_id, round, episode_id, avg(gap) AS gap FROM token_value GROUP BY ALL) g
            ON g.run_id = a.run_id AND g.round = a.round AND g.episode_id = a.id
        JOIN stage_run s ON s.run_id = a.run_id AND s.round = a.round AND s.stage = 'retrieve'
        JOIN context_skill k ON k.artifact_id = s.artifact_id AND k.episode_id = a.id
        WHERE a.round < 3 GROUP BY ALL ORDER BY ALL"""
    ).to_pylist()
    stats = run.store.skill_stats(run.artifacts[3, "retrieve"])
    assert [stat.skill_id for stat in stats] == [row["skill_id"] for row in rows]
    for stat, row in zip(stats, rows, strict=True):
        assert stat.gap_success == pytest.approx(row["won"] or 0.0, abs=1e-9)
        assert stat.gap_failure == pytest.approx(row["lost"] or 0.0, abs=1e-9)


def test_used_skills_are_scored_by_their_bound_and_come_after_the_others(run: SmallRun) -> None:
    known = {stat.skill_id for stat in run.store.skill_stats(run.artifacts[3, "retrieve"])}
    contexts = run.store.contexts(run.artifacts[3, "retrieve"])
    for context in contexts:
        order = [skill.skill_id in known for skill in context.skills]
        assert order == sorted(order)
    assert any(skill.skill_id in known for context in contexts for skill in context.skills)
    assert {context.rule for context in contexts} == {"ucb"}


def test_a_user_can_ask_why_ucb_chose(run: SmallRun) -> None:
    rows = run.store.query("SELECT * FROM skill_choice ORDER BY round, skill_id").to_pylist()
    # Before the first episode nothing is known of any skill; afterwards of those that were used.
    assert all(row["score"] is None and row["uses"] == 0 for row in rows if row["round"] == 1)
    for number in (2, 3):
        stats = {stat.skill_id: stat for stat in run.store.skill_stats(run.artifacts[number, "retrieve"])}
        mine = {row["skill_id"]: row for row in rows if row["round"] == number}
        assert set(mine) == {skill.id for skill in run.store.skills(run.artifacts[0, "bank"])}
        total = sum(stat.uses for stat in stats.values())
        for skill_id, row in mine.items():
            if skill_id not in stats:
                assert (row["uses"], row["usefulness"], row["bonus"], row["score"]) == (0, None, None, None)
                continue
            bound = upper_bound(stats[skill_id], total, run.session.config.skills.exploration)
            assert row["score"] == pytest.approx(bound, abs=1e-12)
            assert row["usefulness"] + row["bonus"] == pytest.approx(bound, abs=1e-12)
        contexts = run.store.contexts(run.artifacts[number, "retrieve"])
        held = Counter(skill.skill_id for context in contexts for skill in context.skills)
        assert {skill_id: row["contexts"] for skill_id, row in mine.items() if row["contexts"]} == held
        # What the contexts keep as score is the bound of this view.
        for context in contexts:
            for skill in context.skills:
                if skill.skill_id in stats:
                    assert skill.score == pytest.approx(mine[skill.skill_id]["score"], abs=1e-12)
