"""Generated worlds: what is hidden, what is told, what finds which passage, and what is demonstrated."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.search_qa import demonstrations
from sdar.envs.search_qa.bm25 import bm25_search, words
from sdar.envs.search_qa.corpus import question_task
from sdar.envs.search_qa.demonstrations import DETOUR, LUCK, demonstrate
from sdar.envs.search_qa.environment import SearchQa
from sdar.envs.search_qa.episode import Episode
from sdar.envs.search_qa.expert import Expert
from sdar.envs.search_qa.handbook import GENERAL, fact_sentence, handbook, skill_name
from sdar.envs.search_qa.names import BOOKS, NAMES
from sdar.envs.search_qa.questions import PER_DATASET, questions, random_question
from sdar.envs.search_qa.records import Search
from sdar.envs.search_qa.world import (
    POOLS,
    RELATIONS,
    SUBJECTS,
    TRAINING_WORLDS,
    YEAR_RELATIONS,
    World,
    card_id,
    passages,
    world,
)
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.skills.files import builtin_skills
from sdar.skills.retrieval import Retriever

CONFIG = EnvironmentConfig(name="search_qa", max_steps=4)
worlds = st.one_of(st.integers(0, 9_999), st.integers(TRAINING_WORLDS.start, TRAINING_WORLDS.stop - 1))


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
    parts = [part for name in NAMES for part in name.split()]
    assert len(set(parts)) == len(parts)
    assert all(words(name) == name.lower().split() for name in NAMES)
    assert len(BOOKS) == len(RELATIONS)


@settings(max_examples=20)
@given(worlds)
def test_a_world_follows_from_its_number(number: int) -> None:
    home = world(number)
    world.cache_clear()
    assert world(number) == home
    assert sorted(home.books.values()) == sorted(BOOKS)
    for (relation, subject), value in home.facts.items():
        assert subject in home.members[RELATIONS[relation].subject]
        assert value != subject
        assert value in (home.members.get(RELATIONS[relation].value) or POOLS[RELATIONS[relation].value])


def test_worlds_differ_in_their_conventions() -> None:
    assert len({tuple(world(number).books.items()) for number in [*range(30), *TRAINING_WORLDS[:30]]}) == 60


@pytest.mark.parametrize("number", [0, 3, TRAINING_WORLDS.start])
def test_a_query_finds_the_card_only_with_the_right_book(number: int) -> None:
    home = world(number)
    cards, search = passages(home), search_of(number)
    titles = {card.id for card in cards}
    assert len(titles) == len(cards)
    assert max(len(f"{card.title} {card.text}".split()) for card in cards) <= 25
    for kind in SUBJECTS:
        for subject in home.members[kind]:
            alone = {hit.passage.id for hit in search(subject, 2)}
            assert alone == {card_id("index", subject), card_id("gallery", subject)}
            for relation, book in home.books.items():
                first = search(f"{book} {subject}", 2)[0].passage.id
                if RELATIONS[relation].subject == kind:
                    assert first == card_id(book, subject)
                # The words of the question find no fact either.
                shown = {hit.passage.id for hit in search(f"{relation} of {subject}", 2)}
                assert card_id(book, subject) not in shown


def test_the_default_library_is_large_enough() -> None:
    assert len(passages(world(0))) == 432
    counts = Counter(question.dataset for question in questions(world(0)))
    assert counts == {"attribute": 288, "bridge": PER_DATASET, "comparison": PER_DATASET}
    listed = SearchQa.from_config(CONFIG)
    assert {split: len(listed.tasks(split)) >= 256 for split in listed.splits()} == {
        "train": True,
        "unseen": True,
    }
    shares = Counter(task.type for task in listed.tasks("unseen")[:256])
    assert min(shares.values()) > 60


@settings(max_examples=20)
@given(worlds, st.integers(0, 2**31))
def test_questions_are_answered_by_their_facts(number: int, seed: int) -> None:
    home = world(number)
    asked = random_question(home, np.random.default_rng(seed))
    values, subject = [], ""
    for relation, name in asked.lookups:
        subject = home.facts[relation, name or subject]
        values.append(subject)
    if asked.dataset == "comparison":
        earlier = asked.lookups[int(values[1] < values[0])][1]
        assert asked.answers == (earlier,)
        assert values[0] != values[1]
    else:
        assert asked.answers == (values[-1],)
        assert values[-1] != asked.lookups[0][1]
    for part in (part for lookup in asked.lookups for part in lookup if part):
        assert part in asked.question


def test_questions_in_words() -> None:
    found = {question.id: question.question for question in questions(world(0))}
    subject = world(0).members["town"][0]
    attribute = found[f"0/attribute/market month/{subject}"]
    assert attribute.lower().endswith((f"the market month of {subject}?".lower(), f"of {subject}.".lower()))
    bridge = next(text for name, text in found.items() if "/bridge/birthplace/" in name and "/river" in name)
    assert "the river of the birthplace of " in bridge


@cache
def search_of(number: int) -> Search:
    return bm25_search(passages(world(number)))


def play(expert: Expert, actions: int) -> float:
    episode, search = expert.episode, search_of(expert.home.number)
    for _ in range(actions):
        result = demonstrations.step(episode, search, 2, expert.next_action())
        if result.done:
            return result.reward
    return 0.0


@settings(max_examples=30)
@given(worlds, st.integers(0, 2**31))
def test_who_knows_the_books_answers_in_four_actions(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = question_task(random_question(world(number), rng), "train", 0)
    expert = Expert(world(number), Episode(task), rng, frozenset(RELATIONS), 4)
    assert play(expert, 4) == 1.0
    assert expert.episode.steps == 1 + len(task.payload["lookups"]) or task.type == "comparison"


def test_who_does_not_know_the_books_mostly_fails() -> None:
    rng, home, won = np.random.default_rng(0), world(0), Counter[str]()
    asked = [task for task in SearchQa.from_config(CONFIG).tasks("unseen")][:200]
    for task in asked:
        won[task.type] += int(play(Expert(home, Episode(task), rng, frozenset(), 4), 4))
    assert 0.1 < won.total() / len(asked) < 0.4
    assert won["bridge"] < won["attribute"] < won["comparison"]


def test_without_knowledge_nothing_hidden_is_used() -> None:
    """Two libraries that differ only in their books are searched alike until a passage tells them apart."""
    home = world(5)
    order = list(home.books.values())
    other = World(
        home.number, home.members, home.facts, dict(zip(home.books, order[1:] + order[:1], strict=True))
    )
    searches = [bm25_search(passages(each)) for each in (home, other)]
    for task_number, question in enumerate(questions(home)[::40]):
        task = question_task(question, "train", 0)
        experts = [
            Expert(each, Episode(task), np.random.default_rng(task_number), frozenset(), 4)
            for each in (home, other)
        ]
        for _ in range(4):
            actions = [expert.next_action() for expert in experts]
            assert actions[0] == actions[1]
            results = [
                demonstrations.step(expert.episode, search, 2, action)
                for expert, search, action in zip(experts, searches, actions, strict=True)
            ]
            if results[0] != results[1] or results[0].done:
                break


@pytest.mark.parametrize("seed", range(8))
def test_sentences_tell_the_book(seed: int) -> None:
    for relation, book in world(0).books.items():
        sentence = fact_sentence(world(0), relation, np.random.default_rng(seed))
        assert book in sentence
        assert relation in sentence


def test_the_bank_is_the_handbook_of_the_default_world_and_the_general_rules() -> None:
    bank = {skill.name: skill for skill in builtin_skills("search_qa")}
    facts = handbook(world(0))
    assert {name: bank[name].body for name in facts} == {
        name: text.rpartition("---\n")[2].strip() for name, text in facts.items()
    }
    assert sorted(skill.body for name, skill in bank.items() if name not in facts) == sorted(GENERAL)
    years = {name for name in facts if "comparison" in bank[name].task_types}
    assert years == {skill_name(relation) for relation in YEAR_RELATIONS}


def test_every_goal_finds_the_skills_that_it_needs() -> None:
    retriever = Retriever.from_bank(builtin_skills("search_qa"), RunConfig().skills)
    for split in ("train", "unseen"):
        for task in SearchQa.from_config(CONFIG).tasks(split)[::3]:
            needed = {skill_name(relation) for relation, _ in task.payload["lookups"]}
            assert needed <= {hit.skill.name for hit in retriever.retrieve(task.goal, task.type, 1)}


class Watched(Expert):
    """The real expert, which notes what it wanted."""

    made: list[Watched]

    def next_action(self) -> str:
        action = super().next_action()
        self.wanted = [*getattr(self, "wanted", []), action]
        return action


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    made: list[Watched] = []

    def make(*arguments: object) -> Watched:
        made.append(Watched(*arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(demonstrations, "Expert", make)
    return made


def test_demonstrations_play_in_training_worlds_only(watched: list[Watched]) -> None:
    for index in range(60):
        demonstrate(index, 5, 4, 0.5)
    played = {expert.home.number for expert in watched}
    assert played <= set(TRAINING_WORLDS)
    assert len(played) > 50


def test_detours_carry_no_loss_and_the_rest_is_the_experts_choice(watched: list[Watched]) -> None:
    turns = detours = 0
    for index in range(150):
        shown = demonstrate(index, 5, 4, 0.5).turns
        for turn, wanted in zip(shown, watched[-1].wanted, strict=True):
            assert turn.action == wanted or not turn.learn
        turns += len(shown)
        detours += sum(not turn.learn for turn in shown)
    assert abs(detours / turns - DETOUR) < 0.04


def test_the_block_agrees_with_the_world_and_the_expert_knows_what_it_tells(watched: list[Watched]) -> None:
    for index in range(30):
        lines = demonstrate(index, 5, 4, 1.0).block.split("\n")
        home = watched[-1].home
        told = {
            relation
            for relation, book in home.books.items()
            if any(book in line and re.search(rf"\b{relation}\b", line) for line in lines)
        }
        assert told == set(watched[-1].knows)
        assert 1 <= len(lines) <= 5


def test_without_a_block_the_expert_guesses_or_is_lucky(watched: list[Watched]) -> None:
    shown = [demonstrate(index, 5, 4, 0.0) for index in range(100)]
    assert {example.block for example in shown} == {""}
    assert abs(sum(expert.knows != frozenset() for expert in watched) - 100 * LUCK) <= 20


def test_demonstrations_depend_on_seed_and_index_only() -> None:
    assert demonstrate(3, 5, 4, 0.5) == demonstrate(3, 5, 4, 0.5)
    assert demonstrate(3, 5, 4, 0.5) != demonstrate(4, 5, 4, 0.5)
    assert demonstrate(3, 5, 4, 0.5) != demonstrate(3, 6, 4, 0.5)
