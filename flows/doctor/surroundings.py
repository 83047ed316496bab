"""Checks of what is around: the store, the offline settings, Prefect's server, the browser, the shell."""

from __future__ import annotations

import os
import shlex
import urllib.request
import webbrowser
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar.flows.commands.options import resume_command
from sdar.flows.doctor.check import Check
from sdar.flows.environment import DEFAULTS
from sdar.schemas.errors import ConfigError, IntegrityError, SdarError

_QUIET = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_ON = {"1", "on", "true", "yes"}
_PATIENCE_S = 3.0
_LATEST = """
    SELECT config->>'$.env.name' AS environment, config->>'$.rollout.engine' AS engine
    FROM run ORDER BY rowid DESC LIMIT 1"""


def latest_run(store: Path) -> Mapping[str, Any]:
    """Return the environment and the engine of the latest run of a store; nothing where there is none."""
    from sdar.storage import open_store

    try:
        rows = open_store(store, read_only=True).query(_LATEST).to_pylist()
    except SdarError:  # which the check of the store reports
        return {}
    return rows[0] if rows else {}


def store_checks(path: Path) -> Iterator[Check]:
    """Look at a store: its schema, its writer, its references, and whether its latest run can go on."""
    from sdar.storage import open_store
    from sdar.storage.migrate import CURRENT_VERSION

    folder, option = path.absolute(), f"--store {shlex.quote(str(path.absolute()))}"
    if not folder.exists():
        yield Check("store", "ok", f"none at {folder} yet; `sdar run` makes it")
        return
    try:
        store = open_store(folder, read_only=True)
        version, owner = store.schema_version(), store.owner()
        faults = store.verify(quick=True)
        runs = store.runs()
    except SdarError as error:
        yield Check("store", "fault", str(error), f"sdar store verify {option}", error.exit_code)
        return
    if faults:
        found = f"{folder}: {faults[0]}" + (f" And {len(faults) - 1} more faults." if len(faults) > 1 else "")
        yield Check("store", "fault", found, f"sdar store verify {option}", IntegrityError.exit_code)
    elif version < CURRENT_VERSION:
        found = f"{folder} has schema version {version} of {CURRENT_VERSION}"
        yield Check("store", "warning", found, f"sdar store migrate {option}")
    else:
        writer = f"written by {owner}" if owner else "nobody writes to it"
        yield Check("store", "ok", f"{folder}: {len(runs)} runs, references whole, {writer}")
    if runs and runs[-1].status != "done" and owner is None:
        found = f"{runs[-1].id} is not finished ({runs[-1].status}), and nobody works on it"
        yield Check("latest run", "warning", found, resume_command(runs[-1].id, folder))


def offline_check(environment: Mapping[str, str]) -> Check:
    """Say whether a variable asks a library to use the network after all."""
    wrong = [
        name
        for name in _QUIET
        if name in environment and (environment[name].lower() in _ON) != (DEFAULTS[name].lower() in _ON)
    ]
    if wrong:
        found = ", ".join(f"{name}={environment[name]}" for name in wrong)
        found = f"{found} lets a library use the network"
        return Check("offline", "warning", found, f"unset {' '.join(wrong)}")
    proxies = ", ".join(sorted(name for name in environment if name.lower() in _PROXIES))
    note = f"; {proxies} is set, and passed by" if proxies else ""
    return Check("offline", "ok", f"no telemetry, no hub, no key, no proxy needed{note}")


def server_check(environment: Mapping[str, str]) -> Check:
    """Say whether the Prefect server that a variable names answers; nothing is asked where none is named."""
    url = environment.get("PREFECT_API_URL", "")
    if not url:
        return Check("prefect", "ok", "PREFECT_API_URL is not set: each run starts a server on this machine")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/health", timeout=_PATIENCE_S) as answer:
            if answer.status == 200:
                return Check("prefect", "ok", f"the server at {url} answers")
            reason = f"status {answer.status}"
    except (OSError, ValueError) as error:
        reason = str(error)
    found = f"PREFECT_API_URL names {url}, which does not answer ({reason})"
    fix = "unset PREFECT_API_URL, or: prefect server start"
    return Check("prefect", "fault", found, fix, ConfigError.exit_code)


def browser_check() -> Check:
    """Say whether `sdar report --open` finds a browser."""
    try:
        name = webbrowser.get().__class__.__name__
    except webbrowser.Error:
        found = "none; `sdar report` writes a file to open on another machine"
        return Check("browser", "absent", found, "export BROWSER=/path/to/browser")
    return Check("browser", "ok", f"`sdar report --open` uses {name}")


def completion_check(home: Path, environment: Mapping[str, str]) -> Check:
    """Say whether the shell completes the command's words."""
    places = {
        "bash": home / ".bash_completions" / "sdar.sh",
        "zsh": home / ".zfunc" / "_sdar",
        "fish": home / ".config" / "fish" / "completions" / "sdar.fish",
    }
    shell = os.path.basename(environment.get("SHELL", ""))
    if shell not in places:
        return Check("completion", "absent", f"for bash, zsh and fish; this is {shell or 'an unknown shell'}")
    if places[shell].exists():
        return Check("completion", "ok", f"{shell}, from {places[shell]}")
    return Check("completion", "absent", f"not installed for {shell}", "sdar --install-completion")
