"""Conformance of an environment as pytest tests, for built-in worlds and those of other packages.

`pytest --sdar-env NAME` adds one test per rule for a registered environment; the fixture `check_environment`
checks a factory or a name inside a test. Nothing is imported at the start of pytest but this module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import TerminalRepr, TracebackStyle

    from sdar.envs.base import EnvironmentFactory
    from sdar.schemas.config import EnvironmentConfig

    CheckEnvironment = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--sdar-env` and `--sdar-episodes`."""
    group = parser.getgroup("sdar", "environments of sdar")
    group.addoption(
        "--sdar-env",
        action="append",
        default=[],
        metavar="NAME",
        help="also test that the registered environment keeps every rule; repeatable",
    )
    group.addoption(
        "--sdar-episodes", type=int, default=12, metavar="N", help="tasks that are played for each rule"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Append one test per rule for every `--sdar-env`, before `-k` chooses."""
    names: list[str] = config.getoption("sdar_env")
    if not names:
        return
    from sdar.envs.conformance import RULES

    for name in names:
        for rule in RULES:
            label = f"sdar-env[{name}-{rule}]"
            items.append(RuleItem.from_parent(session, name=label, nodeid=label, env=name, rule=rule))


class EnvironmentFaultsError(AssertionError):
    """An environment breaks rules; the message lists all faults."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))


class RuleItem(pytest.Item):
    """The test that an environment keeps a rule."""

    def __init__(self, *, env: str, rule: str, **rest: object) -> None:
        super().__init__(**rest)  # type: ignore[arg-type]
        self.env, self.rule = env, rule

    def runtest(self) -> None:
        """Play the rule."""
        from sdar.envs.conformance import check_rule
        from sdar.envs.registry import environment_config, environment_factory

        factory, config = environment_factory(self.env), environment_config(self.env)
        faults = check_rule(self.rule, factory, config, self.config.getoption("sdar_episodes"))
        if faults:
            raise EnvironmentFaultsError(faults)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: TracebackStyle | None = None
    ) -> str | TerminalRepr:
        """Return the faults without a traceback, which would show this module only."""
        if isinstance(excinfo.value, EnvironmentFaultsError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return where the test stands in a report."""
        return self.env, None, self.name


@pytest.fixture
def check_environment(pytestconfig: pytest.Config) -> CheckEnvironment:
    """Return a function `check(factory_or_name, config=None)` that fails the test with every fault."""
    from sdar.envs.conformance import check_environment as faults_of
    from sdar.envs.registry import environment_config, environment_factory
    from sdar.schemas.config import EnvironmentConfig

    def check(world: EnvironmentFactory | str, config: EnvironmentConfig | None = None) -> None:
        __tracebackhide__ = True
        if isinstance(world, str):
            config, world = config or environment_config(world), environment_factory(world)
        faults = faults_of(world, config or EnvironmentConfig(), pytestconfig.getoption("sdar_episodes"))
        if faults:
            pytest.fail("\n".join(faults), pytrace=False)

    return check
