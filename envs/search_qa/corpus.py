"""Libraries: the questions and the search that a configuration asks for, opened once per process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sdar.envs.search_qa.files import CORPUS, QUESTIONS, read_library
from sdar.envs.search_qa.options import Options
from sdar.envs.search_qa.questions import questions
from sdar.envs.search_qa.records import Passage, Question, Search
from sdar.envs.search_qa.world import passages, world
from sdar.schemas.errors import InputError
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import derive_seed

SPLITS = ("train", "unseen")
REMEMBERED = 8192
"""Searches whose hits are remembered: episodes of a group often ask the same."""


@dataclass(frozen=True)
class Library:
    """A search and the tasks by split."""

    search: Search
    tasks: Mapping[str, tuple[TaskSpec, ...]]


def open_library(data: str, options: Options) -> Library:
    """Return the library in a folder, or the generated one where no folder is named.

    It is made again only when a file has changed.

    Raises:
        InputError: the files have faults, or too few questions for two splits; or see `open_search`.
    """
    stamps = tuple(_stamp(Path(data) / name) for name in (CORPUS, QUESTIONS)) if data else ()
    return _open(data, options, stamps)


def _stamp(path: Path) -> tuple[int, int]:
    if not path.is_file():
        return 0, 0
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=4)
def _open(data: str, options: Options, stamps: tuple[tuple[int, int], ...]) -> Library:
    corpus: tuple[Passage, ...]
    if data:
        corpus, asked = read_library(Path(data), with_corpus=options.retriever != "remote")
    else:
        home = world(options.world)
        corpus, asked = passages(home), questions(home)
    tasks = split_tasks(asked, options)
    empty = [split for split in SPLITS if not tasks[split]]
    if empty:
        raise InputError(
            f"the {len(asked)} question(s) of {data} leave the split {empty[0]!r} without any; allowed: at "
            "least one in each. Add questions, or set another env.options.split_seed or unseen_share"
        )
    return Library(lru_cache(maxsize=REMEMBERED)(open_search(corpus, options)), tasks)


def open_search(corpus: tuple[Passage, ...], options: Options) -> Search:
    """Return the search over a corpus that the options ask for.

    Raises:
        ConfigError, InputError, EnvironmentMissingError: see `remote_search` and `open_embedder`.
    """
    folder = Path(options.index) if options.index else None
    if options.retriever == "remote":
        from sdar.envs.search_qa.remote import remote_search

        return remote_search(options.url, options.timeout)
    if options.retriever == "dense":
        from sdar.envs.search_qa.dense import dense_search
        from sdar.envs.search_qa.embedders import open_embedder

        embedder = open_embedder(options.embedder, [passage.contents for passage in corpus])
        return dense_search(corpus, embedder, folder)
    from sdar.envs.search_qa.bm25 import bm25_search

    return bm25_search(corpus, folder)


def split_tasks(asked: Iterable[Question], options: Options) -> dict[str, tuple[TaskSpec, ...]]:
    """Return the tasks by split, each in an order that follows from a hash of the question's id.

    Whether a question is trained on depends on its id and `split_seed` alone, not on the other questions; but
    questions in the same words go where the first of their ids goes, so that none is on both sides.
    """
    first: dict[str, str] = {}
    for question in sorted(asked, key=lambda each: each.id):
        first.setdefault(question.question, question.id)
    tasks: dict[str, list[TaskSpec]] = {split: [] for split in SPLITS}
    for question in asked:
        drawn = derive_seed(options.split_seed, "search_qa", "split", first[question.question]) / 2**63
        split = "unseen" if drawn < options.unseen_share else "train"
        tasks[split].append(question_task(question, split, options.split_seed))
    return {split: tuple(sorted(found, key=lambda task: task.seed)) for split, found in tasks.items()}


def question_task(question: Question, split: str, seed: int) -> TaskSpec:
    """Return the task that asks a question; `seed` decides its place in the order of the split."""
    return TaskSpec(
        id=f"search_qa/{question.id}",
        environment="search_qa",
        split=split,
        type=question.dataset,
        goal=question.question,
        seed=derive_seed(seed, "search_qa", "order", question.id),
        payload={"answers": list(question.answers), "lookups": [list(lookup) for lookup in question.lookups]},
    )
