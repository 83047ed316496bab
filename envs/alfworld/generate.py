"""Writes game files in ALFWorld's folder layout, so that its own tools and `env.data` can read them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sdar.envs.alfworld.alfred import alfred_games, params, read_trajectories
from sdar.envs.alfworld.builtin import SIZES, builtin_games
from sdar.envs.alfworld.files import FOLDERS, GAME, TRAJECTORY
from sdar.envs.alfworld.game import FAMILIES, Game, game_data
from sdar.schemas.errors import InputError


def generate(out: Path, source: Path | None = None, limit: int = 0) -> dict[str, int]:
    """Write games and return how many by split.

    Args:
        out: new or empty folder.
        source: see `read_trajectories`; None takes the data inside the `alfworld` package.
        limit: most games per split, families in turn; 0 writes all.

    Raises:
        InputError: the folder is not empty or cannot be written, or the source has none.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty; games need a new or an empty folder. Name one with --out.")
    counts: Counter[str] = Counter(dict.fromkeys(FOLDERS, 0))
    for split, game, sentences in _in_turn(_package() if source is None else _alfred(source)):
        if limit and counts[split] >= limit:
            continue
        try:
            _write(out / FOLDERS[split], game, sentences)
        except OSError as error:
            raise InputError(f"cannot write {out} ({error}). Name another folder with --out.") from error
        counts[split] += 1
    return dict(counts)


def _package() -> Iterator[tuple[str, Game, Sequence[str]]]:
    for split in SIZES:
        yield from ((split, game, ()) for game in builtin_games(split))


def _alfred(source: Path) -> Iterator[tuple[str, Game, Sequence[str]]]:
    for split, game, trajectory in alfred_games(read_trajectories(source)):
        yield split, game, trajectory.sentences


def _in_turn(games: Iterator[tuple[str, Game, Sequence[str]]]) -> Iterator[tuple[str, Game, Sequence[str]]]:
    """Yield games so that families take turns, and within a family as they came."""
    by_family: Mapping[str, list[tuple[str, Game, Sequence[str]]]] = {family: [] for family in FAMILIES}
    for each in games:
        by_family[each[1].wanted.family].append(each)
    ranked = [(n, f, x) for f, family in enumerate(FAMILIES) for n, x in enumerate(by_family[family])]
    yield from (each for _, _, each in sorted(ranked, key=lambda item: item[:2]))


def _write(folder: Path, game: Game, sentences: Sequence[str]) -> None:
    wanted = game.wanted
    last = wanted.target or wanted.lamp
    name = f"{wanted.family}-{wanted.thing}-None-{last}-{game.scene.removeprefix('FloorPlan')}"
    place = folder / name / f"trial_{game.id}"
    place.mkdir(parents=True)
    data = game_data(game)
    trajectory = {
        "task_type": wanted.family,
        "task_id": game.id,
        "pddl_params": params(wanted),
        "scene": {"floor_plan": game.scene},
        "turk_annotations": {"anns": [{"task_desc": text} for text in (sentences or [game.goal])]},
    }
    (place / GAME).write_text(json.dumps(data), encoding="utf-8")
    (place / "initial_state.pddl").write_text(data["pddl_problem"], encoding="utf-8")
    (place / TRAJECTORY).write_text(json.dumps(trajectory), encoding="utf-8")
