"""`sdar config`: what a run would use, what can be set, and whether a file is right; and `sdar methods`."""

from __future__ import annotations

import json

import typer

from sdar.flows.commands.options import (
    EnvOption,
    FileOption,
    JsonOption,
    MethodOption,
    RoundsOption,
    SeedOption,
    SetOption,
    configuration,
    overrides,
)
from sdar.flows.output import print_json
from sdar.schemas.config import RunConfig
from sdar.schemas.resolve import flatten, settings

config_app = typer.Typer(no_args_is_help=True, help="Show, describe and check the configuration.")


@config_app.command()
def show(
    config: FileOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    method: MethodOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """Print the whole configuration; the output is a valid --config file."""
    resolved = configuration(config, overrides(set_, seed, rounds, method, env))
    values = resolved.config.model_dump(mode="json")
    if json_:
        typer.echo(json.dumps(values))
        return
    for path, value in flatten(values).items():
        origin = resolved.origins[path]
        comment = "" if origin == "default" else f"  # {origin}"
        typer.echo(f"{path}: {json.dumps(value)}{comment}")


@config_app.command()
def schema(json_: JsonOption = False) -> None:
    """Print every setting with what it allows, its default and its meaning."""
    if json_:
        typer.echo(json.dumps(RunConfig.model_json_schema()))
        return
    for setting in settings():
        typer.echo(f"{setting.path}: {json.dumps(setting.default)}\n    {setting.allowed}. {setting.meaning}")


@config_app.command()
def check(
    config: FileOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    method: MethodOption = None,
    env: EnvOption = None,
) -> None:
    """Check a configuration without running it; all faults are reported at once."""
    resolved = configuration(config, overrides(set_, seed, rounds, method, env))
    changed = sum(origin != "default" for origin in resolved.origins.values())
    typer.echo(f"The configuration is valid: {len(resolved.origins)} settings, {changed} of them given.")


def methods(json_: JsonOption = False) -> None:
    """List the training methods and the settings that each stands for."""
    from sdar.rl.methods import METHODS

    rows = [
        {
            "name": method.name,
            "summary": method.summary,
            "source": method.source,
            "settings": dict(method.settings),
        }
        for method in METHODS.values()
    ]
    if json_:
        print_json(rows)
        return
    for method in METHODS.values():
        values = ", ".join(f"{path}={value}" for path, value in method.settings.items()) or "the defaults"
        typer.echo(f"{method.name}\n    {method.summary}\n    Source: {method.source}\n    Sets: {values}")
