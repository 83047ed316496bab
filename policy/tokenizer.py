"""Trains the starter policy's tokenizer on an environment's text."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from sdar.policy.dialogue import SPECIAL_TOKENS

NUMBERED_NAMES = r"[A-Za-z]+ \d+"
"""Names such as `cabinet 3`."""


def train_tokenizer(texts: Iterable[str], vocabulary: int, names: str = NUMBERED_NAMES) -> Tokenizer:
    """Train a byte-level BPE whose merges may cross words, except at names.

    Names are cut out first: wherever one stands it becomes the same token, so that a small model can copy it
    from a skill into an action. All other text merges freely, which keeps an episode of the household near
    150 tokens.

    Args:
        texts: the pieces that the dialogue encodes, one by one.
        vocabulary: number of tokens, special tokens included.
        names: regular expression of the names of an environment.
    """
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    whole = pre_tokenizers.Split(Regex(names), behavior="isolated")
    articles = pre_tokenizers.Split(
        Regex(r"(?:, | and | or | )?\b(?:the|The|a|some|two) "), behavior="isolated"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [whole, articles, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
