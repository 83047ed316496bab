"""`sdar doctor`: whether everything that `sdar` needs is there, and the command that mends what is not."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sdar.flows.commands.options import STORE, JsonOption, StoreOption
from sdar.flows.output import print_json

if TYPE_CHECKING:
    from sdar.flows.doctor.check import Check

_STYLES = {"ok": "green", "absent": "dim", "warning": "yellow", "fault": "bold red"}


def doctor(store: StoreOption = STORE, json_: JsonOption = False) -> None:
    """Check the installation, the machine and the store; say how to mend what is wrong.

    Asks no network. Exit code 0 without a fault, else that of the first: 3 for a missing package or
    environment, 5 for a damaged store, 2 for a wrong setting.
    """
    found = []
    for check in checks(store):
        found.append(check)
        if not json_:
            _show(check)
    faults = [check for check in found if check.state == "fault"]
    if json_:
        print_json([asdict(check) for check in found])
    else:
        count = Counter(check.state for check in found)
        wrong = f"{count['fault']} faults, {count['warning']} warnings"
        print(f"\n{wrong}, {count['absent']} optional parts absent.")
    if faults:
        raise typer.Exit(faults[0].exit_code)


def checks(store: Path) -> Iterator[Check]:
    """Yield the result of every check, one after another."""
    from sdar.flows.doctor import machine, packages, surroundings
    from sdar.schemas.machine import cores

    needed, run = packages.requirements(), surroundings.latest_run(store)
    yield machine.python_check()
    yield from packages.package_checks(needed)
    yield machine.threads_check(cores(), machine.core_quota(), os.environ)
    yield machine.memory_check(*machine.memory())
    yield machine.disk_check(store)
    yield machine.gpu_check()
    yield from packages.engine_checks(run.get("engine"))
    yield from packages.environment_checks(run.get("environment"))
    yield from packages.extra_checks(needed, packages.environment_extras())
    yield from surroundings.store_checks(store)
    yield surroundings.offline_check(os.environ)
    yield surroundings.server_check(os.environ)
    yield surroundings.browser_check()
    yield surroundings.completion_check(Path.home(), os.environ)


def _show(check: Check) -> None:
    from rich.text import Text

    from sdar.flows.terminal import console_for

    console = console_for(sys.stdout)
    line = Text.assemble((f"{check.state:<8}", _STYLES[check.state]), f" {check.name:<22} {check.found}")
    console.print(line, soft_wrap=True)
    if check.fix:
        console.print(Text(f"{'':<31} fix: {check.fix}"), soft_wrap=True)
