"""Embedders by name: what turns a bank's texts and a task's goal into vectors of one space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sdar.schemas.errors import ConfigError


class Embedder(Protocol):
    """Anything that turns texts into vectors whose inner product is their similarity."""

    @property
    def name(self) -> str:
        """Short name for people, stored with the vectors."""

    @property
    def dimension(self) -> int:
        """Length d of every vector."""

    @property
    def fingerprint(self) -> str:
        """Content hash of whatever decides the vectors: equal ones mean vectors of one space."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text that the embedder cannot read."""


def open_embedder(name: str, texts: Sequence[str], policy: Embedder | None = None) -> Embedder:
    """Return the embedder that `skills.embedder` names; nothing is ever downloaded.

    Args:
        name: `tfidf`, `minilm`, `policy`, or a folder with a sentence-embedding model.
        texts: the bank's texts, from which `tfidf` takes its words.
        policy: what `policy` stands for: policy 0 of a run.

    Raises:
        ConfigError: `policy` was asked for where no policy is at hand.
        InputError: the texts have no words for `tfidf`, or the folder holds no usable model.
        EnvironmentMissingError: the package with the `minilm` model is not installed.
    """
    if name == "tfidf":
        from sdar.skills.embedders.tfidf import TfidfEmbedder

        return TfidfEmbedder.fit(texts)
    if name == "policy":
        if policy is None:
            raise ConfigError(
                "skills.embedder is policy, but no policy is loaded here. Give policy.path a policy folder, "
                "or choose another embedder with --set skills.embedder=tfidf."
            )
        return policy
    from sdar.skills.embedders.encoder import load_encoder

    return load_encoder(name, encoder_folder(name))


def embedder_content(name: str) -> str:
    """Return the content hash of the files that an embedder is read from, empty where it has none.

    Those of `tfidf` are the bank, and `policy` is an artifact of the run.

    Raises:
        InputError, EnvironmentMissingError: see `open_embedder`.
    """
    if name in ("tfidf", "policy"):
        return ""
    from sdar.skills.embedders.files import files_hash

    return files_hash(encoder_folder(name))


def encoder_folder(name: str) -> Path:
    """Return where the model of an encoder lies: in the installed package, or in the named folder."""
    from sdar.skills.embedders.files import minilm_folder

    return minilm_folder() if name == "minilm" else Path(name)
