"""How an episode becomes one row of token ids.

Student:  <|task|> goal <|obs|> observation <|act|> action <|end|> <|obs|> observation <|act|> action ...
Teacher:  <|skills|> block, then the same. Each piece of text is encoded by itself, so appending never
changes ids that came before, and the ids of an action are the ids that were sampled.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

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


class Dialogue:
    """Encodes and decodes the pieces of an episode with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a tokenizer that has the special tokens of this format.

        Raises:
            InputError: the tokenizer lacks one of the special tokens.
        """
        found = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
        missing = [token for token, number in found.items() if number is None]
        if missing:
            raise InputError(
                f"the policy's tokenizer lacks the special tokens {', '.join(missing)}; "
                "make a policy with `sdar bootstrap`"
            )
        self.tokenizer = tokenizer
        self._special = {token: number for token, number in found.items() if number is not None}
        self.end_id = self._special[END]
        self.encode = lru_cache(maxsize=65_536)(self._encode)

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

    def observation(self, text: str) -> list[int]:
        """Return the ids that come between two actions."""
        return [self._special[OBSERVATION], *self.encode(text), self._special[ACTION]]

    def action(self, text: str) -> list[int]:
        """Return the ids of a demonstrated action, with its end token."""
        return [*self.encode(text), self.end_id]

    def decode(self, ids: list[int]) -> str:
        """Return the text of a sampled action, without its end token."""
        text: str = self.tokenizer.decode([i for i in ids if i != self.end_id], skip_special_tokens=False)
        return text.strip()

    def pieces(self) -> list[str]:
        """Return the text of every token id, for the store's `token_piece` table."""
        return [
            token if token in SPECIAL_TOKENS else self.tokenizer.decode([i], skip_special_tokens=False)
            for i, token in sorted((i, token) for token, i in self.tokenizer.get_vocab().items())
        ]

    @property
    def fingerprint(self) -> str:
        """The content hash of the tokenizer."""
        return hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()


def load_dialogue(folder: Path) -> Dialogue:
    """Return the dialogue format of a policy folder."""
    return Dialogue(Tokenizer.from_file(str(folder / "tokenizer.json")))
