"""How an episode becomes one row of token ids.

A policy's folder decides the format: that of the starter, which is below, or the chat template of the model's
own tokenizer, see `sdar.policy.chat`. In both, each piece of text is encoded by itself, so appending never
changes ids that came before, and the ids of an action are the ids that were sampled.

Starter's student:  <|task|> goal <|obs|> observation <|act|> action <|end|> <|obs|> observation <|act|> ...
Starter's teacher:  <|skills|> block, then the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from sdar.policy.answers import Answer
from sdar.policy.template import read_template
from sdar.schemas.errors import InputError

SKILLS, TASK, OBSERVATION, ACTION, END, PAD = (
    "<|skills|>",
    "<|task|>",
    "<|obs|>",
    "<|act|>",
    "<|end|>",
    "<|pad|>",
)
SPECIAL_TOKENS = (PAD, SKILLS, TASK, OBSERVATION, ACTION, END)


class Dialogue(Protocol):
    """Encodes and decodes the pieces of an episode with one tokenizer.

    An episode is `prompt`, action, `seam`, `observation`, action, `seam`, `observation`, action, ... Teacher
    and student differ in what comes first in the prompt alone. `end_id` ends an action, and so does every one
    of `stop_ids`, which the model may sample in its place.
    """

    tokenizer: Tokenizer
    end_id: int
    stop_ids: frozenset[int]

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text, which cannot forge the markers between the pieces."""
        ...

    def count(self, text: str) -> int:
        """Return how many tokens a text takes."""
        ...

    def prompt(self, goal: str, observation: str, block: str = "") -> list[int]:
        """Return the ids of the prompt of an episode; `block` is the skill text of the teacher.

        Its last ids are those of `observation(observation)`.
        """
        ...

    def seam(self, action: Sequence[int]) -> list[int]:
        """Return the ids that come between the ids of an action, which may be cut, and the next observation.

        A window that begins with that observation leaves them out.
        """
        ...

    def observation(self, text: str) -> list[int]:
        """Return the ids of an observation, up to where an action begins."""
        ...

    def action(self, text: str) -> list[int]:
        """Return the ids of a demonstrated action, with its end token."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a sampled action, without its end token."""
        ...

    def read(self, ids: Sequence[int]) -> Answer:
        """Return what the ids of a sampled action say to the world."""
        ...

    def pieces(self) -> list[str]:
        """Return the text of every token id, for the store's `token_piece` table."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything from which `load_dialogue` makes this format again."""
        ...

    @property
    def fingerprint(self) -> str:
        """The content hash of the tokenizer."""
        ...


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """Return the content hash of a tokenizer, as 64 hexadecimal digits."""
    return hashlib.sha256(tokenizer.to_str().encode()).hexdigest()


class StarterDialogue:
    """The format of policies that were made by a warm start."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a tokenizer that has the special tokens of this format.

        Raises:
            InputError: the tokenizer lacks one of the special tokens.
        """
        found = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
        missing = [token for token, number in found.items() if number is None]
        if missing:
            raise InputError(
                f"the policy's tokenizer lacks the special tokens {', '.join(missing)}, and its folder has "
                "no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); "
                "make a policy with `sdar bootstrap`, or give policy.path a chat model"
            )
        self.tokenizer = tokenizer
        self._special = {token: number for token, number in found.items() if number is not None}
        self.end_id = self._special[END]
        self.stop_ids = frozenset({self.end_id})
        self._encoded = lru_cache(maxsize=65_536)(self._encode)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text; special tokens in it are spelt in another way."""
        return self._encoded(text)

    def _encode(self, text: str) -> tuple[int, ...]:
        # Text from a world or a skill must not be able to forge the markers between the pieces.
        for token in SPECIAL_TOKENS:
            text = text.replace(token, token.replace("|", "/"))
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        """Return how many tokens a text takes."""
        return len(self.encode(text))

    def prompt(self, goal: str, observation: str, block: str = "") -> list[int]:
        """Return the ids of the prompt of an episode; `block` is the skill text of the teacher."""
        skills = [self._special[SKILLS], *self.encode(block)] if block else []
        return [*skills, self._special[TASK], *self.encode(goal), *self.observation(observation)]

    def seam(self, action: Sequence[int]) -> list[int]:
        """Return nothing: an observation begins with its own marker."""
        return []

    def observation(self, text: str) -> list[int]:
        """Return the ids that come between two actions."""
        return [self._special[OBSERVATION], *self.encode(text), self._special[ACTION]]

    def action(self, text: str) -> list[int]:
        """Return the ids of a demonstrated action, with its end token."""
        return [*self.encode(text), self.end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of a sampled action, without its end token."""
        text: str = self.tokenizer.decode([i for i in ids if i != self.end_id], skip_special_tokens=False)
        return text.strip()

    def read(self, ids: Sequence[int]) -> Answer:
        """Return the whole text as the action."""
        return Answer(self.decode(ids))

    def pieces(self) -> list[str]:
        """Return the text of every token id, for the store's `token_piece` table."""
        return [
            token if token in SPECIAL_TOKENS else self.tokenizer.decode([i], skip_special_tokens=False)
            for i, token in sorted((i, token) for token, i in self.tokenizer.get_vocab().items())
        ]

    def save(self, folder: Path) -> None:
        """Write the tokenizer in the Hugging Face layout."""
        from transformers import PreTrainedTokenizerFast

        wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=self.tokenizer, pad_token=PAD, eos_token=END
        )
        wrapped.save_pretrained(folder)

    @property
    def fingerprint(self) -> str:
        """The content hash of the tokenizer."""
        return tokenizer_hash(self.tokenizer)


def is_chat(folder: Path) -> bool:
    """Say whether a policy folder is a chat model: one whose tokenizer comes with a chat template."""
    return read_template(folder) is not None


def load_dialogue(folder: Path) -> Dialogue:
    """Return the dialogue format of a policy folder.

    Raises:
        InputError: it has neither a chat template nor the starter's special tokens, or the chat template
        cannot be
            rendered piece by piece.
    """
    if is_chat(folder):
        from sdar.policy.chat import load_chat

        return load_chat(folder)
    return StarterDialogue(Tokenizer.from_file(str(folder / "tokenizer.json")))
