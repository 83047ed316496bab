"""The shop behind the environment protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdar.envs.base import StepResult
from sdar.envs.demonstration import Demonstration, OtherWorld
from sdar.envs.webshop.demonstrations import demonstrate
from sdar.envs.webshop.expert import Buyer
from sdar.envs.webshop.files import (
    TEXTS,
    catalogue_from,
    find_files,
    human_goals,
    made_goals,
    read_products,
    read_texts,
    texts_file,
)
from sdar.envs.webshop.goals import (
    LIST_SPLITS,
    SHOP_SPLITS,
    goal_of,
    list_tasks,
    shop_tasks,
    split_list,
)
from sdar.envs.webshop.handbook import handbook
from sdar.envs.webshop.instructions import goals_from_texts
from sdar.envs.webshop.kind import KIND
from sdar.envs.webshop.pages import PAGES, answered
from sdar.envs.webshop.products import Catalogue, Goal
from sdar.envs.webshop.session import Session, act, clickable
from sdar.envs.webshop.shop import TRAINING_SHOPS, catalogue_of, shop
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import TaskSpec

OTHER_SHOPS = range(1, 9)
"""Target shops besides the default one on which a starter policy is measured."""
GOALS = ("generated", "human")
STYLES = ("auto", *PAGES)


@dataclass
class WebShop:
    """One shop; an instance plays one episode at a time, in which nothing is random.

    `number` is the generated shop's, None where the catalogue comes from files; `listed` are the goals by
    split where they come from files.
    """

    catalogue: Catalogue
    style: str
    number: int | None = 0
    listed: Mapping[str, Sequence[Goal]] = field(default_factory=dict)
    max_steps: int = 15
    name: str = "webshop"
    session: Session | None = None

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> WebShop:
        """Return the shop of a configuration.

        `env.data` is empty (a generated shop), a folder with WebShop's files or its items file, or a
        `human_goals.json`, or the folder of one, with instructions for a generated shop. Options: `shop`, the
        generated shop's number; `goals`, `generated` or `human`; `page`, `compact` or `full`, or `auto`: full
        for files.

        Raises:
            ConfigError: an option has a value that is not allowed, or the data do not go with `goals`.
            InputError: the data are missing, unreadable or malformed.
        """
        number, goals, page = _options(config)
        files = find_files(Path(config.data)) if config.data else None
        style = page if page != "auto" else "full" if files else "compact"
        if files:
            products = read_products(files)
            made = human_goals(files, products) if goals == "human" else made_goals(files, products)
            return cls(catalogue_from(products), style, None, _split(made, config.data), config.max_steps)
        listed = _listed(number, goals, config.data)
        return cls(catalogue_of(number), style, number, listed, config.max_steps)

    def splits(self) -> Sequence[str]:
        """Return `train` and `unseen` (wishes never trained on), for goals from files `dev` too."""
        return LIST_SPLITS if self.listed else SHOP_SPLITS

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split."""
        if split not in self.splits():
            raise ConfigError(f"webshop has no split {split!r}; allowed are: {', '.join(self.splits())}")
        if self.number is None:
            return list_tasks(self.listed, split, {})
        if self.listed:
            return list_tasks(self.listed, split, {"shop": self.number})
        return shop_tasks(self.number, split)

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first page; the seed decides nothing, for nothing is random."""
        goal = goal_of(task)
        if task.payload.get("shop", self.number) != self.number or not self._sells(goal.asin):
            raise InputError(
                f"task {task.id!r} is of another catalogue than the configured one (shop {self.number}). "
                "Next: set env.options.shop and env.data as they were when the task was made"
            )
        write, page_size = PAGES[self.style]
        self.session = Session(self.catalogue, goal, page_size)
        return write(self.session)

    def step(self, action: str) -> StepResult:
        """Take one action; the reward comes with the purchase, which is the end."""
        session = self._playing()
        if session.reward is not None:
            raise RuntimeError("the episode is done; call reset(task, seed) before the next step")
        valid = act(session, action)
        reward = session.reward.total if session.reward else 0.0
        return StepResult(
            answered(session, valid, self.style), reward, session.page == "done", reward == 1.0, valid
        )

    def actions(self) -> Sequence[str] | None:
        """Return the clicks that the page offers, or None on the search page, where any words are allowed."""
        offered = clickable(self._playing())
        return [f"click[{target}]" for target in dict.fromkeys(offered)] or None

    def expert(self) -> Buyer:
        """Return the demonstrator that knows the product which the goal has in mind."""
        return Buyer(self._playing())

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration from a training shop; see `Demonstrates`."""
        return demonstrate(index, seed, self.max_steps, skill_share, self.style)

    def others(self) -> Sequence[OtherWorld]:
        """Return eight other target shops with their handbooks."""
        page = {"page": self.style}
        return [
            OtherWorld({"data": "", "options": {"shop": number, **page}}, handbook(shop(number)))
            for number in OTHER_SHOPS
        ]

    def _sells(self, asin: str) -> bool:
        try:
            return self.catalogue.product(asin).asin == asin
        except KeyError:
            return False

    def _playing(self) -> Session:
        if self.session is None:
            raise RuntimeError("call reset(task, seed) before playing")
        return self.session


def _options(config: EnvironmentConfig) -> tuple[int, str, str]:
    given = {**KIND.options, **config.options}
    number, goals, page = given["shop"], given["goals"], given["page"]
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < TRAINING_SHOPS.start:
        raise ConfigError(
            f"env.options.shop is {number!r}; allowed: a whole number from 0 to {TRAINING_SHOPS.start - 1}; "
            "higher ones are for the warm start. Next: --set env.options.shop=0"
        )
    for name, value, allowed in (("goals", goals, GOALS), ("page", page, STYLES)):
        if value not in allowed:
            raise ConfigError(
                f"env.options.{name} is {value!r}; allowed: {', '.join(allowed)}. "
                f"Next: --set env.options.{name}={allowed[0]}"
            )
    return number, str(goals), str(page)


def _listed(number: int, goals: str, data: str) -> Mapping[str, Sequence[Goal]]:
    """Return the goals by split that people's instructions make in a generated shop, else none."""
    if goals == "generated" and not data:
        return {}
    if goals == "generated" or not data:
        found = f"env.data is {data!r} and env.options.goals is {goals!r}"
        raise ConfigError(
            f"{found}; instructions from a {TEXTS} need --set env.options.goals=human and env.data=its path, "
            "WebShop's own files a folder with items_shuffle.json, and a generated shop an empty env.data"
        )
    return _split(goals_from_texts(shop(number), read_texts(texts_file(Path(data)))), data)


def _split(goals: Sequence[Goal], data: str) -> Mapping[str, Sequence[Goal]]:
    parts = split_list(goals)
    empty = [split for split, part in parts.items() if not part]
    if empty:
        raise InputError(
            f"{data} gives {len(goals)} goals, too few to fill the splits {', '.join(empty)}; at least 4 "
            "different ones are needed. Next: set env.options.goals to the other kind, or add instructions"
        )
    return parts
