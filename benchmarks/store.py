"""How fast and how small the store is at the size of a long run: `python benchmarks/store.py`.

Commits episodes of 100 tokens with their turns, teacher contexts and token scores round by round, as the
stages do, and compares with a plain insert of the same columns, ready as Arrow tables, into a plain DuckDB
file. Then times the queries of docs/queries/ on the published copy. Prints a table and writes
benchmarks/results/store.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pydantic
from _report import RESULTS, machine, save

from sdar.schemas.lineage import RunRecord, StageRun, TokenPiece
from sdar.schemas.records import (
    Episode,
    PanelResult,
    PolicyRecord,
    Record,
    RetrievedSkill,
    Skill,
    StopReason,
    TaskSpec,
    TeacherContext,
    TokenScores,
    Turn,
)
from sdar.storage import Store, artifact_id, open_store
from sdar.storage.database import CONFIG
from sdar.storage.migrate import MIGRATIONS
from sdar.storage.rows import arrow_tables

ROOT = Path(__file__).parents[1]
# The shape of household episodes, measured on training runs: three tokens in ten are actions of the policy.
PROMPT, TURNS, OBSERVATION, ACTION = 20, 10, 5, 3
BLOCK_TOKENS, BLOCK_SENTENCE = 53, "look in the fridge before you search the drawers one by one."
LENGTH = PROMPT + TURNS * (OBSERVATION + ACTION)
VOCABULARY, SKILLS, TASKS = 1280, 24, 400
NOT_FILLED = ("answer_f1.sql", "distilled_skills.sql", "self_judgement.sql")
"""Queries of what the benchmark does not store: answers to questions, written skills, judgements."""
VERBS = ("go to", "take", "open", "put", "heat", "clean", "look at", "slice")
THINGS = ("mug", "apple", "drawer 1", "drawer 2", "fridge", "shelf 3", "desk", "lamp", "plate", "towel")
Seconds = dict[str, float]


def main() -> None:
    """Run the benchmark at the size that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, default=RESULTS / "store.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.episodes, arguments.rounds)
    save(result, arguments.out)
    print_result(result)


def measure(folder: Path, episodes: int, rounds: int) -> dict[str, Any]:
    """Fill a store and a plain database, and return all figures."""
    load_before = os.getloadavg()[0]
    store, per_round = open_store(folder / "store"), episodes // rounds
    seconds: Seconds = defaultdict(float)
    with duckdb.connect(folder / "plain.duckdb", config=CONFIG) as plain, store.writer("benchmark"):
        plain.execute(MIGRATIONS[0].read_text(encoding="utf-8"))
        begin(store)
        for number in range(1, rounds + 1):
            add_round(store, plain, number, per_round, seconds)
        with timed(seconds, "last snapshot"):
            store.publish()
    tokens = rounds * per_round * LENGTH
    return {
        "machine": machine(load_before, duckdb, pa, np, pydantic),
        "size": {"episodes": rounds * per_round, "tokens": tokens, "rounds": rounds},
        "insert": inserts(seconds, tokens),
        "disk": sizes(store, tokens, folder / "plain.duckdb"),
        "snapshot_seconds": snapshots(store),
        "query_seconds": queries(store),
    }


def begin(store: Store) -> None:
    """Commit what comes before the first round: vocabulary, skills, tasks, the first policy."""
    pieces = [TokenPiece(tokenizer_hash="tok", token_id=i, text=f"piece{i}") for i in range(VOCABULARY)]
    skills = [
        Skill(id=f"{i:064x}", name=f"skill-{i}", description="d", environment="household", task_types=(),
              body="Look in the fridge first. " * 8, source="builtin") for i in range(SKILLS)
    ]  # fmt: skip
    config = {"sdar": {"gate": "gap", "beta": 5.0}}
    for name in ("earlier", "bench"):
        record = RunRecord(
            id=name, created="2026-01-01T00:00:00", method="sdar", seed=len(name), config=config
        )
        store.begin_run(record)
        config = {"sdar": {"gate": "gap", "beta": 4.0}}
    store.commit(
        stage("bootstrap", 0), "start", {"policy": [policy(0)], "token_piece": pieces, "skill": skills}
    )


def add_round(
    store: Store, plain: duckdb.DuckDBPyConnection, number: int, count: int, seconds: Seconds
) -> None:
    """Commit one round to the store and insert the same columns into the plain database."""
    before = store.find(f"update-{number - 1}") or store.find("bootstrap-0")
    stages = round_rows(number, count)
    for name, (kind, rows) in stages.items():
        inputs = {"policy": before.id} if name == "collect" and before is not None else {}
        arrow = [
            (table, ready) for given in rows for table, ready in arrow_tables("a" * 64, given, rows[given])
        ]
        with timed(seconds, f"plain {name}"):
            plain.begin()
            for table, ready in arrow:
                plain.register("incoming", ready)
                plain.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
                plain.unregister("incoming")
            plain.commit()
            plain.execute("CHECKPOINT")
        with timed(seconds, f"hash {name}"):
            artifact_id(kind, rows, None)
        with timed(seconds, f"columns {name}"):
            for given in rows:
                arrow_tables("a" * 64, given, rows[given])
        with timed(seconds, f"commit {name}"):
            store.commit(stage(name, number, inputs), kind, rows)
    store.commit(stage("update", number), "policy", {"policy": [policy(number)]})
    store.commit(stage("evaluate", number), "evaluation", {"evaluation": [evaluation(number)]})


def round_rows(number: int, count: int) -> dict[str, tuple[str, dict[str, Sequence[Record]]]]:
    """Make the rows of one round: random tokens, log-probs with all their digits, few distinct texts."""
    random = np.random.default_rng(number)
    tasks = [task(i) for i in random.choice(TASKS, size=min(count // 8 + 1, TASKS), replace=False)]
    action = np.zeros(LENGTH, bool)
    starts = PROMPT + OBSERVATION + np.arange(TURNS) * (OBSERVATION + ACTION)
    for start in starts:
        action[start : start + ACTION] = True
    episodes, contexts, scores = [], [], []
    for index in range(count):
        name, chosen = f"{number}-{index}", tasks[index // 8 % len(tasks)]
        student = -random.exponential(0.7, action.sum()).astype(np.float32)
        episodes.append(episode(name, chosen, index, random, action, starts, student))
        contexts.append(context(name, chosen, random))
        shift = random.normal(0, 0.6, len(student)).astype(np.float32)
        scores.append(
            TokenScores(episode_id=name, positions=np.flatnonzero(action), student=student,
                        teacher=np.minimum(student + shift, 0), entropy=random.random(len(student)))
        )  # fmt: skip
    return {
        "collect": ("episodes", {"task": list(tasks), "episode": episodes}),
        "retrieve": ("contexts", {"teacher_context": contexts}),
        "score": ("scores", {"token_score": scores}),
    }


def episode(
    name: str,
    chosen: TaskSpec,
    index: int,
    random: np.random.Generator,
    action: Any,
    starts: Any,
    student: Any,
) -> Episode:
    """One episode of LENGTH tokens, most of whose tokens are frequent ones."""
    logprobs = np.zeros(LENGTH, np.float32)
    logprobs[action] = np.nextafter(student, np.float32(0))
    success = bool(random.random() < 0.5)
    words = random.integers(0, 10, (TURNS, 4))
    turns = tuple(
        Turn(index=i, observation=f"You see a {THINGS[a]}, a {THINGS[b]} and a {THINGS[c]}.",
             action=f"{VERBS[d % 8]} {THINGS[a]}", reward=float(success and i == TURNS - 1),
             valid=bool(a != b), start=int(starts[i]), end=int(starts[i]) + ACTION)
        for i, (a, b, c, d) in enumerate(words)
    )  # fmt: skip
    return Episode(
        id=name, task_id=chosen.id, task_type=chosen.type, group=index // 8, sample=index % 8, seed=index,
        turns=turns, prompt_length=PROMPT, token_ids=np.minimum(random.zipf(1.3, LENGTH), VOCABULARY) - 1,
        action_mask=action, sampler_logprobs=logprobs, episode_return=float(success), success=success,
        stop_reason=StopReason.SUCCESS if success else StopReason.MAX_STEPS,
    )  # fmt: skip


def context(name: str, chosen: TaskSpec, random: np.random.Generator) -> TeacherContext:
    """A context of four skills."""
    picked = random.choice(SKILLS, 4, replace=False)
    found = tuple(
        RetrievedSkill(skill_id=f"{i:064x}", score=float(random.random()), rank=rank, tokens=16)
        for rank, i in enumerate(picked)
    )
    return TeacherContext(
        episode_id=name, rule="embedding", query=chosen.goal, skills=found,
        block=" ".join(f"Skill {i}: {BLOCK_SENTENCE}" for i in picked),
        prompt_ids=random.integers(0, VOCABULARY, BLOCK_TOKENS), budget=160, tokens_used=64, tokens_cut=0,
    )  # fmt: skip


def task(number: int) -> TaskSpec:
    """One of a fixed set of tasks."""
    goal = f"put a {THINGS[number % 10]} on the {THINGS[number // 10 % 10]}"
    kind = ("pick", "heat", "clean")[number % 3]
    return TaskSpec(
        id=f"t{number}", environment="household", split="train", type=kind, goal=goal, seed=number
    )


def policy(number: int) -> PolicyRecord:
    """The policy after a round."""
    parent = f"{number - 1:064x}" if number else None
    return PolicyRecord(
        id=f"{number:064x}", parent=parent, method="sdar", round=number, tokenizer_hash="tok", parameters=10
    )


def evaluation(number: int) -> PanelResult:
    """A result on the panel that slowly rises."""
    success = 0.2 + 0.01 * number
    return PanelResult(
        panel_id="panel", policy_id=f"{number:064x}", with_skills=False, episodes=100,
        successes=int(100 * success), success=success, low=success - 0.1, high=success + 0.1,
        mean_return=success, mean_turns=6.0, by_type={"pick": (20, 34), "heat": (5, 33), "clean": (10, 33)},
    )  # fmt: skip


def stage(name: str, number: int, inputs: dict[str, str] | None = None) -> StageRun:
    """A stage run of the benchmark's run."""
    moment = "2026-01-01T00:00:00"
    return StageRun(
        run_id="bench", round=number, stage=name, key=f"{name}-{number}", version=1, config={},
        inputs=inputs or {}, started=moment, finished=moment, seconds=1.0,
    )  # fmt: skip


@contextmanager
def timed(seconds: Seconds, name: str) -> Iterator[None]:
    """Add the time of a `with` block."""
    began = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - began


def inserts(seconds: Seconds, tokens: int) -> dict[str, Any]:
    """Return insert rates in tokens a second, and the store's as a ratio to the plain one."""
    totals = {
        part: sum(value for name, value in seconds.items() if name.startswith(part))
        for part in ("plain", "commit", "hash", "columns")
    }
    return {
        "plain_tokens_per_second": tokens / totals["plain"],
        "store_tokens_per_second": tokens / totals["commit"],
        "ratio": totals["plain"] / totals["commit"],
        "ratio_without_hashing": totals["plain"] / (totals["commit"] - totals["hash"]),
        "ratio_of_the_insert_alone": totals["plain"]
        / (totals["commit"] - totals["hash"] - totals["columns"]),
        "seconds": {name: round(value, 3) for name, value in sorted(seconds.items())},
    }


def sizes(store: Store, tokens: int, plain: Path) -> dict[str, float]:
    """Return the size of the database."""
    size = (store.path / "store.duckdb").stat().st_size
    return {
        "bytes": size,
        "bytes_per_token": size / tokens,
        "plain_bytes_per_token": plain.stat().st_size / tokens,
    }


def snapshots(store: Store) -> dict[str, float]:
    """Return how long a snapshot takes after a small commit, and when nothing has changed."""
    seconds: Seconds = defaultdict(float)
    with store.writer("benchmark"):
        store.finish_run("bench", "done")
        with timed(seconds, "after a small commit"):
            store.publish()
        with timed(seconds, "when nothing changed"):
            store.publish()
    return dict(seconds)


def queries(store: Store) -> dict[str, float]:
    """Return the time of each query of docs/queries, the better of two runs, a fresh connection each."""
    times = {}
    for file in sorted((ROOT / "docs" / "queries").glob("*.sql")):
        if file.name in NOT_FILLED:
            continue
        seconds: Seconds = defaultdict(float)
        for attempt in ("first", "second"):
            with timed(seconds, attempt):
                rows = store.query(file.read_text(encoding="utf-8")).num_rows
        if not rows:
            raise SystemExit(f"{file.name} returned nothing: it does not measure anything")
        times[file.stem] = min(seconds.values())
    return times


def print_result(result: dict[str, Any]) -> None:
    """Print the figures, marking those that miss what is wanted."""
    insert, disk = result["insert"], result["disk"]
    rows = [
        ("insert rate, of plain Arrow", insert["ratio"], ">= 0.7", insert["ratio"] >= 0.7),
        ("bytes per token", disk["bytes_per_token"], "<= 12", disk["bytes_per_token"] <= 12),
        *((f"query {name} (s)", value, "< 2", value < 2) for name, value in result["query_seconds"].items()),
        *((f"snapshot {name} (s)", value, "", True) for name, value in result["snapshot_seconds"].items()),
    ]
    for name, value, wanted, good in rows:
        print(f"{name:<42} {value:>10.3f}  {wanted:<7} {'' if good else 'MISSED'}".rstrip())
    print(json.dumps(insert, indent=1))


if __name__ == "__main__":
    main()
