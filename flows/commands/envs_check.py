"""`sdar envs check`: the conformance suite on one environment, its speed, and what episodes leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.envs_play import NameArgument
from sdar.flows.commands.options import FileOption, SetOption, configuration, overrides

if TYPE_CHECKING:
    from sdar.envs.base import EnvironmentFactory
    from sdar.schemas.config import EnvironmentConfig

LEAST_LEAK_EPISODES = 100


def check(
    name: NameArgument,
    episodes: Annotated[
        int, typer.Option("--episodes", min=1, help="Tasks that are played for each rule.")
    ] = 12,
    leaks: Annotated[
        int | None,
        typer.Option(
            "--leaks",
            metavar="N",
            min=LEAST_LEAK_EPISODES,
            help="Also play N episodes and report the memory, files and threads that stay.",
        ),
    ] = None,
    config: FileOption = None,
    set_: SetOption = None,
) -> None:
    """Check that an environment keeps every rule; each fault is one line, and the exit code is then 1."""
    from sdar.envs.conformance import RULES, check_environment
    from sdar.envs.registry import environment_factory

    settings = configuration(config, overrides(set_, env=name)).config.env
    factory = environment_factory(name)
    faults = check_environment(factory, settings, episodes)
    if not faults:
        typer.echo(f"Rules kept: {', '.join(RULES)}")
        typer.echo(_speed(factory, settings))
        faults = _leaks(factory, settings, leaks) if leaks else []
    for fault in faults:
        typer.echo(fault)
    count = "1 fault" if len(faults) == 1 else f"{len(faults) or 'no'} faults"
    typer.echo(f"{name}: {count}")
    if faults:
        raise typer.Exit(1)


def _speed(factory: EnvironmentFactory, config: EnvironmentConfig) -> str:
    from sdar.envs.measure import measure_speed

    found = measure_speed(factory, config)
    return (
        f"Speed: {found.steps_per_second:.0f} steps/s "
        f"({found.steps} admissible actions in {found.episodes} episodes, resets included)"
    )


def _leaks(factory: EnvironmentFactory, config: EnvironmentConfig, episodes: int) -> list[str]:
    from sdar.envs.measure import LEAK_KIB, NOISE_KIB, measure_growth

    found = measure_growth(factory, config, episodes)
    typer.echo(
        f"Growth over {found.episodes} episodes after the warm-up: {found.kib_per_1000:+.0f} KiB per 1000 "
        f"episodes ({found.kib:+.0f} KiB in all; allowed {LEAK_KIB}, or {NOISE_KIB} in all), "
        f"{found.files:+d} open files, {found.threads:+d} threads"
    )
    return found.faults()
