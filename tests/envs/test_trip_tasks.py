"""Companies, splits, skills and demonstrations: what is drawn, what is hidden, and what is told."""

from __future__ import annotations

import copy
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sdar.skills
from sdar.envs.conformance import check_environment
from sdar.envs.trip import demonstrations
from sdar.envs.trip.calls import TOOLS, Call, read_call
from sdar.envs.trip.casebook import hotel_choices
from sdar.envs.trip.company import DEFAULT_COMPANY, TRAINING_COMPANIES, Company, company
from sdar.envs.trip.demonstrations import LUCK, demonstrate
from sdar.envs.trip.environment import Trip
from sdar.envs.trip.expert import Expert
from sdar.envs.trip.game import Game, new_game, shortcomings, step
from sdar.envs.trip.goals import facts_needed, make_task, split_goals, tasks
from sdar.envs.trip.handbook import GENERAL, fact_sentence, facts, general_skills, handbook
from sdar.envs.trip.kind import KIND
from sdar.envs.trip.vocabulary import CITIES, DISTRICTS, FAMILIES, NAMES, TRAVELLERS
from sdar.schemas.config import EnvironmentConfig, SkillsConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec
from sdar.skills.files import builtin_skills
from sdar.skills.retrieval import Retriever

CONFIG = EnvironmentConfig(name="trip", max_steps=16)
numbers = st.integers(0, 20_000)


def test_the_conformance_suite_finds_no_fault() -> None:
    assert check_environment(KIND.load(), CONFIG) == []


@settings(max_examples=60)
@given(numbers)
def test_a_company_follows_from_its_number(number: int) -> None:
    home = company(number)
    assert home == company.__wrapped__(number)
    assert set(home.offices) == set(CITIES)
    assert len({office.house for office in home.offices.values()}) == len(CITIES)
    assert {partner.city for partner in home.partners.values()} == set(CITIES)
    assert set(home.travellers) == set(TRAVELLERS)
    for city in CITIES:
        assert home.offices[city].district != home.partners[home.partner_in(city)].district


def test_companies_differ() -> None:
    assert len({str(company(number)) for number in range(50)}) == 50
    assert company(0) is DEFAULT_COMPANY


def test_each_name_stands_for_one_thing_and_is_kept_whole() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert not any(a != b and a in b for a in NAMES for b in NAMES)
    text = '{"tool":"book","name":"Astor"} Harbour near Kontor: vegan Basil, Marketing'
    assert re.findall(KIND.names, text) == ["Astor", "Harbour", "Kontor", "vegan", "Basil"]


def test_tasks_are_stable_balanced_and_split_by_goal() -> None:
    world = Trip.from_config(CONFIG)
    listed = {split: world.tasks(split) for split in world.splits()}
    assert {split: len(rows) for split, rows in listed.items()} == {"train": 960, "seen": 360, "unseen": 360}
    assert listed["unseen"] == tasks(0, "unseen")
    assert set(Counter(task.type for task in listed["unseen"][:24]).values()) == {4}
    in_words = {split: {task.goal for task in rows} for split, rows in listed.items()}
    assert not in_words["unseen"] & (in_words["train"] | in_words["seen"])
    for family in FAMILIES:
        assert len(split_goals(0, family, "train")) == 42
        assert len(split_goals(0, family, "unseen")) == 22
        assert split_goals(0, family, "seen") == split_goals(0, family, "train")


@pytest.mark.parametrize(("number", "split"), [(1137, "unseen"), (1292, "train")])
def test_a_goal_that_is_drawn_the_same_seed_twice_gives_two_tasks(number: int, split: str) -> None:
    listed = tasks(number, split)
    assert len({task.id for task in listed}) == len(listed) == {"unseen": 360, "train": 960}[split]


@pytest.mark.parametrize("number", [-1, TRAINING_COMPANIES.start, 1.5, True, "acme"])
def test_only_target_companies_can_be_configured(number: float | bool | str) -> None:
    with pytest.raises(ConfigError, match=r"env\.options\.company"):
        Trip.from_config(CONFIG.model_copy(update={"options": {"company": number}}))


def test_unknown_splits_are_refused() -> None:
    with pytest.raises(ConfigError, match="train, seen, unseen"):
        Trip.from_config(CONFIG).tasks("test")


def _play(game: Game, expert: Expert) -> bool:
    result = step(game, expert.next_action())
    while not result.done:
        result = step(game, expert.next_action())
    return result.success


def _new(task: TaskSpec) -> Game:
    return new_game(task, task.seed, 16)


def _expert(game: Game, knows: frozenset[str], believes: Company) -> Expert:
    return Expert(game, np.random.default_rng(game.task.seed), knows, believes)


def test_with_the_facts_every_task_takes_the_fewest_steps() -> None:
    steps: dict[str, set[int]] = {family: set() for family in FAMILIES}
    for task in tasks(0, "unseen"):
        game = _new(task)
        assert _play(game, _expert(game, frozenset(facts_needed(task)), game.company))
        steps[task.type].add(game.steps)
    assert steps == {
        "day": {3},
        "overnight": {5},
        "dinner": {7},
        "partner": {5},
        "three_days": {7},
        "changed": {6},
    }


def test_without_the_facts_it_takes_longer_and_the_limit_bites() -> None:
    won, steps = [], []
    for task in tasks(0, "unseen"):
        game = _new(task)
        won.append(_play(game, _expert(game, frozenset(), game.company)))
        steps.append(game.steps)
        # Whoever looks everything up books nothing wrong: only time can run out.
        assert won[-1] or game.steps == 16
    assert 0.6 < np.mean(won) < 0.85
    assert np.mean(steps) > 11


def test_with_the_facts_of_another_company_trips_fail_at_the_end() -> None:
    won = []
    for index, task in enumerate(tasks(0, "unseen")[:240]):
        game = _new(task)
        won.append(_play(game, _expert(game, frozenset(facts_needed(task)), company(100 + index))))
        assert won[-1] or shortcomings(game)
    assert np.mean(won) < 0.15


@settings(max_examples=100)
@given(numbers, numbers, st.sampled_from(FAMILIES), st.integers(0, 10_000))
def test_without_skills_the_expert_uses_no_hidden_fact(a: int, b: int, family: str, seed: int) -> None:
    """Two companies that have looked alike so far are planned alike, whatever their conventions are."""
    city, traveller = CITIES[seed % 8], TRAVELLERS[seed % 7]
    first, second = (
        new_game(make_task(number, family, city, traveller, "train", seed), seed, 40) for number in (a, b)
    )
    if first.task.goal != second.task.goal:
        return
    second.offers = copy.deepcopy(first.offers)
    one, other = (Expert(g, np.random.default_rng(seed), frozenset(), g.company) for g in (first, second))
    for _ in range(40):
        action = one.next_action()
        assert action == other.next_action()
        left, right = step(first, action), step(second, action)
        if left != right or left.done:
            break


class Watched(Expert):
    """The real expert, which notes what it wanted."""

    def __init__(
        self, game: Game, rng: np.random.Generator, knows: frozenset[str], believes: Company
    ) -> None:
        super().__init__(game, rng, knows, believes)
        self.wanted: list[str] = []

    def next_action(self) -> str:
        self.wanted.append(super().next_action())
        return self.wanted[-1]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    made: list[Watched] = []

    def make(game: Game, rng: np.random.Generator, knows: frozenset[str], believes: Company) -> Watched:
        expert = Watched(game, rng, knows, believes)
        # The second one of an episode is the guesser whose mistakes are the detours.
        if not made or made[-1].game is not game:
            made.append(expert)
        return expert

    monkeypatch.setattr(demonstrations, "Expert", make)
    return made


def test_demonstrations_play_in_training_companies_only(watched: list[Watched]) -> None:
    for index in range(60):
        demonstrate(index, 5, 16, 0.5)
    played = {expert.game.company.number for expert in watched}
    assert played <= set(TRAINING_COMPANIES)
    assert len(played) > 50


def test_detours_carry_no_loss_and_the_rest_is_the_experts_choice(watched: list[Watched]) -> None:
    turns = detours = 0
    for index in range(200):
        shown = demonstrate(index, 5, 16, 0.5).turns
        for turn, wanted in zip(shown, watched[-1].wanted, strict=True):
            assert turn.learn == (turn.action == wanted)
        turns += len(shown)
        detours += sum(not turn.learn for turn in shown)
    assert abs(detours / turns - 0.12) < 0.04


def test_demonstrations_mend_a_hotel_in_the_wrong_district(watched: list[Watched]) -> None:
    mended = 0
    for index in range(200):
        turns = demonstrate(index, 5, 16, 1.0).turns
        choices = hotel_choices(watched[-1].game.task, [turn.action for turn in turns], 16)
        mended += any(not choice.right and not choice.kept for choice in choices)
        assert not any(turns[choice.booked].learn for choice in choices if not choice.right)
    assert mended > 10


def _sentences(home: Company, fact: str) -> set[str]:
    """Every wording of a fact: at most 5, so 100 draws meet all of them."""
    rng = np.random.default_rng(0)
    return {fact_sentence(home, fact, rng) for _ in range(100)}


def test_the_block_agrees_with_the_company_and_the_expert_knows_what_it_tells(watched: list[Watched]) -> None:
    for index in range(40):
        shown = demonstrate(index, 5, 16, 1.0)
        lines, home = shown.block.split("\n"), watched[-1].game.company
        told = {fact for fact in facts(home) if _sentences(home, fact) & set(lines)}
        assert told == set(watched[-1].knows)
        general = {advice.sentence for advice in GENERAL}
        assert set(lines) <= general.union(*(_sentences(home, fact) for fact in facts(home)))


def test_without_a_block_the_expert_looks_up_or_is_lucky(watched: list[Watched]) -> None:
    shown = [demonstrate(index, 5, 16, 0.0) for index in range(100)]
    assert {example.block for example in shown} == {""}
    needed = [frozenset(facts_needed(expert.game.task)) for expert in watched]
    assert all(expert.knows in (frozenset(), wanted) for expert, wanted in zip(watched, needed, strict=True))
    assert abs(sum(expert.knows != frozenset() for expert in watched) - 100 * LUCK) <= 20


def test_demonstrations_depend_on_seed_and_index_only() -> None:
    world = Trip.from_config(CONFIG)
    assert world.demonstration(3, 5, 0.5) == demonstrate(3, 5, 16, 0.5)
    assert demonstrate(3, 5, 16, 0.5) != demonstrate(4, 5, 16, 0.5)
    assert demonstrate(3, 5, 16, 0.5) != demonstrate(3, 6, 16, 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_sentences_tell_the_conventions(seed: int) -> None:
    def told(fact: str) -> set[str]:
        sentence = fact_sentence(DEFAULT_COMPANY, fact, np.random.default_rng(seed))
        return {name for name in NAMES if re.search(rf"\b{name}\b", sentence)}

    assert told("Berlin") == {"Berlin", "Harbour"}
    assert told("Corvex") == {"Corvex", "Castle"}
    assert told("Ada") == {"Ada", "Norda", "Carlton", "vegan"}


def test_the_shipped_bank_is_the_handbook_of_the_default_company() -> None:
    home = Path(sdar.skills.__file__).parent / "trip"
    shipped = {folder.name: (folder / "SKILL.md").read_text() for folder in home.iterdir()}
    assert shipped == handbook(DEFAULT_COMPANY) | general_skills()
    assert len(shipped) == 30


def test_retrieval_finds_every_fact_that_a_task_needs() -> None:
    retriever = Retriever.from_bank(builtin_skills("trip"), SkillsConfig())
    for task in tasks(0, "unseen"):
        found = {hit.skill.name.split("-")[-1] for hit in retriever.retrieve(task.goal, task.type, 0)}
        assert {fact.lower() for fact in facts_needed(task)} <= found


def test_other_companies_come_with_their_own_skills() -> None:
    others = Trip.from_config(CONFIG).others()
    assert [each.settings for each in others] == [{"options": {"company": n}} for n in range(1, 9)]
    for number, each in enumerate(others, 1):
        district = company(number).offices["Oslo"].district
        assert district in each.skills["office-in-oslo"]
        assert set(each.skills) == set(others[0].skills)


def test_the_prompt_files_name_every_place_and_every_tool() -> None:
    prompts = Path(demonstrations.__file__).parent / "prompts"
    rules = (prompts / "system.md").read_text()
    assert all(name in rules for name in (*CITIES, *DISTRICTS, *TOOLS))
    actions = (prompts / "actions.md").read_text()
    example = actions.strip().split("Example of an action: ")[1]
    assert read_call(example) == Call("hotels.search", {"district": "Harbour"})
    assert all(f'"tool":"{tool}"' in actions for tool in TOOLS)
