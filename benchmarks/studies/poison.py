r"""A bank with misleading skills, and whether runs retired those: `python benchmarks/studies/poison.py`.

`make` copies a bank of the household and adds wrong facts about the house, or with `--instead` puts them in
the place of right ones. Runs learn from the copy:

    python benchmarks/studies/poison.py make --out poisoned
    sdar compare --methods grpo --arm 'poisoned: method=sdar_trust skills.path=poisoned distill.every=2 \
        distill.writer=none' --seeds 0-4 --store study

`judge` then says which skills the runs of that store retired, in which round and why, with precision and
recall over the misleading ones, and writes benchmarks/results/poison.json. How well the students did is in
the report of the study.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdar.envs.household.house import house
from sdar.envs.household.misleading import misleading_skills
from sdar.skills.exchange import export_skills
from sdar.skills.files import builtin_folder, load_files, load_skills
from sdar.skills.writing import write_skills
from sdar.storage import open_store

RESULT = Path(__file__).parents[1] / "results" / "poison.json"
NOTE = "poison.json"
"""File directly in the bank, where no bank looks: which of its skills mislead."""

RETIRED = """
SELECT v.round, k.name, k.id, t.reason
FROM stage_run s JOIN bank_version v ON v.artifact_id = s.artifact_id
JOIN skill_state t ON t.artifact_id = s.artifact_id AND t.retired
JOIN skill k ON k.artifact_id = s.artifact_id AND k.id = t.skill_id
WHERE s.stage = 'distill' AND s.run_id = '{run}' AND NOT starts_with(t.reason, 'Replaced by version')
ORDER BY v.round, k.name
"""


def main() -> None:
    """Make a bank, or judge runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    new = commands.add_parser("make", help="write a poisoned copy of a bank")
    new.add_argument("--out", type=Path, required=True, help="new or empty folder")
    new.add_argument("--bank", type=Path, help="folder of skills; by default the built-in one, of house 0")
    new.add_argument("--house", type=int, default=0, help="house that the facts are about")
    new.add_argument("--share", type=float, default=0.1, help="share of misleading skills in the copy")
    new.add_argument("--seed", type=int, default=0, help="which facts are wrong, and how")
    new.add_argument("--instead", action="store_true", help="put them in the place of the right skills")
    told = commands.add_parser("judge", help="say what the runs of a store retired")
    told.add_argument("--store", type=Path, required=True)
    told.add_argument("--bank", type=Path, required=True, help="what `make` wrote")
    told.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments)
    else:
        judge(arguments.store, arguments.bank, arguments.out)


def make(arguments: argparse.Namespace) -> None:
    """Write the poisoned bank and the note that says which of its skills mislead."""
    right = load_files(arguments.bank or builtin_folder("household"))
    share = arguments.share if arguments.instead else arguments.share / (1 - arguments.share)
    count = round(len(right) * share)
    wrong = misleading_skills(house(arguments.house), count, arguments.seed, arguments.instead)
    export_skills(right, arguments.out)
    write_skills(arguments.out, wrong)
    ids = {skill.name: skill.id for skill in load_skills(arguments.out) if skill.name in wrong}
    (arguments.out / NOTE).write_text(json.dumps(ids, indent=2) + "\n", encoding="utf-8")
    print(f"{len(load_skills(arguments.out))} skills in {arguments.out}, {count} of them misleading:")
    print("\n".join(f"  {name}: {text.splitlines()[-1]}" for name, text in wrong.items()))


def judge(store: Path, bank: Path, out: Path) -> None:
    """Report the runs of a store that learnt from the bank."""
    wrong: dict[str, str] = json.loads((bank / NOTE).read_text(encoding="utf-8"))
    opened = open_store(store, read_only=True)
    ours = [run for run in opened.runs() if Path(str(run.settings["skills"]["path"])).name == bank.name]
    rows = {run.id: opened.query(RETIRED.format(run=run.id)).to_pylist() for run in ours}
    runs = [judged(name, found, set(wrong.values())) for name, found in rows.items()]
    out.parent.mkdir(exist_ok=True)
    result = {"misleading": sorted(wrong), "runs": runs}
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for run in runs:
        figures = ", ".join(
            f"{name} {run[name]:.2f}" for name in ("precision", "recall") if run[name] is not None
        )
        print(f"{run['run']}: {figures or 'nothing retired'}")
        for one in run["retired"]:
            print(f"  {'misleading' if one['misleading'] else 'RIGHT':<10} {one['name']}: {one['reason']}")


def judged(run: str, rows: Sequence[dict[str, Any]], wrong: set[str]) -> dict[str, Any]:
    """Return what a run retired, each skill in its first round, with precision and recall."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["id"], {**row, "misleading": row["id"] in wrong})
    hit = sum(each["misleading"] for each in first.values())
    return {
        "run": run,
        "retired": list(first.values()),
        "precision": hit / len(first) if first else None,
        "recall": hit / len(wrong) if wrong else None,
    }


if __name__ == "__main__":
    main()
