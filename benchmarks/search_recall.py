"""How many of the passages that a question needs each retriever finds: `python benchmarks/search_recall.py`.

Reads corpus.jsonl and questions.jsonl of $SDAR_TEST_DATA/hotpotqa (or of `--data`), whose questions name the
titles of the passages that they need. For every retriever of `search_qa`: recall@2 and recall@5, the mean
share of a question's needed titles among the first passages for the question itself as the query; the time
to make the index; and the median time of a query. `remote` asks a server of this process, over the loopback
and in Search-R1's protocol, that searches by BM25: its recall is that of `bm25`, its time shows what the way
costs. Writes benchmarks/results/search_recall.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bm25s
import faiss
import sklearn
import transformers
from _report import RESULTS, machine, save

from sdar.envs.search_qa.corpus import open_search
from sdar.envs.search_qa.files import QUESTIONS, read_library
from sdar.envs.search_qa.options import Options
from sdar.envs.search_qa.records import Passage, Question, Search
from sdar.schemas.errors import EnvironmentMissingError

K = (2, 5)
RETRIEVERS = {
    "bm25": Options(),
    "dense tfidf": Options(retriever="dense", embedder="tfidf"),
    "dense minilm": Options(retriever="dense", embedder="minilm"),
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="Folder of the two files.")
    parser.add_argument("--out", type=Path, default=RESULTS / "search_recall.json")
    arguments = parser.parse_args()
    if arguments.data is None:
        sys.exit("no data: set SDAR_TEST_DATA to a folder with hotpotqa/ in it, or give --data FOLDER")
    result = measure(arguments.data)
    save(result, arguments.out)
    for name, figures in result["retrievers"].items():
        print(f"{name:<14}" + "".join(f"{key} {value:<10.4g}" for key, value in figures.items()))


def default_data() -> Path | None:
    """Return the folder of HotpotQA in the test data, if there is one."""
    root = os.environ.get("SDAR_TEST_DATA")
    return Path(root) / "hotpotqa" if root else None


def measure(data: Path) -> dict[str, Any]:
    """Return the figures of every retriever that is installed."""
    load_before = os.getloadavg()[0]
    corpus, questions = read_library(data, with_corpus=True)
    needed = gold_titles(data / QUESTIONS)
    retrievers = {}
    for name, options in RETRIEVERS.items():
        try:
            retrievers[name] = figures(
                lambda options=options: open_search(corpus, options), questions, needed
            )
        except EnvironmentMissingError as error:
            print(f"{name} is left out: {error}")
    with serving(open_search(corpus, Options())) as url:
        remote = Options(retriever="remote", url=url)
        retrievers["remote"] = figures(lambda: open_search((), remote), questions, needed)
    return {
        "machine": machine(load_before, bm25s, faiss, sklearn, transformers),
        "data": data.name,
        "questions": len(questions),
        "passages": len(corpus),
        "retrievers": retrievers,
    }


def gold_titles(path: Path) -> dict[str, set[str]]:
    """Return by question id the titles of the passages that hold the answer."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {row["id"]: set(row["gold_titles"]) for row in rows}


def figures(
    make: Callable[[], Search], questions: Sequence[Question], needed: dict[str, set[str]]
) -> dict[str, float]:
    """Return recall, seconds to make the index, and milliseconds of a median query."""
    started = time.perf_counter()
    search = make()
    built, times, recalls = time.perf_counter() - started, [], []
    for question in questions:
        started = time.perf_counter()
        hits = search(question.question, max(K))
        times.append(time.perf_counter() - started)
        titles = [hit.passage.title for hit in hits]
        gold = needed[question.id]
        recalls.append([len(gold & set(titles[:k])) / len(gold) for k in K])
    means = {f"recall@{k}": statistics.fmean(row[i] for row in recalls) for i, k in enumerate(K)}
    return {**means, "index_seconds": built, "query_milliseconds": 1000 * statistics.median(times)}


@contextmanager
def serving(search: Search) -> Iterator[str]:
    """Serve a search as Search-R1 does and yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = [[document(hit.passage, hit.score) for hit in search(query, asked["topk"])]
                     for query in asked["queries"]]  # fmt: skip
            body = json.dumps({"result": found}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/retrieve"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def document(passage: Passage, score: float) -> dict[str, Any]:
    """Return a hit in Search-R1's form."""
    return {"document": {"contents": f'"{passage.title}"\n{passage.text}'}, "score": score}


if __name__ == "__main__":
    main()
