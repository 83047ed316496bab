"""Checks of what is installed: packages against their bounds, extras, engines and environments."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, version
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from packaging.requirements import Requirement

from sdar.flows.doctor.check import Check
from sdar.schemas.config import RolloutConfig
from sdar.schemas.errors import EnvironmentMissingError, SdarError

_MISSING = EnvironmentMissingError.exit_code
_CONTRIBUTORS = {"dev", "docs"}
_SHOWN = ("torch", "transformers", "duckdb", "prefect")
Requirements = Mapping[str, Sequence[Requirement]]


def requirements() -> Requirements:
    """Return what the package needs by extra, `` being what it always needs; read from its metadata.

    Where it is not installed but run from its folder, the pyproject.toml there is read.
    """
    try:
        found = metadata("sdar")
    except PackageNotFoundError:
        return _from_project(Path(__file__).resolve().parents[2] / "pyproject.toml")
    extras = ["", *(found.get_all("Provides-Extra") or ())]
    needed = [Requirement(text) for text in found.get_all("Requires-Dist") or ()]
    base = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    named = {each: [r for r in needed if r not in base and _wanted(r, each)] for each in extras if each}
    return {"": base, **named}


def _wanted(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is not None and requirement.marker.evaluate({"extra": extra})


def _from_project(file: Path) -> Requirements:
    if not file.exists():
        return {}
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(text) for text in texts] for extra, texts in groups.items()}


def package_checks(needed: Requirements) -> Iterator[Check]:
    """Compare what is always needed with what is installed."""
    if not needed.get(""):
        found = "their bounds are unknown: sdar is neither installed nor run from its folder"
        yield Check("packages", "warning", found, "pip install -c constraints.txt -e .")
        return
    wrong = [(each, fault) for each in needed[""] if (fault := _fault(each))]
    for each, fault in wrong:
        yield Check("packages", "fault", fault, f"pip install '{each.name}{each.specifier}'", _MISSING)
    shown = ", ".join(f"{name} {_version(name)}" for name in _SHOWN if _version(name))
    if not wrong:
        yield Check("packages", "ok", f"{len(needed[''])} within their bounds; {shown}")


def extra_checks(needed: Requirements, shown: Collection[str]) -> Iterator[Check]:
    """Say which extras are installed, but for those of contributors and those `shown` elsewhere."""
    for extra, wanted in needed.items():
        if not extra or extra in _CONTRIBUTORS or extra in shown:
            continue
        name, fix = f"extra {extra}", f"pip install 'sdar[{extra}]'"
        faults = [fault for each in wanted if (fault := _fault(each))]
        if any(_version(each.name) and _fault(each) for each in wanted):
            yield Check(name, "warning", "; ".join(faults), fix)
        elif faults:
            yield Check(name, "absent", "; ".join(faults), fix)
        else:
            yield Check(name, "ok", ", ".join(f"{each.name} {_version(each.name)}" for each in wanted))


def engine_names() -> tuple[str, ...]:
    """Return the engines that `rollout.engine` allows."""
    return get_args(RolloutConfig.model_fields["engine"].annotation)


def engine_checks(wanted: str | None) -> Iterator[Check]:
    """Say which engines can sample; `wanted` is that of the store's latest run, if any."""
    for name in engine_names():
        if find_spec(name) is not None:
            yield Check(f"engine {name}", "ok", f"{name} {_version(name) or ''}".rstrip())
        else:
            yield _optional(f"engine {name}", f"pip install 'sdar[{name}]'", name == wanted)


def environment_checks(wanted: str | None) -> Iterator[Check]:
    """Say which environments can be played; `wanted` is that of the store's latest run, if any."""
    from sdar.envs.registry import environment_kind, environment_names, missing_extra

    for name in environment_names():
        title = f"environment {name}"
        try:
            kind = environment_kind(name)
        except SdarError as error:  # the package of one environment must not hide the others
            fix = "pip uninstall the package that registers it, or repair it"
            yield Check(title, "fault", str(error), fix, error.exit_code)
            continue
        fix = missing_extra(kind)
        if fix:
            yield _optional(title, fix, name == wanted)
        else:
            yield Check(title, "ok", kind.summary)


def environment_extras() -> set[str]:
    """Return the extras that the checks of environments and engines show already."""
    from sdar.envs.registry import BUILTIN

    return {kind.extra for kind in BUILTIN.values()} | set(engine_names())


def _optional(name: str, fix: str, wanted: bool) -> Check:
    if wanted:
        return Check(name, "fault", "not installed, but the latest run of the store needs it", fix, _MISSING)
    return Check(name, "absent", "not installed", fix)


def _fault(requirement: Requirement) -> str:
    """Return what is wrong with an installed package, or nothing."""
    found = _version(requirement.name)
    if found is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found} is outside of {requirement.specifier}"
    return ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
