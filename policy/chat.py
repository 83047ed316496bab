"""Episodes as conversations in the chat template of the model's own tokenizer.

    system:     the environment's prompt and the action format; for the teacher the skill block behind it
    user:       goal and first observation
    assistant:  action           (the ids that were sampled)
    user:       observation
    assistant:  action ...

The row is what the template renders, piece by piece: its fixed strings are encoded as markers, all other text
without any: text of a world or a skill that spells a marker becomes ordinary tokens. On load a conversation
is put together and compared with what the template renders of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from sdar.policy.answers import Answer, read_answer
from sdar.policy.dialogue import tokenizer_hash
from sdar.policy.prompts import Prompts, load_prompts, save_prompts
from sdar.policy.template import (
    ChatTemplate,
    Message,
    Render,
    conversation,
    derive,
    pinned,
    read_template,
    tokenizer_settings,
)
from sdar.schemas.errors import InputError

if TYPE_CHECKING:
    # At run time this would make every import of the package wait for transformers.
    from transformers import PreTrainedTokenizerFast

BREAK = "\n\n"
"""Between two texts of one message."""
TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class ChatModel:
    """What a chat dialogue is made of.

    `template` is the source, `special` the special tokens by role that it may print, `stops` the ids that end
    an answer besides the end-of-turn token, `vocabulary` the rows of the model's output embedding.
    """

    name: str
    tokenizer: Tokenizer
    template: str
    special: dict[str, str]
    stops: frozenset[int]
    vocabulary: int


class ChatDialogue:
    """The format of a chat model."""

    def __init__(self, model: ChatModel, prompts: Prompts) -> None:
        """Take the fixed strings from the template and check that pieces give what it renders.

        Raises:
            InputError: the template or the tokenizer does not allow it; the message says why.
        """
        self.tokenizer, self.prompts, self._model = model.tokenizer, prompts, model
        self._text = _without_markers(model.tokenizer)
        self._encoded = lru_cache(maxsize=65_536)(self._encode)
        self.render = _renderer(model, thinks=prompts.action_format == "tagged")
        self.template = derive(self.render, model.name)
        self.end_id = _end_of_turn(model, self.template)
        self.stop_ids = model.stops | {self.end_id}
        end = model.tokenizer.get_added_tokens_decoder()[self.end_id].content
        self._ask = self._markers(self.template.ask)
        self._answered = self._markers(self.template.answered.removeprefix(end))
        _check_markers(self)
        _check_pieces(self)

    @property
    def name(self) -> str:
        """The folder of the model, for errors."""
        return self._model.name

    def _markers(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text, none of which is a marker."""
        return self._encoded(text)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._text.encode(text, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        """Return how many tokens a text takes."""
        return len(self.encode(text))

    def prompt(self, goal: str, observation: str, block: str = "") -> list[int]:
        """Return the ids of the prompt of an episode; `block` is the skill text of the teacher."""
        task = self.prompts.task.replace("{goal}", goal.strip())
        return [
            *self._opening(block),
            *self.encode(task),
            *self.encode(BREAK),
            *self.observation(observation),
        ]

    def _opening(self, block: str) -> list[int]:
        """Return the ids up to the first user's own text: the system message, or its text folded in."""
        system = list(self.encode(self.prompts.system))
        if block:
            heading = self.encode(f"{self.prompts.skills}\n") if self.prompts.skills else ()
            system += [*(self.encode(BREAK) if system else ()), *heading, *self.encode(block)]
        template = self.template
        if not system:
            return self._markers(template.before_user)
        if template.folds:
            return [*self._markers(template.before_user), *system, *self.encode(BREAK)]
        return [*self._markers(template.before_system), *system, *self._markers(template.after_system)]

    def seam(self, action: Sequence[int]) -> list[int]:
        """Return the ids from an answer to the next user text; they close an answer that was cut."""
        closed = bool(action) and action[-1] == self.end_id
        return [*([] if closed else [self.end_id]), *self._answered]

    def observation(self, text: str) -> list[int]:
        """Return the ids of an observation and of what asks for the next answer."""
        return [*self.encode(self.prompts.turn.replace("{observation}", text.strip())), *self._ask]

    def action(self, text: str) -> list[int]:
        """Return the ids of a demonstrated action in its format, with its end token."""
        tagged = self.prompts.action_format == "tagged"
        return [*self.encode(f"<action>{text}</action>" if tagged else text), self.end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the whole text of a sampled answer, without the token that ended it."""
        last = len(ids) - 1 if ids and ids[-1] in self.stop_ids else len(ids)
        text: str = self.tokenizer.decode(list(ids[:last]), skip_special_tokens=False)
        return text.strip()

    def read(self, ids: Sequence[int]) -> Answer:
        """Return the action in a sampled answer; see `sdar.policy.answers` for the rules."""
        return read_answer(self.decode(ids), self.prompts.action_format)

    def pieces(self) -> list[str]:
        """Return the text of every token id; ids that the tokenizer does not know are empty."""
        count = max(self._model.vocabulary, 1 + max(self.tokenizer.get_vocab().values()))
        found: list[str] = self.tokenizer.decode_batch([[i] for i in range(count)], skip_special_tokens=False)
        return found

    def save(self, folder: Path) -> None:
        """Write tokenizer and chat template in the Hugging Face layout, and the prompts if there are any."""
        wrapped = _wrapped(self._model)
        wrapped.chat_template = self._model.template
        wrapped.save_pretrained(folder)
        self.tokenizer.save(
            str(folder / "tokenizer.json")
        )  # as it is: the library may have added to its copy
        if self.prompts != Prompts():
            save_prompts(folder, self.prompts)

    @property
    def fingerprint(self) -> str:
        """The content hash of the tokenizer."""
        return tokenizer_hash(self.tokenizer)


def load_chat(folder: Path) -> ChatDialogue:
    """Return the chat format of a policy folder that has a chat template.

    Raises:
        InputError: see `ChatDialogue`.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    settings = tokenizer_settings(folder)
    special = {role: _token(settings.get(role)) for role in TOKENS}
    model = ChatModel(
        name=str(folder),
        tokenizer=tokenizer,
        template=read_template(folder) or "",
        special={role: token for role, token in special.items() if token},
        stops=_stops(folder),
        vocabulary=int(_json(folder / "config.json").get("vocab_size") or 0),
    )
    return ChatDialogue(model, load_prompts(folder))


def _token(value: object) -> str:
    """Return a special token of tokenizer_config.json, which is a text or an object with its content."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _stops(folder: Path) -> frozenset[int]:
    """Return the ids that the model's own settings take for the end of a generation."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        value = _json(folder / name).get("eos_token_id")
        found |= set(value) if isinstance(value, list) else {value} if isinstance(value, int) else set()
    return frozenset(found)


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _without_markers(tokenizer: Tokenizer) -> Tokenizer:
    """Return the tokenizer without its added tokens: whoever spells one gets the tokens of its letters."""
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(values))


def _wrapped(model: ChatModel) -> PreTrainedTokenizerFast:
    """Return the library's tokenizer around a copy."""
    from transformers import PreTrainedTokenizerFast

    copy = Tokenizer.from_str(model.tokenizer.to_str())
    return PreTrainedTokenizerFast(tokenizer_object=copy, **model.special)  # type: ignore[no-untyped-call]


def _renderer(model: ChatModel, *, thinks: bool) -> Render:
    """Return what renders messages as transformers does; `thinks` lets a template ask for reasoning."""
    wrapped = _wrapped(model)
    source = pinned(model.template)

    def render(messages: Sequence[Message]) -> str:
        return str(
            wrapped.apply_chat_template(
                list(messages),
                chat_template=source,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinks,
            )
        )

    return render


def _end_of_turn(model: ChatModel, template: ChatTemplate) -> int:
    """Return the id of the token that ends an answer."""
    ids = model.tokenizer.encode(template.answered, add_special_tokens=False).ids
    added = model.tokenizer.get_added_tokens_decoder()
    if not ids or ids[0] not in added or not template.answered.startswith(added[ids[0]].content):
        raise InputError(
            f"the chat template of {model.name} ends an answer with {template.answered!r}; "
            "allowed: a special token at its beginning, by which the end can be sampled"
        )
    return int(ids[0])


def _check_markers(dialogue: ChatDialogue) -> None:
    """Refuse a tokenizer whose ordinary text can become a marker."""
    added = dialogue.tokenizer.get_added_tokens_decoder()
    for token in added.values():
        for text in (token.content, f"a {token.content} b\n", token.content * 2):
            if set(dialogue.encode(text)) & set(added):
                raise InputError(
                    f"the tokenizer of {dialogue.name} makes the marker {token.content!r} out of ordinary "
                    "text, so a world could forge it; allowed: tokenizers that make it of no text"
                )


def _check_pieces(dialogue: ChatDialogue) -> None:
    """Refuse a template of which the pieces of a row do not give what it renders."""
    goals, seen = "put a mug in the desk", ["You are in a house.", "You see 2 mugs.", "Nothing happens."]
    said = ["go to desk 1", "look"]
    for block in ("", "- Mugs are kept in cabinet 3."):
        ids = dialogue.prompt(goals, seen[0], block)
        for text, observation in zip(said, seen[1:], strict=True):
            action = dialogue.action(text)
            ids += [*action, *dialogue.seam(action), *dialogue.observation(observation)]
        expected = dialogue.render(dialogue_messages(dialogue, goals, block, seen, said))
        found = _newest_reasoning(
            dialogue.tokenizer.decode(ids, skip_special_tokens=False), dialogue.template
        )
        if found != expected:
            raise InputError(
                f"the pieces of a conversation with {dialogue.name} give {found!r}, but its chat template "
                f"renders {expected!r}; allowed: a byte-level tokenizer, and a template that keeps texts as "
                "they are"
            )


def _newest_reasoning(text: str, template: ChatTemplate) -> str:
    """Return the text of a row with the template's own reasoning block before the newest answer alone."""
    if not template.reasoning:
        return text
    earlier = text.removesuffix(template.reasoning)
    return earlier.replace(template.reasoning, "") + template.reasoning


def dialogue_messages(
    dialogue: ChatDialogue, goal: str, block: str, observations: Sequence[str], actions: Sequence[str]
) -> list[Message]:
    """Return the messages that an episode is for the chat template.

    Args:
        dialogue: the format.
        goal: of the task.
        block: skill text, empty for the student.
        observations: one more than the actions.
        actions: texts of demonstrated or parsed actions.
    """
    prompts = dialogue.prompts
    skills = "\n".join(filter(None, [prompts.skills, block])) if block else ""
    system = BREAK.join(filter(None, [prompts.system, skills]))
    users = [prompts.turn.replace("{observation}", text) for text in observations]
    users[0] = BREAK.join([prompts.task.replace("{goal}", goal), users[0]])
    if dialogue.template.folds and system:
        users[0], system = BREAK.join([system, users[0]]), ""
    answers = [dialogue.decode(dialogue.action(text)) for text in actions]
    return conversation(system, users, answers)
