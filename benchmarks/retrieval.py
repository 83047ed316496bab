"""How well each strategy finds the facts that a task needs: `python benchmarks/retrieval.py`.

Asks for the skills of every goal of the default panel, in the default house with its built-in bank. The
facts a task needs are known: where its thing is kept and, for most types of task, which appliance works.
Prints recall@1, recall@4 and nDCG@4 of every strategy under its default settings, and writes
benchmarks/results/retrieval.json. `ucb` is measured before it has seen any episode.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import sklearn
from _report import RESULTS, machine, save

from sdar.envs.household.goals import skill_names_needed, tasks
from sdar.envs.household.handbook import facts, handbook
from sdar.envs.household.house import DEFAULT_HOUSE
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Skill, TaskSpec
from sdar.schemas.seeds import PANEL_SEED, derive_seed
from sdar.skills.files import builtin_skills
from sdar.skills.retrieval import Retriever
from sdar.skills.strategies import STRATEGIES

SKILL_OF = dict(zip(facts(DEFAULT_HOUSE), handbook(DEFAULT_HOUSE), strict=True))
"""Name of the skill that states a fact."""


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "retrieval.json")
    arguments = parser.parse_args()
    result = measure()
    save(result, arguments.out)
    columns = ("recall@1", "recall@4", "ndcg@4", "found")
    print(f"{'strategy':<12}" + "".join(f"{column:>10}" for column in columns))
    for name, figures in {**result["strategies"], "best possible": result["best_possible"]}.items():
        print(f"{name:<13}" + "".join(f"{figures.get(column, math.nan):>10.3f}" for column in columns))


def measure() -> dict[str, Any]:
    """Return the figures of every strategy, and the best that any could reach."""
    load_before, config = os.getloadavg()[0], RunConfig()
    panel = tasks(config.env.house, config.env.panel_split)[: config.evaluation.panel_size]
    bank = builtin_skills("household")
    needed = [{SKILL_OF[fact] for fact in skill_names_needed(task)} for task in panel]
    best = [figures(sorted(names), names) for names in needed]
    return {
        "machine": machine(load_before, faiss, sklearn),
        "goals": len(panel),
        "skills": len(bank),
        "needed": sum(map(len, needed)) / len(needed),
        "strategies": {name: strategy_figures(name, bank, panel, needed) for name in STRATEGIES},
        "best_possible": mean(best),
    }


def strategy_figures(
    name: str, bank: Sequence[Skill], panel: Sequence[TaskSpec], needed: Sequence[set[str]]
) -> dict[str, float]:
    """Return the figures of one strategy, means over the panel's goals, and how many skills it found."""
    retriever = Retriever.from_bank(bank, RunConfig().skills.model_copy(update={"strategy": name}))
    found = [
        [hit.skill.name for hit in retriever.retrieve(t.goal, t.type, derive_seed(PANEL_SEED, t.id))]
        for t in panel
    ]
    measured = mean([figures(names, wanted) for names, wanted in zip(found, needed, strict=True)])
    return {**measured, "found": sum(map(len, found)) / len(found)}


def figures(found: Sequence[str], wanted: set[str]) -> dict[str, float]:
    """Return recall and normalised discounted cumulative gain of one ranking; a skill is needed or not."""
    gain = sum(1 / math.log2(rank + 2) for rank, name in enumerate(found[:4]) if name in wanted)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(4, len(wanted))))
    recall = {f"recall@{k}": len(wanted & set(found[:k])) / len(wanted) for k in (1, 4)}
    return {**recall, "ndcg@4": gain / ideal}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the means of figures of the same names."""
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


if __name__ == "__main__":
    main()
