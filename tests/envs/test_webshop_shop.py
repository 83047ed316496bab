"""Generated shops: conventions, catalogue, tasks, demonstrations and the bank."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.conformance import check_environment
from sdar.envs.webshop import demonstrations
from sdar.envs.webshop.demonstrations import demonstrate
from sdar.envs.webshop.environment import WebShop
from sdar.envs.webshop.expert import Shopper, facts_needed
from sdar.envs.webshop.files import catalogue_from
from sdar.envs.webshop.goals import goal_of, phrase
from sdar.envs.webshop.handbook import fact_sentence, facts, general_skills, handbook
from sdar.envs.webshop.pages import compact_page
from sdar.envs.webshop.products import ANY_PRICE, Goal
from sdar.envs.webshop.session import BUY, Session, act
from sdar.envs.webshop.shop import TRAINING_SHOPS, Shop, catalogue_of, shop, slot_with
from sdar.envs.webshop.vocabulary import ATTRIBUTES, FAMILIES, GROUPS, LABELS, MARKS, SIZES
from sdar.schemas.config import EnvironmentConfig, SkillsConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.seeds import generator
from sdar.skills.files import load_skills
from sdar.skills.retrieval import Retriever

CONFIG = EnvironmentConfig(name="webshop", max_steps=15)
BANK = Path(__file__).parent.parent.parent / "skills" / "webshop"
shops = st.integers(0, 19_999)


def test_the_shop_keeps_the_rules_of_every_environment() -> None:
    assert check_environment(WebShop.from_config, CONFIG) == []


@settings(max_examples=40)
@given(shops)
def test_a_shop_follows_from_its_number(number: int) -> None:
    own = shop(number)
    assert list(own.marks) == list(ATTRIBUTES)
    assert set(own.marks.values()) <= set(MARKS)
    assert sorted(own.mark_order) == sorted(ATTRIBUTES)
    labels = [label for group in GROUPS for label in own.labels[group]]
    assert len(set(labels)) == len(labels) == 18
    assert set(labels) <= set(LABELS)
    shop.cache_clear()
    assert shop(number) == own


def test_shops_differ() -> None:
    assert len({tuple(shop(number).marks.values()) for number in range(50)}) == 50


def test_the_catalogue_has_each_kind_with_each_attribute_and_each_two() -> None:
    catalogue = catalogue_of(0)
    products = [catalogue.product(asin) for asin in catalogue.asins]
    assert len(products) == len(set(catalogue.asins)) == 24 * (9 + 36)
    assert all(len(product.asin) <= 10 for product in products)
    rugs = [product.attributes for product in products if product.query == "rug"]
    assert len({frozenset(attributes) for attributes in rugs}) == 45
    for product in products:
        assert product.title.split() == [*(shop(0).marks[name] for name in product.attributes), product.query]


@pytest.mark.parametrize("number", [0, 7, 12_345])
def test_the_shared_index_finds_what_an_index_over_the_printed_texts_finds(number: int) -> None:
    catalogue, own = catalogue_of(number), shop(number)
    printed = catalogue_from([catalogue.product(asin) for asin in catalogue.asins])
    mark, other = own.marks["non slip"], own.marks["easy clean"]
    strange = next(word for word in MARKS if word not in own.marks.values())
    label = own.labels["textiles"][1]
    for query in (
        "rug",
        mark,
        f"{mark} rug",
        f"{mark} {other} rugs",
        f"{strange} rug",
        label,
        f"{label} blue",
    ):
        assert catalogue.find(query.lower()) == printed.find(query.lower())
    assert catalogue.find(strange.lower()) == ()
    assert len(catalogue.find("rug")) == 45
    assert catalogue.find("non slip") == catalogue.find("teapot") == ()


def test_tasks_are_stable_balanced_and_disjoint() -> None:
    world = WebShop.from_config(CONFIG)
    listed = {split: world.tasks(split) for split in world.splits()}
    assert {split: len(tasks) for split, tasks in listed.items()} == {"train": 576, "unseen": 288}
    assert Counter(task.type for task in listed["unseen"]) == dict.fromkeys(FAMILIES, 72)
    wishes = {
        split: {(task.payload["asin"], *task.payload["options"], task.type) for task in tasks}
        for split, tasks in listed.items()
    }
    assert len(wishes["train"]) == 576
    assert not wishes["train"] & wishes["unseen"]


def test_goals_in_words() -> None:
    assert phrase("rug", ("easy clean",), "", 0) == "i need an easy clean rug"
    assert phrase("rug", ("non slip",), "large", 1) == "i am looking for a non slip rug in size large"
    assert phrase("coat", ("non slip",), "blue", 2) == "find me a non slip coat in blue"
    assert phrase("coat", ("easy clean", "non slip"), "", 3) == "i need an easy clean and non slip coat"


def test_the_label_of_a_size_is_the_wanted_option() -> None:
    own = shop(0)
    for task in WebShop.from_config(CONFIG).tasks("unseen")[:80]:
        if task.type == "sized":
            size = next(size for size in SIZES if f"in size {size}" in task.goal)
            group = catalogue_of(0).product(task.payload["asin"]).category
            assert task.payload["options"] == [own.labels[group][SIZES.index(size)]]


def test_every_task_is_solved_by_the_buyer_in_a_few_steps() -> None:
    world = WebShop.from_config(CONFIG)
    for task in world.tasks("unseen"):
        world.reset(task, task.seed)
        expert, results = world.expert(), []
        while not results or not results[-1].done:
            results.append(world.step(expert.next_action()))
        assert results[-1].success
        assert sum(result.reward for result in results) == 1.0
        assert len(results) == 4 if task.type in ("coloured", "sized") else 3


def test_another_kind_of_product_is_no_success_whatever_its_attributes() -> None:
    world = WebShop.from_config(CONFIG)
    catalogue = catalogue_of(0)
    products = [catalogue.product(asin) for asin in catalogue.asins]
    tried = 0
    for task in world.tasks("unseen")[::4]:  # types in turn: all of them plain
        goal, wanted = goal_of(task), catalogue.product(task.payload["asin"])
        other = next(
            product
            for product in products
            if product.query != wanted.query
            and set(goal.attributes) <= set(product.attributes)
            and product.price <= goal.price_upper
        )
        world.reset(task, task.seed)
        world.step(f"search[{other.title}]")
        world.step(f"click[{other.asin.lower()}]")
        bought = world.step(f"click[{BUY}]")
        assert (bought.done, bought.success, bought.reward) == (True, False, 0.5), (task.goal, other.title)
        tried += 1
    assert tried == 72


def share(knows: bool) -> float:
    """Return the success on the panel of a shopper who knows all facts, or none."""
    wins = []
    tasks = WebShop.from_config(CONFIG).tasks("unseen")
    for task in tasks:
        state = Session(catalogue_of(0), goal_of(task), 5)
        known = frozenset(facts_needed(state)) if knows else frozenset()
        shopper = Shopper(state, shop(0), np.random.default_rng(task.seed), known)
        for _ in range(CONFIG.max_steps):
            act(state, shopper.next_action())
            if state.reward is not None:
                break
        wins.append(state.reward is not None and state.reward.total == 1.0)
    return float(np.mean(wins))


def test_knowing_the_conventions_is_what_helps() -> None:
    assert share(knows=True) == 1.0
    assert 0.3 < share(knows=False) < 0.6


@settings(max_examples=25)
@given(st.integers(0, 9_999), st.integers(0, 10_000), st.permutations(list(ATTRIBUTES)))
def test_without_facts_the_shopper_uses_no_hidden_one(number: int, seed: int, names: list[str]) -> None:
    """Who looks for one attribute does the same as who looks for another until one of them is seen."""
    states, shoppers = [], []
    for name in names[:2]:
        asin = slot_with(shop(number), "rug", (name,)).asin
        goal = Goal(asin, "i need a rug", "plain", (name,), (), ANY_PRICE)
        states.append(Session(catalogue_of(number), goal, 5))
        rng = np.random.default_rng(seed)
        shoppers.append(Shopper(states[-1], shop(number), rng, frozenset()))
    for step in range(15):
        actions = [shopper.next_action() for shopper in shoppers]
        assert actions[0] == actions[1]
        for state, action in zip(states, actions, strict=True):
            act(state, action)
        if states[0].page == "tab" and set(states[0].item.attributes) & set(names[:2]):
            assert step >= 2
            break


def test_a_size_label_is_read_before_it_is_chosen() -> None:
    world = WebShop.from_config(CONFIG)
    task = next(task for task in world.tasks("unseen") if task.type == "sized")
    state = Session(catalogue_of(0), goal_of(task), 5)
    known = frozenset(facts_needed(state)[:-1])
    shopper, taken = Shopper(state, shop(0), np.random.default_rng(0), known), []
    while state.reward is None:
        taken.append(shopper.next_action())
        act(state, taken[-1])
    label = task.payload["options"][0]
    assert taken[2:] == ["click[description]", "click[< prev]", f"click[{label}]", "click[buy now]"]
    assert state.reward.total == 1.0


class Watched(Shopper):
    """The real shopper, which notes what it wanted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.wanted: list[str] = []

    def next_action(self) -> str:
        self.wanted.append(super().next_action())
        return self.wanted[-1]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    made: list[Watched] = []

    def make(
        session: Session, own: Shop, rng: np.random.Generator, knows: frozenset[str], lucky: bool
    ) -> Watched:
        made.append(Watched(session, own, rng, knows, lucky))
        return made[-1]

    monkeypatch.setattr(demonstrations, "Shopper", make)
    return made


def test_demonstrations_play_in_training_shops_only(watched: list[Watched]) -> None:
    shown = [demonstrate(index, 5, 15, 0.5, "compact") for index in range(60)]
    assert {shopper.own.number for shopper in watched} <= set(TRAINING_SHOPS)
    assert len({shopper.own.number for shopper in watched}) > 50
    assert 20 <= sum(bool(each.block) for each in shown) <= 40
    assert shown[3] == demonstrate(3, 5, 15, 0.5, "compact")
    assert shown[3] != demonstrate(3, 6, 15, 0.5, "compact")


def test_detours_carry_no_loss_and_never_buy(watched: list[Watched]) -> None:
    turns = detours = 0
    for index in range(120):
        shown = demonstrate(index, 5, 15, 0.5, "compact").turns
        for turn, wanted in zip(shown, watched[-1].wanted, strict=True):
            assert turn.action == wanted or not turn.learn
            assert turn.learn or turn.action != f"click[{BUY}]"
        turns += len(shown)
        detours += sum(not turn.learn for turn in shown)
    assert abs(detours / turns - demonstrations.DETOUR) < 0.05


def test_most_demonstrations_end_in_the_right_purchase(watched: list[Watched]) -> None:
    for skills, low, high in ((1.0, 0.9, 1.0), (0.0, 0.3, 0.65)):
        watched.clear()
        for index in range(100):
            demonstrate(index, 9, 15, skills, "compact")
        rewards = [shopper.session.reward for shopper in watched]
        assert low <= np.mean([reward is not None and reward.total == 1.0 for reward in rewards]) <= high


def test_the_block_tells_what_the_shopper_knows(watched: list[Watched]) -> None:
    for index in range(5):
        lines = set(demonstrate(index, 5, 15, 1.0, "compact").block.split("\n"))
        own = watched[-1].own
        assert {fact for fact in facts() if _sentences(fact, own.number) & lines} == set(watched[-1].knows)


def _sentences(fact: str, number: int) -> set[str]:
    """Every wording of a fact: at most 96, so 900 draws meet all of them."""
    rng = generator(0, "sentences")
    return {fact_sentence(shop(number), fact, rng) for _ in range(900)}


def test_sentences_tell_the_conventions() -> None:
    own = shop(3)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        assert all(
            word in fact_sentence(own, "non slip", rng) for word in ("non slip", own.marks["non slip"])
        )
        sizes = fact_sentence(own, "textiles", rng)
        assert all(word in sizes for word in (*GROUPS["textiles"], *SIZES, *own.labels["textiles"]))


def test_the_bank_is_the_handbook_of_the_default_shop() -> None:
    texts = {**handbook(shop(0)), **general_skills()}
    assert {path.parent.name: path.read_text() for path in BANK.glob("*/SKILL.md")} == texts
    assert len(load_skills(BANK)) == len(texts) == 23


def test_retrieval_finds_the_skills_that_a_task_needs() -> None:
    world = WebShop.from_config(CONFIG)
    retriever = Retriever.from_bank(load_skills(BANK), SkillsConfig())
    names = dict(zip(facts(), handbook(shop(0)), strict=True))
    for task in world.tasks("unseen"):
        world.reset(task, task.seed)
        assert world.session is not None
        needed = {names[fact] for fact in facts_needed(world.session)}
        assert needed <= {hit.skill.name for hit in retriever.retrieve(task.goal, task.type, 0)}


def test_other_shops_come_with_their_handbooks() -> None:
    others = WebShop.from_config(CONFIG).others()
    assert len(others) == 8
    first = WebShop.from_config(CONFIG.model_copy(update=dict(others[0].settings)))
    assert first.number == 1
    assert shop(1).marks["non slip"] in others[0].skills["mark-of-non-slip"]


def test_the_environment_answers_and_refuses() -> None:
    world = WebShop.from_config(CONFIG)
    with pytest.raises(RuntimeError, match=r"call reset\(task, seed\)"):
        world.step("search[rug]")
    task = world.tasks("train")[0]
    first = world.reset(task, 0)
    assert world.actions() is None
    assert world.step("click[buy now]").valid is False
    found = world.step("search[rug]")
    assert (found.valid, found.reward, found.done) == (True, 0.0, False)
    assert "click[next >]" in (world.actions() or ())
    world.step(found.observation.split("\n")[1].split()[0].join(["click[", "]"]))
    ended = world.step("click[buy now]")
    assert ended.done
    assert 0.0 <= ended.reward < 1.0
    with pytest.raises(RuntimeError, match=r"done; call reset\(task, seed\)"):
        world.step("search[rug]")
    assert world.reset(task, 1) == first
    with pytest.raises(InputError, match="another catalogue"):
        WebShop.from_config(CONFIG.model_copy(update={"options": {"shop": 2}})).reset(task, 0)
    with pytest.raises(ConfigError, match="'test'; allowed are: train, unseen"):
        world.tasks("test")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shop": -1}, "whole number from 0 to 9999"),
        ({"shop": 10_000}, "whole number from 0 to 9999"),
        ({"shop": "one"}, "whole number"),
        ({"goals": "mine"}, "allowed: generated, human"),
        ({"page": "rich"}, "allowed: auto, full, compact"),
        ({"goals": "human"}, r"env\.data=its path"),
    ],
)
def test_wrong_options_are_refused_with_what_is_allowed(options: dict[str, str | int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WebShop.from_config(CONFIG.model_copy(update={"options": options}))


def test_the_page_style_is_an_option() -> None:
    world = WebShop.from_config(CONFIG.model_copy(update={"options": {"page": "full"}}))
    task = world.tasks("train")[0]
    assert world.reset(task, 0) == f"WebShop [SEP] Instruction: [SEP] {task.goal} [SEP] Search"
    assert world.step("xyzzy").observation == f"WebShop [SEP] Instruction: [SEP] {task.goal} [SEP] Search"
    world.step("search[rug]")
    assert world.session is not None
    assert len(world.session.shown) == 10
    assert compact_page(world.session).startswith("Page 1:\nrug")
