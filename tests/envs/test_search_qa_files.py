"""Libraries from JSONL files: what is read, every fault with its line, and stable splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.conformance import check_environment
from sdar.envs.search_qa.corpus import split_tasks
from sdar.envs.search_qa.environment import SearchQa
from sdar.envs.search_qa.files import read_library
from sdar.envs.search_qa.options import Options
from sdar.envs.search_qa.records import Passage, Question
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import InputError

HOTPOTQA = Path(os.environ.get("SDAR_TEST_DATA", "")) / "hotpotqa"


def write(path: Path, rows: Sequence[dict[str, Any] | str]) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def library(folder: Path, questions: int = 12) -> Path:
    rivers = ["Aller", "Bruna", "Corve", "Dalwen"]
    write(
        folder / "corpus.jsonl",
        [
            {"id": str(i), "title": f"Town{i}", "text": f"Town{i} lies on the {rivers[i % 4]}."}
            for i in range(40)
        ],
    )
    write(
        folder / "questions.jsonl",
        [
            {"id": f"q{i}", "question": f"On which river lies Town{i}?", "answers": [rivers[i % 4]],
             "dataset": "rivers", "gold_titles": ["not read"]}
            for i in range(questions)
        ],
    )  # fmt: skip
    return folder


def config(folder: Path, **options: str | int | float | bool) -> EnvironmentConfig:
    return EnvironmentConfig(name="search_qa", data=str(folder), max_steps=4, options=options)


def test_files_are_read_as_they_are(tmp_path: Path) -> None:
    write(
        tmp_path / "corpus.jsonl",
        [
            "\ufeff" + '{"id": "1", "title": " São ", "text": "x"}',
            "",
            '{"id":"2","title":"b","text":"y","more":1}',
        ],
    )
    write(
        tmp_path / "questions.jsonl", [{"id": "q", "question": "who?", "answers": ["a", "b"], "dataset": "d"}]
    )
    passages, questions = read_library(tmp_path, with_corpus=True)
    assert passages == (Passage("1", "São", "x"), Passage("2", "b", "y"))
    assert questions == (Question("q", "who?", ("a", "b"), "d"),)


def test_every_fault_is_named_with_file_and_line(tmp_path: Path) -> None:
    write(
        tmp_path / "corpus.jsonl",
        ['{"id": "1", "title": "a", "text": "x"}', "{oops", "[1]", '{"id": 2, "title": " ", "text": "x"}',
         '{"id": "1", "title": "c", "text": "x"}'],
    )  # fmt: skip
    write(
        tmp_path / "questions.jsonl",
        [{"id": "q", "question": "", "dataset": "d", "answers": ["a"]},
         {"id": "r", "question": "who?", "dataset": "d", "answers": []},
         {"id": "s", "question": "who?", "dataset": "d", "answers": ["a", " "]},
         {"id": "t", "question": "who?", "dataset": "d", "answers": "a"}],
    )  # fmt: skip
    with (tmp_path / "questions.jsonl").open("ab") as stream:
        stream.write(b"\xff\n")
    with pytest.raises(InputError) as caught:
        read_library(tmp_path, with_corpus=True)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("9 fault(s)")
    places = [line.removeprefix(f"{tmp_path}{os.sep}").split(": ", 1) for line in lines[1:10]]
    assert [place for place, _ in places] == [
        "corpus.jsonl:2", "corpus.jsonl:3", "corpus.jsonl:4", "corpus.jsonl:5", "questions.jsonl:1",
        "questions.jsonl:2", "questions.jsonl:3", "questions.jsonl:4", "questions.jsonl:5",
    ]  # fmt: skip
    faults = [fault for _, fault in places]
    assert faults[0].startswith("no JSON in UTF-8: ")
    assert faults[1:5] == [
        "a list instead of an object",
        "id, title must be text that is not blank",
        "id '1' is also that of line 1",
        "question must be text that is not blank",
    ]
    assert set(faults[5:8]) == {"answers must be a list of one or more texts that are not blank"}
    assert "leave env.data empty" in lines[10]


def test_missing_empty_and_hopeless_files(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"2 fault.*\n.*there is nothing in it\n.*questions.jsonl: No such file"
    ):
        read_library(tmp_path, with_corpus=True)
    write(tmp_path / "corpus.jsonl", ["x"] * 30)
    with pytest.raises(InputError, match=r"31 fault.*(\n.*)*\nand 11 more"):
        read_library(tmp_path, with_corpus=True)
    write(tmp_path / "questions.jsonl", [{"id": "q", "question": "who?", "answers": ["a"], "dataset": "d"}])
    assert read_library(tmp_path, with_corpus=False)[0] == ()


def test_a_library_of_files_keeps_every_rule(tmp_path: Path) -> None:
    world = config(library(tmp_path))
    assert check_environment(SearchQa.from_config, world, episodes=12) == []
    task = SearchQa.from_config(world).tasks("train")[0]
    played = SearchQa.from_config(world)
    played.reset(task, task.seed)
    number = task.id.removeprefix("search_qa/q")
    shown = played.step(f"<search>{task.goal}</search>").observation
    assert shown.startswith(f"<information>Doc 1(Title: Town{number}) Town{number} lies on the ")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    world = config(library(tmp_path))
    before = SearchQa.from_config(world)
    assert SearchQa.from_config(world).corpus is before.corpus
    library(tmp_path, questions=13)
    after = SearchQa.from_config(world)
    assert sum(len(after.tasks(split)) for split in after.splits()) == 13


def test_a_library_with_too_few_questions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 question.* leave the split .* without any"):
        SearchQa.from_config(config(library(tmp_path, questions=1)))


def asked(ids: Sequence[str]) -> list[Question]:
    return [Question(name, f"{name}?", ("x",), "d") for name in ids]


def test_the_split_of_a_question_is_stable() -> None:
    # Fixed for good: runs of different versions must agree on what was trained on.
    names = "abcdefgh"
    split = split_tasks(asked(names), Options())
    assert {name: {task.id[-1] for task in tasks} for name, tasks in split.items()} == {
        "train": set("abcefg"),
        "unseen": set("dh"),
    }
    digests = [
        hashlib.sha256(f"0\x1fstr:search_qa\x1fstr:split\x1fstr:{name}".encode()).digest() for name in names
    ]
    low = {name for name, digest in zip(names, digests, strict=True) if digest[0] < 0.35 * 256 - 1}
    high = {name for name, digest in zip(names, digests, strict=True) if digest[0] > 0.35 * 256 + 1}
    assert (low, high) == (set("dh"), set("abcefg"))


@settings(max_examples=30)
@given(st.sets(st.text("abcdef", min_size=1, max_size=5), min_size=2, max_size=30), st.integers(0, 99))
def test_a_split_depends_on_nothing_but_seed_and_id(ids: set[str], seed: int) -> None:
    options = Options(split_seed=seed)
    everything = split_tasks(asked(sorted(ids)), options)
    half = split_tasks(asked(sorted(ids, reverse=True)[: len(ids) // 2]), options)
    for split, tasks in half.items():
        assert [task.id for task in tasks] == [task.id for task in everything[split] if task in tasks]


def test_shares_seeds_and_equal_questions() -> None:
    questions = asked([str(i) for i in range(1000)])
    first, second = (split_tasks(questions, Options(split_seed=seed)) for seed in (0, 1))
    # Standard deviation of the count: sqrt(1000 * 0.35 * 0.65) = 15.
    assert abs(len(first["unseen"]) - 350) < 60
    assert {task.id for task in first["unseen"]} != {task.id for task in second["unseen"]}
    same = [Question(str(i), "the same?", ("x",), "d") for i in range(20)]
    assert sorted(map(len, split_tasks(same, Options()).values())) == [0, 20]


@pytest.mark.skipif(not HOTPOTQA.is_dir(), reason="no HotpotQA: SDAR_TEST_DATA does not name its folder")
def test_hotpotqa_keeps_every_rule() -> None:
    world = SearchQa.from_config(config(HOTPOTQA, top_k=3))
    assert sum(len(world.tasks(split)) for split in world.splits()) == 100
    assert check_environment(SearchQa.from_config, config(HOTPOTQA, top_k=3), episodes=6) == []
