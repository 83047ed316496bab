"""The environment's own settings, `env.options`, with defaults and ranges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError

RETRIEVERS = ("bm25", "dense", "remote")
TARGET_WORLDS = range(10_000)
"""Worlds that a run may be about; the worlds above are those of the starter's warm start."""


@dataclass(frozen=True)
class Options:
    """How the library is made and searched.

    Attributes:
        world: number of the generated world, below 10 000; not read with `env.data`.
        retriever: `bm25`, `dense` (FAISS over `embedder`), or `remote` (a server at `url`).
        embedder: `tfidf`, `minilm` (extra `minilm`), or a folder with a sentence-embedding model.
        url: address of a server that speaks Search-R1's `/retrieve`.
        timeout: seconds to wait for that server.
        top_k: passages per search.
        index: folder in which indexes are kept between processes; empty keeps them in memory only.
        split_seed: decides which questions are trained on.
        unseen_share: share of the questions that never are.
    """

    world: int = 0
    retriever: str = "bm25"
    embedder: str = "tfidf"
    url: str = "http://127.0.0.1:8000/retrieve"
    timeout: float = 10.0
    top_k: int = 2
    index: str = ""
    split_seed: int = 0
    unseen_share: float = 0.35


DEFAULTS = asdict(Options())


def read_options(config: EnvironmentConfig) -> Options:
    """Return the options of a configuration, checked; those of other names are not looked at here.

    Raises:
        ConfigError: a value has the wrong type or is out of range.
    """
    names = {each.name for each in fields(Options)} & set(config.options)
    given: dict[str, Any] = {name: _typed(name, config.options[name]) for name in names}
    options = Options(**given)
    allowed = {
        "world": (options.world in TARGET_WORLDS, f"0 to {TARGET_WORLDS[-1]}"),
        "retriever": (options.retriever in RETRIEVERS, ", ".join(RETRIEVERS)),
        "timeout": (0 < options.timeout <= 3600, "seconds above 0, at most 3600"),
        "top_k": (1 <= options.top_k <= 50, "1 to 50"),
        "split_seed": (0 <= options.split_seed < 2**31, "0 to 2147483647"),
        "unseen_share": (0 < options.unseen_share < 1, "above 0 and below 1"),
    }
    for name, (good, allowance) in allowed.items():
        if not good:
            raise _refusal(name, getattr(options, name), allowance)
    return options


def _typed(name: str, value: str | int | float | bool) -> str | int | float | bool:
    default = DEFAULTS[name]
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise _refusal(name, value, f"a value of type {type(default).__name__}")
    return value


def _refusal(name: str, value: object, allowance: str) -> ConfigError:
    return ConfigError(
        f"env.options.{name} of search_qa is {value!r}; allowed: {allowance}. "
        f"Set it with --set env.options.{name}={DEFAULTS[name] or 'FOLDER'}"
    )
