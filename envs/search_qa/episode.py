"""One question being answered: the rules of the game."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdar.envs.base import StepResult
from sdar.envs.search_qa.actions import INVALID, information, parse_action
from sdar.envs.search_qa.records import Search
from sdar.envs.search_qa.scoring import exact_match, f1
from sdar.schemas.records import TaskSpec


@dataclass
class Episode:
    """The state of one episode: actions taken, queries asked, ids of passages shown."""

    task: TaskSpec
    steps: int = 0
    queries: list[str] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    done: bool = False


def step(episode: Episode, search: Search, top_k: int, action: str) -> StepResult:
    """Take one action: a search shows passages, an answer ends the episode.

    The reward is 1 for an answer that matches a gold answer exactly, otherwise 0. The last observation tells
    the exact match, the F1, and the first gold answer.

    Args:
        episode: is changed.
        search: of the library.
        top_k: most passages to show.
        action: what the policy wrote.
    """
    episode.steps += 1
    wanted = parse_action(action)
    if wanted is None:
        return StepResult(INVALID, 0.0, done=False, success=False, valid=False)
    if wanted.kind == "search":
        hits = search(wanted.text, top_k)
        episode.queries.append(wanted.text)
        episode.shown |= {hit.passage.id for hit in hits}
        return StepResult(information(hits), 0.0, done=False, success=False, valid=True)
    golds = episode.task.payload["answers"]
    right = exact_match(wanted.text, golds)
    episode.done = True
    verdict = f"Exact match: {right:d}. F1: {f1(wanted.text, golds):.3f}. Right answer: {golds[0]}"
    return StepResult(verdict, float(right), done=True, success=right, valid=True)
