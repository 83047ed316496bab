r"""Who picked the wrong hotel, and who noticed: `python benchmarks/studies/trip_case.py --store FOLDER`.

In `trip` a hotel in the wrong district is told nothing about until the trip ends. This reads a run of it,

    sdar run --env trip --store trip-case

and reports, by round, the token that named the district of each hotel that was booked: the gap between
teacher and student on it, its gate, and whether the district was right. Two episodes are shown as they were:
the one of the first round whose wrong district the teacher rejected most, and the one of the last round on
whose right district student and teacher agreed best.
Writes Markdown, to the terminal or with `--out` into a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from sdar.envs.trip.casebook import hotel_choices
from sdar.schemas.records import TaskSpec
from sdar.storage import Store, open_store

TOKENS = """
SELECT episode_id, turn, token, student, teacher, gap, gate FROM token_gap
WHERE run_id = '{run}' AND round = {round} ORDER BY episode_id, position"""
SKILLS = """
SELECT skill FROM retrieval_audit
WHERE run_id = '{run}' AND round = {round} AND episode_id = '{episode}' AND skill IS NOT NULL ORDER BY rank"""


@dataclass(frozen=True)
class Token:
    """A scored token; log-probs in nats, `gap` is teacher minus student."""

    text: str
    student: float
    teacher: float
    gap: float
    gate: float


@dataclass(frozen=True)
class Choice:
    """A district that an episode chose for a hotel: its token, and whether it was right."""

    episode: str
    goal: str
    turn: int
    right: bool
    district: Token
    turns: tuple[tuple[str, str], ...]
    success: bool


def main() -> None:
    """Write the case study of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="store of a run of the trip")
    parser.add_argument("--run", help="its id; by default the latest")
    parser.add_argument("--out", type=Path, help="file to write")
    arguments = parser.parse_args()
    store = open_store(arguments.store, read_only=True)
    text = case_study(store, arguments.run or store.runs()[-1].id)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text)


def case_study(store: Store, run: str) -> str:
    """Return the case study of a run as Markdown."""
    rounds = sorted({stage.round for stage in store.stage_runs(run) if stage.stage == "score"})
    choices = {number: hotel_districts(store, run, number) for number in rounds}
    lines = [
        "| round | hotels booked | district right | gap, right | gap, wrong | gate, right | gate, wrong |",
        "|---|---|---|---|---|---|---|",
        *(_row(number, found) for number, found in choices.items()),
    ]
    wrong = [choice for choice in choices[rounds[0]] if not choice.right]
    right = [choice for choice in choices[rounds[-1]] if choice.right and choice.success]
    if wrong:
        rejected = min(wrong, key=lambda choice: choice.district.gap)
        lines += ["", *_episode(store, run, rounds[0], rejected)]
    if right:
        agreed = min(right, key=lambda choice: abs(choice.district.gap))
        lines += ["", *_episode(store, run, rounds[-1], agreed)]
    return "\n".join(lines) + "\n"


def hotel_districts(store: Store, run: str, number: int) -> list[Choice]:
    """Return the districts of all hotels that the scored episodes of a round booked."""
    [collected] = [s for s in store.stage_runs(run) if s.stage == "collect" and s.round == number]
    tasks = {task.id: task for task in store.tasks(collected.artifact_id)}
    scored = _tokens(store, run, number)
    max_steps = int(store.run(run).settings["env"]["max_steps"])
    return [
        choice
        for episode in store.episodes(collected.artifact_id)
        for choice in _choices(
            episode.id,
            tasks[episode.task_id],
            [(turn.observation, turn.action) for turn in episode.turns],
            scored[episode.id],
            max_steps,
            episode.success,
        )
    ]


def _choices(
    episode: str,
    task: TaskSpec,
    turns: Sequence[tuple[str, str]],
    scored: dict[int, list[Token]],
    max_steps: int,
    success: bool,
) -> list[Choice]:
    found = []
    for booked in hotel_choices(task, [action for _, action in turns], max_steps):
        named = [token for token in scored[booked.searched] if token.text.strip() == booked.district]
        if named:
            found.append(
                Choice(episode, task.goal, booked.searched, booked.right, named[0], tuple(turns), success)
            )
    return found


def _tokens(store: Store, run: str, number: int) -> dict[str, dict[int, list[Token]]]:
    """Return by episode and turn the scored tokens."""
    found: dict[str, dict[int, list[Token]]] = {}
    for row in store.query(TOKENS.format(run=run, round=number)).to_pylist():
        token = Token(row["token"] or "", row["student"], row["teacher"], row["gap"], row["gate"])
        found.setdefault(row["episode_id"], {}).setdefault(row["turn"], []).append(token)
    return found


def _row(number: int, choices: Sequence[Choice]) -> str:
    right = [choice.district for choice in choices if choice.right]
    wrong = [choice.district for choice in choices if not choice.right]
    share = f"{len(right) / len(choices):.0%}" if choices else "-"
    cells = [_mean([token.gap for token in side], "+.2f") for side in (right, wrong)]
    cells += [_mean([token.gate for token in side], ".2f") for side in (right, wrong)]
    return f"| {number} | {len(choices)} | {share} | {' | '.join(cells)} |"


def _mean(values: Sequence[float], form: str) -> str:
    return format(mean(values), form) if values else "-"


def _episode(store: Store, run: str, number: int, choice: Choice) -> list[str]:
    skills = store.query(SKILLS.format(run=run, round=number, episode=choice.episode)).to_pylist()
    names = ", ".join(f"`{row['skill']}`" for row in skills)
    token = choice.district
    lines = [
        f"Round {number}, episode {choice.episode[:8]}, {'success' if choice.success else 'failure'}: "
        f"*{choice.goal}*. The teacher read {names}.",
        "",
        "```",
    ]
    for index, (observation, action) in enumerate(choice.turns):
        lines += [f"  {observation}", f"{'>' if index == choice.turn else ' '} {action}"]
    lines += [
        "```",
        "",
        f"On `{token.text}` the student's log-prob was {token.student:.2f} and the teacher's "
        f"{token.teacher:.2f}: gap {token.gap:+.2f}, gate {token.gate:.2f}.",
    ]
    return lines


if __name__ == "__main__":
    main()
