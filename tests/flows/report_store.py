"""A store for the tests of the report: two rounds with hand-worked gaps, and text that attacks the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from store_samples import context, episode, policy, run, skill, stage, task

from sdar.schemas.lineage import TokenPiece
from sdar.schemas.records import Episode, PanelResult, TokenScores, UpdateReport, Verdict
from sdar.storage import Store, open_store

ATTACK = "</p><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\"'&<!--{{ 7 * 7 }}"
CONFIG: dict[str, Any] = {
    "method": f"sdar {ATTACK}",
    "env": {"name": f"world {ATTACK}"},
    "sdar": {"gate": "gap", "beta": 5.0},
    "stop": {"rounds": 2},
}
GAPS = {"r1-won": (1.0, 2.0, 0.0), "r1-lost": (0.5, -1.0, 0.0), "r2-won": (0.25, -3.0, 0.0)}
"""Gaps of the three tokens of each episode, in nats."""


def report_store(folder: Path) -> Store:
    """Round 1 has a success and a failure, round 2 a success at the same goal; the panel was played twice."""
    store = open_store(folder)
    with store.writer("test"):
        store.begin_run(run(config=CONFIG))
        first = store.commit(
            stage("bootstrap", round=0),
            "policy",
            {"policy": [policy()], "token_piece": _pieces(), "skill": [_skill("s1"), _skill("s2")]},
        )
        panel = store.commit(stage("panel", round=0), "panel", {"panel": [task()]})
        _evaluate(store, panel.id, 0, [True, False, False, False, False, False, False, False])
        _round(store, 1, first.id, [("r1-won", True), ("r1-lost", False)])
        _round(store, 2, first.id, [("r2-won", True)])
        _evaluate(store, panel.id, 2, [True] * 8)
        store.finish_run("r1", "done")
    return store


def _pieces() -> list[TokenPiece]:
    texts = {7: "go to ", 8: f"drawer 2 {ATTACK}", 10: "<|end|>"}
    return [TokenPiece(tokenizer_hash="tok", token_id=number, text=text) for number, text in texts.items()]


def _skill(identity: str) -> Any:
    body = f"Go to the drawer 2 {ATTACK}" if identity == "s1" else "Open what is closed."
    return skill(identity).model_copy(update={"name": f"{identity} {ATTACK}", "body": body})


def _episode(identity: str, success: bool) -> Episode:
    made = episode(identity, success)
    turns = tuple(turn.model_copy(update={"observation": f"room {ATTACK}"}) for turn in made.turns)
    return made.model_copy(update={"turns": turns, "error": ATTACK})


def _scores(identity: str) -> TokenScores:
    student = np.array([-2.0, -3.0, -1.0], np.float32)
    teacher = student + np.array(GAPS[identity], np.float32)
    return TokenScores(
        episode_id=identity, positions=[2, 3, 5], student=student, teacher=teacher, entropy=[0.1, 0.2, 0.3]
    )


def _round(store: Store, number: int, policy_id: str, episodes: list[tuple[str, bool]]) -> None:
    goal = task().model_copy(update={"goal": f"fetch the cup {ATTACK}"})
    made = store.commit(
        stage("collect", f"collect {number}", round=number, inputs={"policy": policy_id}),
        "episodes",
        {"task": [goal], "episode": [_episode(*each) for each in episodes]},
    )
    used = store.commit(
        stage("retrieve", f"retrieve {number}", round=number),
        "contexts",
        {"teacher_context": [context(name) for name, _ in episodes]},
    )
    store.commit(
        stage("score", f"score {number}", round=number, inputs={"episodes": made.id, "contexts": used.id}),
        "scores",
        {"token_score": [_scores(name) for name, _ in episodes]},
    )
    after = policy().model_copy(update={"id": f"p{number}", "parent": f"p{number - 1}", "round": number})
    store.commit(
        stage("update", f"update {number}", round=number),
        "policy",
        {"policy": [after], "update_step": [_update()]},
    )


def _update() -> UpdateReport:
    figures = dict.fromkeys(set(UpdateReport.model_fields) - {"step", "tokens", "skipped"}, 0.015)
    return UpdateReport.model_validate({**figures, "step": 0, "tokens": 3, "skipped": False})


def _evaluate(store: Store, panel: str, number: int, outcomes: list[bool]) -> None:
    wins, tasks = sum(outcomes), len(outcomes)
    result = PanelResult(
        panel_id=panel, policy_id=f"p{number}", with_skills=False, episodes=tasks, successes=wins,
        success=wins / tasks, low=max(0.0, wins / tasks - 0.1), high=min(1.0, wins / tasks + 0.1),
        mean_return=0.5, mean_turns=3.0, by_type={f"pick {ATTACK}": (wins, tasks)},
    )  # fmt: skip
    played = [
        _episode(f"panel-{place}", won).model_copy(update={"task_id": f"t{place}"})
        for place, won in enumerate(outcomes)
    ]
    place = {"round": number, "inputs": {"panel": panel}}
    store.commit(
        stage("evaluate", f"evaluate {number}", **place),
        "evaluation",
        {"evaluation": [result], "episode": played},
    )
    verdict = Verdict(
        round=number, stop=number == 2, reason="rounds" if number == 2 else "continue",
        sentence=f"So {ATTACK}.", best_policy=f"p{number}", best_round=number, best_success=wins / tasks,
        last_gain=None,
    )  # fmt: skip
    store.commit(stage("decide", f"decide {number}", round=number), "verdict", {"verdict": [verdict]})
