"""WebShop's data files: a sample made by hand, a printed shop read back, and people's instructions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sdar.envs.conformance import check_environment
from sdar.envs.webshop.environment import WebShop
from sdar.envs.webshop.files import find_files, made_goals, read_products
from sdar.envs.webshop.goals import goal_of, split_list
from sdar.envs.webshop.instructions import goals_from_texts
from sdar.envs.webshop.printing import shop_files
from sdar.envs.webshop.products import Goal, limit_text
from sdar.envs.webshop.shop import catalogue_of, shop
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, InputError

ARROW = " \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "


def raw(asin: str, name: str, **fields: Any) -> dict[str, Any]:
    return {
        "asin": asin,
        "name": name,
        "full_description": None,
        "small_description": ["First.", "Second."],
        "pricing": "$1,012.50",
        "category": "garden",
        "query": " Rugs ",
        "product_category": ARROW.join(["Home", "Rugs"]),
        "images": ["x.jpg"],
        "customization_options": {},
        **fields,
    }


ITEMS = [
    raw(
        "B01",
        "Wool Rug",
        customization_options={"Size": [{"value": " 3 FT/4 FT "}, {"value": "5 ft"}], "C": None},
    ),
    raw("B02", "Jute Rug", pricing="$10.00$20.00", small_description="One line."),
    raw("B02", "A second product of that asin"),
    raw("B03", "Felt Rug", pricing=""),
    raw("B0123456789", "Its asin is too long"),
]
ATTRIBUTES = {
    "B01": {"attributes": ["soft"], "instruction": "Find me a rug", "instruction_attributes": ["soft"]},
    "B02": {"attributes": ["hard"]},
}
INSTRUCTIONS = {
    "B01": [
        {
            "instruction": "i need a soft rug.",
            "instruction_attributes": ["soft"],
            "instruction_options": ["5 ft"],
        },
        {"instruction": "no attribute", "instruction_attributes": [], "instruction_options": []},
    ],
    "B02": [
        {"instruction": f"i need rug {i}", "instruction_attributes": ["hard"], "instruction_options": []}
        for i in range(7)
    ],
    "B99": [{"instruction": "not sold", "instruction_attributes": ["soft"], "instruction_options": []}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "items_shuffle.json", ITEMS)
    write(tmp_path, "items_ins_v2.json", ATTRIBUTES)
    write(tmp_path, "items_human_ins.json", INSTRUCTIONS)
    return tmp_path


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def config(data: Path, **options: str | int) -> EnvironmentConfig:
    return EnvironmentConfig(name="webshop", data=str(data), options=dict(options), max_steps=15)


def test_products_are_read_as_the_original_reads_them(folder: Path) -> None:
    files = find_files(folder)
    assert files is not None
    wool, jute, felt = read_products(files)
    assert (wool.asin, wool.title, wool.query, wool.price, wool.price_tag) == (
        *("B01", "Wool Rug", "rugs"),
        *(1012.5, "$1012.5"),
    )
    assert wool.options == {"size": ("3 ft | 4 ft", "5 ft")}
    assert (wool.description, wool.bullets, wool.attributes) == ("", ("First.", "Second."), ("soft",))
    assert jute.price_tag == "$10.0 to $20.0"
    assert 10.0 <= jute.price <= 20.0
    assert jute.bullets == ("One line.",)
    assert read_products(files)[1].price == jute.price
    assert (felt.price, felt.price_tag, felt.attributes) == (100.0, "$100.0", ("DUMMY_ATTR",))


def test_goals_made_from_products_ask_for_each_combination_of_options(folder: Path) -> None:
    files = find_files(folder)
    assert files is not None
    first, second = made_goals(files, read_products(files))
    # No multiple of ten up to 990 lies above 1012.50 dollars, so no limit is named.
    assert first.instruction == "Find me a rug with size: 3 ft | 4 ft"
    assert (second.options, second.attributes, second.asin) == ((("size", "5 ft"),), ("soft",), "B01")


def test_peoples_instructions_become_tasks_and_are_played_on_full_pages(folder: Path) -> None:
    world = WebShop.from_config(config(folder, goals="human"))
    tasks = [task for split in world.splits() for task in world.tasks(split)]
    assert world.splits() == ("train", "dev", "unseen")
    assert [len(world.tasks(split)) for split in world.splits()] == [4, 2, 2]
    soft = next(task for task in tasks if task.payload["asin"] == "B01")
    assert (soft.goal, soft.payload["options"], soft.type) == ("i need a soft rug", ["5 ft"], "human")
    assert all("price lower than" in task.goal for task in tasks if task is not soft)
    assert world.reset(soft, 0) == "WebShop [SEP] Instruction: [SEP] i need a soft rug [SEP] Search"
    world.step("search[wool]")
    world.step("click[b01]")
    world.step("click[5 ft]")
    ended = world.step("click[buy now]")
    assert (ended.reward, ended.success, ended.done) == (1.0, True, True)


def test_the_sample_keeps_the_rules_of_every_environment(folder: Path) -> None:
    assert check_environment(WebShop.from_config, config(folder, goals="human")) == []


def test_of_several_files_the_full_one_is_taken_unless_another_is_named(folder: Path) -> None:
    write(folder, "items_shuffle_1000.json", ITEMS[:1])
    write(folder, "items_ins_v2_1000.json", {})
    whole, part = find_files(folder), find_files(folder / "items_shuffle_1000.json")
    assert whole is not None
    assert part is not None
    assert (whole.items.name, whole.attributes.name) == ("items_shuffle.json", "items_ins_v2.json")
    assert (part.items.name, part.attributes.name) == ("items_shuffle_1000.json", "items_ins_v2_1000.json")
    assert [product.attributes for product in read_products(part)] == [("DUMMY_ATTR",)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items_shuffle.json", {"B01": {}}, "holds a dict; expected a list"),
        ("items_shuffle.json", ["B01"], "product 0 is no object with an `asin`"),
        ("items_shuffle.json", [{"asin": "B01", "name": "Rug"}], "'B01' is malformed: KeyError 'category'"),
        ("items_human_ins.json", {"B01": [{"instruction": "x"}]}, "instruction 0 of 'B01' is malformed"),
        ("items_human_ins.json", {"B01": INSTRUCTIONS["B02"][:3]}, "gives 3 goals, too few"),
    ],
)
def test_malformed_files_are_refused_by_name(folder: Path, name: str, content: Any, message: str) -> None:
    write(folder, name, content)
    with pytest.raises(InputError, match=message):
        WebShop.from_config(config(folder, goals="human"))


def test_missing_and_unreadable_files_are_refused(folder: Path) -> None:
    (folder / "items_human_ins.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"cannot read .*items_human_ins\.json"):
        WebShop.from_config(config(folder, goals="human"))
    (folder / "items_ins_v2.json").unlink()
    with pytest.raises(InputError, match=r"no items_ins_v2\*\.json"):
        WebShop.from_config(config(folder))
    with pytest.raises(InputError, match=r"cannot read .*nowhere"):
        WebShop.from_config(config(folder / "nowhere", goals="human"))


def test_a_printed_shop_reads_back_as_the_same_shop(tmp_path: Path) -> None:
    for name, content in shop_files(3).items():
        write(tmp_path, name, content)
    world = WebShop.from_config(config(tmp_path, goals="human", page="compact"))
    catalogue = catalogue_of(3)
    assert world.catalogue.asins == list(catalogue.asins)
    assert all(world.catalogue.product(asin) == catalogue.product(asin) for asin in catalogue.asins)
    tasks = [task for split in world.splits() for task in world.tasks(split)]
    assert len(tasks) == 576
    for task in tasks[::40]:
        world.reset(task, 0)
        expert, done = world.expert(), False
        while not done:
            result = world.step(expert.next_action())
            done = result.done
        assert result.success


def test_the_splits_of_a_list_are_webshops() -> None:
    goals = [Goal("B01", f"goal {i}", "human", ("soft",), (), 10.0) for i in range(5000)]
    parts = split_list(goals)
    assert {split: len(part) for split, part in parts.items()} == {"unseen": 500, "dev": 1000, "train": 3500}
    assert {split: len(part) for split, part in split_list(goals[:10]).items()} == {
        "unseen": 2,
        "dev": 2,
        "train": 6,
    }
    assert len(split_list(goals[:4] * 2)["unseen"]) + len(split_list(goals[:4] * 2)["train"]) <= 8
    twice = split_list(goals[:50] * 2)
    texts = [{goal.instruction for goal in part} for part in twice.values()]
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("i need a rug that is easy to clean.", ("RUG", ["easy clean"], [])),
        (
            "find waterproof and heavy-duty boots in size large",
            ("BOOT", ["heavy duty", "water resistant"], ["large"]),
        ),
        ("i want an x-large machine wash shirt", ("SHIRT", ["machine washable"], [])),  # another size
        ("an easy clean rug and a chair", None),  # two kinds
        ("i need a red rug", None),  # no attribute
        ("a non slip teapot", None),  # no such kind
        ("a small or large non slip rug", None),  # two sizes
        ("an eco friendly, lightweight, long lasting lamp", None),  # three attributes
    ],
)
def test_instructions_that_the_shop_can_serve(
    text: str, asked: tuple[str, list[str], list[str]] | None
) -> None:
    own = shop(0)
    goals = goals_from_texts(own, [text, text])
    if asked is None:
        assert goals == []
        return
    kind, attributes, sizes = asked
    (goal,) = goals
    assert goal.asin.startswith(kind)
    assert (list(goal.attributes), goal.type) == (attributes, "human")
    assert list(goal.options) == [own.labels["footwear"][2] for _ in sizes]
    assert goal.instruction == text.strip(".") + limit_text(goal.price_upper)
    product = catalogue_of(0).product(goal.asin)
    assert set(product.attributes) == set(attributes)
    assert product.price < goal.price_upper


def test_a_colour_counts_only_where_the_product_is_sold_in_it() -> None:
    goals = goals_from_texts(
        shop(0), [f"a non slip rug in {name}" for name in ("black", "white", "blue", "pink", "red", "gray")]
    )
    assert [goal.options for goal in goals] == [
        (name,) for name in catalogue_of(0).product(goals[0].asin).options["color"]
    ]


def test_texts_and_the_goals_option_go_together(tmp_path: Path) -> None:
    write(tmp_path, "human_goals.json", [f"i need {i} non slip rugs" for i in range(8)])
    world = WebShop.from_config(config(tmp_path, goals="human"))
    assert [len(world.tasks(split)) for split in world.splits()] == [4, 2, 2]
    with pytest.raises(ConfigError, match=r"--set env\.options\.goals=human"):
        WebShop.from_config(config(tmp_path))
    write(tmp_path, "human_goals.json", ["i need a non slip rug", 3])
    with pytest.raises(InputError, match="expected a list of texts"):
        WebShop.from_config(config(tmp_path, goals="human"))


def test_peoples_ten_thousand_instructions_give_goals_that_the_buyer_fulfils() -> None:
    root = os.environ.get("SDAR_TEST_DATA")
    if not root or not (Path(root) / "webshop" / "human_goals.json").is_file():
        pytest.skip("SDAR_TEST_DATA names no folder with webshop/human_goals.json")
    world = WebShop.from_config(config(Path(root) / "webshop" / "human_goals.json", goals="human"))
    tasks = [task for split in world.splits() for task in world.tasks(split)]
    assert len(tasks) > 300
    for task in tasks:
        world.reset(task, 0)
        expert, done = world.expert(), False
        while not done:
            result = world.step(expert.next_action())
            done = result.done
        assert result.success, goal_of(task)
