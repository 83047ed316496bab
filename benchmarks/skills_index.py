"""Our index beside raw FAISS and numpy, flat beside approximate ones: `python benchmarks/skills_index.py`.

Writes benchmarks/results/skills_index.json. Part `sizes`: for banks of 100 to 100 000 random unit vectors of
384 numbers, one query at a time for the best 10, with our index, with raw FAISS flat and with numpy (product
and argpartition); times are medians of rounds in which the three take turns, so that ratios hold on a busy
machine. Part `approximate`: IVF and HNSW beside flat, by recall@10, time per query and to build, on random
vectors (the hardest case: nothing is near anything) and on vectors of 24 true dimensions with noise, as texts
about a few subjects might have. Part `embedders`: how well each finds the facts that a task of the default
panel needs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from _report import RESULTS, machine, save
from numpy.typing import NDArray
from retrieval import SKILL_OF, mean
from retrieval import figures as ranking_figures

from sdar.envs.household.goals import skill_names_needed, tasks
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import EnvironmentMissingError
from sdar.skills.embedders.tfidf import TfidfEmbedder
from sdar.skills.files import builtin_skills
from sdar.skills.index import APPROXIMATE_FROM, SkillIndex, one_thread
from sdar.skills.index_files import load_index, save_index
from sdar.skills.retrieval import Retriever
from sdar.tasks.bank import configured_similarity

DIMENSION, K, SIZES = 384, 10, (100, 1_000, 10_000, 100_000)
TRUE_DIMENSIONS = 24
ROUNDS = 5
Vectors = NDArray[np.float32]
Search = Callable[[Vectors], Any]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "skills_index.json")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="Skills per bank; a million take 6 GB of memory."
    )
    parser.add_argument("--approximate", type=int, default=10_000, help="Vectors for IVF beside HNSW.")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    sizes = []
    for size in arguments.sizes:
        sizes.append(measure_size(size))
        print({name: figure for name, figure in sizes[-1].items() if figure is not None}, flush=True)
    approximate = measure_approximate(arguments.approximate)
    embedders = measure_embedders()
    result = {
        "machine": machine(load_before, faiss, np),
        "dimension": DIMENSION,
        "sizes": sizes,
        "approximate": {"skills": arguments.approximate, "rows": approximate},
        "embedders": embedders,
    }
    save(result, arguments.out)


def unit(rows: NDArray[Any]) -> Vectors:
    """Return rows of L2 norm 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_bank(count: int, seed: int) -> Vectors:
    """Return random unit vectors."""
    return unit(np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32))


def subject_bank(count: int, seed: int) -> Vectors:
    """Return unit vectors of few true dimensions and some noise."""
    random = np.random.default_rng(seed)
    axes = np.random.default_rng(0).standard_normal((TRUE_DIMENSIONS, DIMENSION), dtype=np.float32)
    inner = random.standard_normal((count, TRUE_DIMENSIONS), dtype=np.float32) @ axes
    return unit(inner + 0.3 * random.standard_normal((count, DIMENSION), dtype=np.float32))


def measure_size(size: int) -> dict[str, Any]:
    """Return times and ratios for one size; above the limit of our index with its recall@10, too."""
    bank, queries = random_bank(size, 0), random_bank(20, 1)
    ids = [f"{number:08d}" for number in np.random.default_rng(2).permutation(size)]
    raw = faiss.IndexFlatIP(DIMENSION)
    raw_add = seconds(lambda: raw.add(bank))
    exact_build, exact = timed(lambda: SkillIndex.build(bank, ids, size + 1))
    searches: dict[str, Search] = {
        "ours": lambda query: exact.search(query, K),
        "faiss": lambda query: raw.search(query[None], K),
        "numpy": lambda query: numpy_best(bank, query),
    }
    times = take_turns(searches, queries, ROUNDS if size < APPROXIMATE_FROM else 1)
    row = {
        "skills": size,
        "build_ms": 1e3 * exact_build,
        "faiss_build_ms": 1e3 * raw_add,
        **{f"{name}_ms": 1e3 * found for name, found in times.items()},
        "ours_to_faiss": times["ours"] / times["faiss"],
        "ours_to_numpy": times["ours"] / times["numpy"],
        "same_as_numpy": all(same(exact, bank, query) for query in queries),
        **files(exact),
    }
    return row | (cells_figures(bank, ids, exact, queries) if size >= APPROXIMATE_FROM else {})


def cells_figures(bank: Vectors, ids: Sequence[str], exact: SkillIndex, queries: Vectors) -> dict[str, float]:
    """Return how our cells compare with our flat index, on random vectors."""
    build, cells = timed(lambda: SkillIndex.build(bank, ids))
    times = take_turns(
        {"flat": lambda q: exact.search(q, K), "cells": lambda q: cells.search(q, K)}, queries, 1
    )
    found = [
        [{hit.position for hit in index.search(query, K)} for query in queries] for index in (exact, cells)
    ]
    return {
        "cells_build_ms": 1e3 * build,
        "cells_ms": 1e3 * times["cells"],
        "cells_to_flat": times["cells"] / times["flat"],
        "cells_recall": recall(*found),
    }


def files(index: SkillIndex) -> dict[str, float]:
    """Return how long an index takes to be written and read with all checks, and its size."""
    embedder = _Named()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = seconds(lambda: save_index(folder, index, embedder))
        read = seconds(lambda: load_index(folder, embedder, "", index.ids))
        size = sum(file.stat().st_size for file in folder.iterdir())
    return {"write_ms": 1e3 * written, "read_ms": 1e3 * read, "megabytes": size / 1e6}


class _Named(TfidfEmbedder):
    """An embedder for the card of vectors that no text belongs to."""

    def __init__(self) -> None:
        super().__init__(vectorizer=None, fingerprint="random vectors", name="random")

    @property
    def dimension(self) -> int:
        """Length of the random vectors."""
        return DIMENSION


def measure_approximate(size: int) -> list[dict[str, Any]]:
    """Return recall, time per query and time to build of IVF and HNSW at several settings."""
    rows = []
    for data, make in (("random", random_bank), ("subjects", subject_bank)):
        bank, queries = make(size, 0), make(100, 1)
        flat = faiss.IndexFlatIP(DIMENSION)
        flat.add(bank)
        ivf_build, ours = timed(lambda bank=bank: ivf_index(bank))
        ivf = faiss.downcast_index(ours.faiss.index)  # lives as long as `ours`
        hnsw_build, hnsw = timed(lambda bank=bank: hnsw_index(bank))
        settings = [("ivf", share) for share in (0.05, 0.1, 0.25, 0.5)] + [
            ("hnsw", breadth) for breadth in (64, 256, 1024)
        ]
        for name, setting in settings:
            if name == "ivf":
                index, build = ivf, ivf_build
                index.nprobe = max(1, round(setting * index.nlist))
            else:
                index, build = hnsw, hnsw_build
                index.hnsw.efSearch = int(setting)
            rows.append({"data": data, "index": name, "setting": setting, "build_s": build})
            rows[-1] |= against(flat, index, queries)
            print(rows[-1], flush=True)
    return rows


def ivf_index(bank: Vectors) -> SkillIndex:
    """Return cells as our index makes them, at any size."""
    return SkillIndex.build(bank, [f"{number:08d}" for number in range(len(bank))], 1)


def hnsw_index(bank: Vectors) -> Any:
    """Return a graph of 16 links, built with a breadth of 40: little, since it is slow to build."""
    index = faiss.IndexHNSWFlat(DIMENSION, 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 40
    with one_thread():
        index.add(bank)
    return index


def against(flat: Any, index: Any, queries: Vectors) -> dict[str, float]:
    """Return recall@10 and the time of a query against those of a flat index."""
    searches: dict[str, Search] = {
        "flat": lambda q: flat.search(q[None], K),
        "this": lambda q: index.search(q[None], K),
    }
    found = [[set(one.search(q[None], K)[1][0]) for q in queries] for one in (flat, index)]
    times = take_turns(searches, queries[:20])
    return {
        "recall": recall(*found),
        "query_ms": 1e3 * times["this"],
        "to_flat": times["this"] / times["flat"],
    }


def measure_embedders() -> dict[str, Any]:
    """Return recall@1, recall@4 and nDCG@4 on the default panel, without a threshold, by embedder."""
    base = RunConfig()
    panel = tasks(base.env.house, base.env.panel_split)[: base.evaluation.panel_size]
    bank, found = builtin_skills("household"), {}
    for name in ("tfidf", "minilm", "policy"):
        settings = base.skills.model_copy(update={"embedder": name, "threshold": -1.0})
        config = base.model_copy(update={"skills": settings})
        try:
            similarity = configured_similarity(config, bank)
        except EnvironmentMissingError as error:
            found[name] = {"not_measured": str(error)}
            continue
        retriever = Retriever.from_bank(bank, settings, similarity=similarity)
        began = time.perf_counter()
        names = [[hit.skill.name for hit in retriever.retrieve(t.goal, t.type, 0)] for t in panel]
        spent = time.perf_counter() - began
        needed = [{SKILL_OF[fact] for fact in skill_names_needed(task)} for task in panel]
        measured = mean([ranking_figures(*pair) for pair in zip(names, needed, strict=True)])
        found[name] = {**measured, "goals_per_second": len(panel) / spent}
        print(name, found[name], flush=True)
    return found


def numpy_best(bank: Vectors, query: Vectors) -> NDArray[np.int64]:
    """Return the positions of the best, by falling score."""
    scores = bank @ query
    best = np.argpartition(scores, -K)[-K:]
    return best[np.argsort(-scores[best])]


def same(index: SkillIndex, bank: Vectors, query: Vectors) -> bool:
    """Say whether our index finds what numpy finds."""
    return {hit.position for hit in index.search(query, K)} == set(numpy_best(bank, query).tolist())


def recall(exact: Sequence[set[int]], found: Sequence[set[int]]) -> float:
    """Return the share of the truly best that was found."""
    return sum(len(right & got) for right, got in zip(exact, found, strict=True)) / (K * len(exact))


def take_turns(searches: dict[str, Search], queries: Vectors, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median time of a query in seconds, by search; each query is put to all of them in turn."""
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(rounds):
        for query in queries:
            for name, search in searches.items():
                with one_thread():
                    taken[name].append(seconds(lambda search=search, query=query: search(query)))
    return {name: statistics.median(values) for name, values in taken.items()}


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call took, and its result."""
    began = time.perf_counter()
    result = function()
    return time.perf_counter() - began, result


def seconds(function: Callable[[], Any]) -> float:
    """Return how long a call took."""
    return timed(function)[0]


if __name__ == "__main__":
    main()
