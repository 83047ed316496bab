"""An index as a folder: what FAISS wrote, the skill ids by position, and a card about the vectors.

index.faiss  the index with all vectors
ids.txt      one skill id per line, by position
index.json   the card
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss

from sdar.schemas.errors import InputError, IntegrityError
from sdar.schemas.keys import canonical_json
from sdar.skills.embedding import Embedder
from sdar.skills.index import SkillIndex, one_thread
from sdar.skills.text import TEXT_RULE

INDEX, IDS, CARD = "index.faiss", "ids.txt", "index.json"


@dataclass(frozen=True)
class IndexCard:
    """What is said about stored vectors.

    `text` is what of a skill was embedded; `kind` is `flat` or `cells`; `faiss` the version that wrote it.
    """

    embedder: str
    fingerprint: str
    dimension: int
    normalised: bool
    text: str
    skills: int
    kind: str
    faiss: str


def index_card(index: SkillIndex, embedder: Embedder) -> IndexCard:
    """Return the card of an index whose vectors an embedder made."""
    return IndexCard(
        embedder=embedder.name,
        fingerprint=embedder.fingerprint,
        dimension=embedder.dimension,
        normalised=True,
        text=TEXT_RULE,
        skills=len(index.ids),
        kind=index.kind,
        faiss=faiss.__version__,
    )


def save_index(folder: Path, index: SkillIndex, embedder: Embedder) -> IndexCard:
    """Write an index and its card into a folder and return the card; the same index gives the same bytes.

    Raises:
        InputError: the folder cannot be written to.
    """
    card = index_card(index, embedder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_thread():
            faiss.write_index(index.faiss, str(folder / INDEX))
        (folder / IDS).write_text("".join(f"{skill_id}\n" for skill_id in index.ids), encoding="utf-8")
        (folder / CARD).write_text(canonical_json(asdict(card)) + "\n", encoding="utf-8")
    except (OSError, RuntimeError) as error:
        raise InputError(f"the index cannot be written to {folder}: {error}. Name another folder.") from error
    return card


def load_index(
    folder: Path, embedder: Embedder, rebuild: str, ids: Collection[str] | None = None
) -> SkillIndex:
    """Return a stored index after checking that its vectors and those of an embedder can be compared.

    Args:
        folder: as `save_index` wrote it.
        embedder: the one that will embed the queries.
        rebuild: the command that makes the index anew, for the message.
        ids: the skills that it must hold, in any order; None accepts any.

    Raises:
        IntegrityError: it came from another embedder, holds other skills, or is damaged.
    """
    card = _read_card(folder, rebuild)
    wanted = {
        "fingerprint": embedder.fingerprint,
        "dimension": embedder.dimension,
        "normalised": True,
        "text": TEXT_RULE,
    }
    found = asdict(card)
    if faults := [
        f"{name} {found[name]!r}, not {value!r}" for name, value in wanted.items() if found[name] != value
    ]:
        raise IntegrityError(
            f"the index in {folder} was made by the embedder {card.embedder!r}, the queries are embedded by "
            f"{embedder.name!r}, and the two cannot be compared: it has {'; '.join(faults)}. "
            f"Rebuild it with `{rebuild}`."
        )
    index = _read_index(folder, card, rebuild)
    if ids is not None and set(ids) != set(index.ids):
        missing, extra = len(set(ids) - set(index.ids)), len(set(index.ids) - set(ids))
        raise IntegrityError(
            f"the index in {folder} is that of another bank: {missing} skill(s) are missing in it, and "
            f"{extra} are in it only. Rebuild it with `{rebuild}`."
        )
    return index


def _read_card(folder: Path, rebuild: str) -> IndexCard:
    try:
        return IndexCard(**json.loads((folder / CARD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, f"{CARD} cannot be read ({error})", rebuild) from error


def _read_index(folder: Path, card: IndexCard, rebuild: str) -> SkillIndex:
    try:
        with one_thread():
            index = SkillIndex(
                faiss.read_index(str(folder / INDEX)),
                tuple((folder / IDS).read_text(encoding="utf-8").splitlines()),
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise _damaged(folder, f"{INDEX} or {IDS} cannot be read ({error})", rebuild) from error
    sizes = {index.faiss.ntotal, len(index.ids), len(set(index.ids)), card.skills}
    if len(sizes) > 1 or index.dimension != card.dimension:
        reason = (
            f"{INDEX} holds {index.faiss.ntotal} vectors of dimension {index.dimension}, {IDS} "
            f"{len(index.ids)} ids, and {CARD} says {card.skills} skills of dimension {card.dimension}"
        )
        raise _damaged(folder, reason, rebuild)
    return index


def _damaged(folder: Path, reason: str, rebuild: str) -> IntegrityError:
    return IntegrityError(
        f"the index in {folder} is damaged: {reason}. `sdar store verify` looks for other damage in a store. "
        f"Rebuild it with `{rebuild}`."
    )
