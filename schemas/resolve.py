"""From defaults, an environment, a method, a file and the command line to one checked `RunConfig`.

All faults are reported at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sdar.schemas.config import EMBEDDERS, RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.near import nearest
from sdar.schemas.world import OPTIONS, SCALAR, RawOption, World, Worlds, nested, option_value, spread

Methods = Mapping[str, Mapping[str, Any]]

_NAME = "env.name"
_POLICY = "policy.path"
_STORED = "from the run"
_NEXT = "Next: `sdar config schema` lists every setting with its default and range."
_SIGNS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where, what was found, what is allowed, and the nearest allowed thing."""

    path: str
    found: str
    allowed: str
    origin: str = ""
    near: str = ""

    def __str__(self) -> str:
        origin = f" ({self.origin})" if self.origin else ""
        near = f" Did you mean {self.near}?" if self.near else ""
        return f"{self.path}: found {self.found}{origin}; allowed: {self.allowed}.{near}"


class ConfigFaultsError(ConfigError):
    """Something is wrong in several places; `faults` has them all, and the message lists each once."""

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        super().__init__(f"{what} has {count}:\n{lines}\n{_NEXT}")


@dataclass(frozen=True)
class Resolved:
    """A checked configuration; `origins` says for each dotted path who set it."""

    config: RunConfig
    origins: Mapping[str, str]


@dataclass(frozen=True)
class Setting:
    """One setting as `sdar config schema` shows it."""

    path: str
    allowed: str
    default: Any
    meaning: str


@dataclass
class _Layers:
    """Values by dotted path, later layers over earlier ones, and the faults met on the way."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def put(self, values: Mapping[str, Any], origin: str) -> None:
        for path, value in spread(values).items():
            if path == OPTIONS:
                self.faults.append(Fault(path, repr(value), f"{OPTIONS}.NAME=value", origin))
            elif path in _PATHS or path.startswith(f"{OPTIONS}."):
                self.values[path], self.origins[path] = value, origin
            else:
                self.faults.append(_unknown(path, value, origin))


def resolve(
    methods: Methods,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    environments: Worlds | None = None,
    values: Mapping[str, Any] | None = None,
) -> Resolved:
    """Return what defaults, environment, method, file, values and command line give, in rising precedence.

    Args:
        methods: settings by dotted path, for each known method.
        file: a YAML or TOML file with some of the settings, or None.
        overrides: `path=value` texts as given to `--set`.
        environments: the known ones by name; None takes any name and any option.
        values: settings that a program gives, nested or by dotted path.

    Raises:
        ConfigError: something is wrong; the message lists every fault with what is allowed.
    """
    above = _Layers()
    if file is not None:
        above.put(_read_file(file, above.faults), f"from {file}")
    above.put(flatten(values or {}), "from the program")
    for text in overrides:
        above.put(_read_override(text, above.faults), "from the command line")
    layers = _Layers(faults=above.faults)
    world = _world(above, environments)
    if world is not None:
        given = above.values.get(_NAME, _PATHS[_NAME].default)
        own = {} if world.starter else {_POLICY: "bootstrap"}
        layers.put({**own, **world.settings}, f"from environment {given}")
    name = (layers.values | above.values).get("method", _PATHS["method"].default)
    if isinstance(name, str) and name in methods:
        layers.put(methods[name], f"from method {name}")
    else:
        near = nearest(str(name), list(methods))
        origin = above.origins.get("method", "")
        layers.faults.append(Fault("method", repr(name), ", ".join(methods), origin, near))
    layers.values |= above.values
    layers.origins |= above.origins
    return _checked(layers, world)


def change(config: RunConfig, overrides: Sequence[str], environments: Worlds | None = None) -> RunConfig:
    """Return the configuration of a stored run with some settings changed.

    Args:
        config: as the run has it.
        overrides: `path=value` texts as given to `--set`; a method and an environment stand for settings and
            are none themselves.
        environments: the known ones by name; None takes any option.

    Raises:
        ConfigError: something is wrong; the message lists every fault with what is allowed.
    """
    layers = _Layers()
    layers.put(flatten(config.model_dump(mode="json")), _STORED)
    for text in overrides:
        layers.put(_read_override(text, layers.faults), "from the command line")
    for path, see in (("method", "sdar methods"), (_NAME, "sdar envs list --json")):
        if layers.origins[path] != _STORED:
            allowed = f"the settings that it stands for, see `{see}`, or a new run"
            layers.faults.append(Fault(path, repr(layers.values[path]), allowed))
    known = environments if environments is not None and config.env.name in environments else {}
    return _checked(layers, known.get(config.env.name)).config


def settings() -> list[Setting]:
    """Return every setting with what it allows, its default and its meaning."""
    return [
        Setting(path, _allowed(info), info.default, info.description or "") for path, info in _PATHS.items()
    ]


def choices(path: str) -> list[str]:
    """Return the values of a setting that have a name of their own; nothing for a number or any text."""
    info = _PATHS[path]
    if info.annotation is bool:
        return ["true", "false"]
    return _choices(info) or list(_FOLDERS.get(path, ()))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted path; keys may be dotted already."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in _PATHS and (value or path not in _SECTIONS):
            flat |= flatten(value, f"{path}.")
        elif value != {} or path in _PATHS:
            flat[path] = value
    return flat


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings, by dotted path, in which some differ from others; None where there is none."""
    old, new = flatten(before), flatten(after)
    return {path: new.get(path) for path in {**old, **new} if old.get(path) != new.get(path)}


def _leaves(model: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= _leaves(info.annotation, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = info
    return found


_PATHS = _leaves(RunConfig)
_FOLDERS = {
    _POLICY: ("starter", "bootstrap"),
    "skills.path": ("builtin", "empty"),
    "skills.embedder": EMBEDDERS,
}
_SECTIONS = {path.rpartition(".")[0] for path in _PATHS} - {""}


def _world(above: _Layers, environments: Worlds | None) -> World | None:
    name = above.values.get(_NAME, _PATHS[_NAME].default)
    if environments is None or not isinstance(name, str):
        return None
    if name in environments:
        return environments[name]
    near = nearest(name, list(environments))
    above.faults.append(Fault(_NAME, repr(name), ", ".join(environments), above.origins.get(_NAME, ""), near))
    return None


def _checked(layers: _Layers, world: World | None) -> Resolved:
    faults = [*layers.faults, *_take_options(layers, world)]
    config = None
    try:
        config = RunConfig.model_validate(nested(layers.values))
    except ValidationError as error:
        faults += [_invalid(detail, layers.origins) for detail in error.errors()]
    faults += _missing_folders(layers)
    faults += _foreign_starter(layers, world)
    if faults or config is None:
        raise ConfigFaultsError("the configuration", faults)
    origins = {path: layers.origins.get(path, "default") for path in _PATHS}
    given = [origin for path, origin in layers.origins.items() if path.startswith(f"{OPTIONS}.")]
    return Resolved(config, {**origins, OPTIONS: ", ".join(dict.fromkeys(given)) or "default"})


def _take_options(layers: _Layers, world: World | None) -> list[Fault]:
    """Bring every option into the type of its default, and return the faults of those that are none."""
    faults = []
    for path in [path for path in layers.values if path.startswith(f"{OPTIONS}.")]:
        name, value, origin = path.removeprefix(f"{OPTIONS}."), layers.values.pop(path), layers.origins[path]
        if world is not None and name not in world.options:
            allowed = ", ".join(f"{OPTIONS}.{each}" for each in world.options)
            near = nearest(name, list(world.options))
            faults.append(
                Fault(
                    path,
                    "an unknown option",
                    allowed or "none, this environment has no options",
                    origin,
                    near and f"{OPTIONS}.{near}",
                )
            )
            continue
        default = None if world is None else world.options[name]
        try:
            layers.values[path] = option_value(value, default)
        except ValueError:
            allowed = _type_name(SCALAR if default is None else type(default))
            faults.append(Fault(path, repr(value), allowed, origin))
    return faults


def _missing_folders(layers: _Layers) -> list[Fault]:
    faults = []
    for path, special in _FOLDERS.items():
        value = layers.values.get(path, special[0])
        origin = layers.origins.get(path, "default")
        if origin == _STORED:  # a stored run may have all that it needs of a folder that has gone
            continue
        if isinstance(value, str) and value not in special and not Path(value).is_dir():
            allowed = f"{', '.join(special)} or an existing folder"
            faults.append(Fault(path, repr(value), allowed, origin))
    return faults


def _foreign_starter(layers: _Layers, world: World | None) -> list[Fault]:
    """Refuse the shipped weights for an environment that they were not made for."""
    name, origin = layers.values.get(_NAME, ""), layers.origins.get(_POLICY, "default")
    if world is None or world.starter or origin == _STORED or layers.values.get(_POLICY) != "starter":
        return []
    allowed = (
        f"for {name} no starter is shipped: bootstrap, or a folder, which "
        f"`sdar bootstrap --env {name} --out FOLDER` makes"
    )
    return [Fault(_POLICY, "'starter'", allowed, origin)]


def _invalid(detail: Any, origins: Mapping[str, str]) -> Fault:
    path = ".".join(str(part) for part in detail["loc"])
    info = _PATHS.get(path)
    found = detail["input"]
    near = nearest(str(found), _choices(info)) if info else ""
    allowed = _allowed(info) if info else detail["msg"]
    return Fault(path, repr(found), allowed, origins.get(path, ""), near)


def _unknown(path: str, value: Any, origin: str) -> Fault:
    if path in _SECTIONS:
        names = ", ".join(known for known in _PATHS if known.startswith(f"{path}."))
        return Fault(path, repr(value), f"a section with the settings {names}", origin)
    section = path.rpartition(".")[0]
    siblings = [known for known in _PATHS if known.rpartition(".")[0] == section]
    near = nearest(path, siblings) or nearest(path, list(_PATHS)) or _same_name(path)
    top = sorted({known.partition(".")[0] for known in _PATHS})
    within = ", ".join(siblings if section in _SECTIONS else top)
    return Fault(path, "an unknown setting", within, origin, near)


def _same_name(path: str) -> str:
    name = path.rpartition(".")[2]
    return next((known for known in _PATHS if known.rpartition(".")[2] == name), "")


def _choices(info: FieldInfo) -> list[str]:
    return [str(choice) for choice in get_args(info.annotation)] if _is_literal(info) else []


def _is_literal(info: FieldInfo) -> bool:
    return get_origin(info.annotation) is Literal


def _allowed(info: FieldInfo) -> str:
    if _is_literal(info):
        return ", ".join(_choices(info))
    bounds = [
        sign.format(getattr(bound, name))
        for name, sign in _SIGNS.items()
        for bound in info.metadata
        if getattr(bound, name, None) is not None
    ]
    return " ".join([_type_name(info.annotation), " and ".join(bounds)]).strip()


def _type_name(annotation: Any) -> str:
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type_name(part) for part in get_args(annotation))
    if get_origin(annotation) is dict:
        return f"values by name, {OPTIONS}.NAME=value"
    return names.get(annotation, str(annotation))


def _read_override(text: str, faults: list[Fault]) -> dict[str, Any]:
    path, equals, raw = text.partition("=")
    path = path.strip()
    if not equals or not path:
        faults.append(Fault("--set", repr(text), "path=value, for instance --set sdar.gate=entropy"))
        return {}
    if path in _PATHS and _PATHS[path].annotation is str:
        return {path: raw}
    if path.startswith(f"{OPTIONS}."):
        return {path: RawOption(raw)}
    try:
        return {path: yaml.safe_load(raw)}
    except yaml.YAMLError:
        faults.append(Fault(path, repr(raw), "one value in YAML", "from the command line"))
        return {}


def _read_file(file: Path, faults: list[Fault]) -> dict[str, Any]:
    try:
        values = _parse(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        reason = " ".join(str(error).split())
        faults.append(Fault("--config", f"{str(file)!r} ({reason})", "a readable YAML or TOML file"))
        return {}
    if not isinstance(values, dict):
        faults.append(Fault("--config", f"a {type(values).__name__} in {file}", "settings by name"))
        return {}
    return flatten({str(key): value for key, value in values.items()})


def _parse(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".toml":
        return tomllib.loads(text)
    values = yaml.load(text, _StrictLoader)
    return {} if values is None else values


class _StrictLoader(yaml.SafeLoader):
    """Refuses a name that is given twice, of which YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
