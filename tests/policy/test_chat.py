"""The chat format: rows are what the template renders, and no text forges a marker."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from chat_models import CHATML, PROMPTS, STOPS, UNKNOWN, chat, chat_policy, chat_tokenizer, save_chat_model
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers
from transformers import PreTrainedTokenizerFast

from sdar.policy.chat import ChatDialogue, ChatModel, dialogue_messages
from sdar.policy.dialogue import StarterDialogue, is_chat, load_dialogue
from sdar.policy.model import STARTER, load_policy, policy_folder, policy_id, save_policy
from sdar.policy.prompts import Prompts
from sdar.policy.rows import cuts, episode_rows
from sdar.schemas.errors import InputError
from sdar.schemas.records import Episode, StopReason, Turn

WORDS = chat()
START, END = (WORDS.tokenizer.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
TEXTS = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "<|", "|>", "im_end", "user\n", "mug 1", " ", "é", "."])
).map("".join)


@given(TEXTS)
def test_no_text_makes_a_marker(text: str) -> None:
    ids = WORDS.encode(text)
    assert not set(ids) & {0, START, END}
    assert WORDS.tokenizer.decode(list(ids), skip_special_tokens=False) == text


@given(TEXTS, TEXTS, TEXTS)
def test_a_prompt_has_the_markers_of_its_messages_and_no_more(goal: str, seen: str, block: str) -> None:
    student, teacher = WORDS.prompt(goal, seen), WORDS.prompt(goal, seen, block)
    for ids in (student, teacher):
        assert [i for i in ids if i in (START, END)] == [START, END, START, END, START]
    # All that the teacher has more lies in the system message, and begins where the student's ends.
    close = student.index(END)
    assert student[:close] == teacher[:close]
    assert teacher[len(teacher) - (len(student) - close) :] == student[close:]
    assert student[-len(WORDS.observation(seen)) :] == WORDS.observation(seen)


def test_the_row_is_what_the_library_renders() -> None:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(chat_tokenizer().to_str()))
    goal, block = "put a mug in the desk", "- Mugs are kept in cabinet 3."
    seen, said = ["You are in a house.", "You see a mug 1."], ["go to desk 1"]
    ids = WORDS.prompt(goal, seen[0], block) + WORDS.action(said[0])
    ids += WORDS.seam(WORDS.action(said[0])) + WORDS.observation(seen[1])
    rendered = wrapped.apply_chat_template(
        dialogue_messages(WORDS, goal, block, seen, said),
        chat_template=CHATML,
        tokenize=False,
        add_generation_prompt=True,
    )
    assert WORDS.tokenizer.decode(ids, skip_special_tokens=False) == rendered


def test_an_answer_that_was_cut_is_closed_by_the_seam() -> None:
    whole = WORDS.action("go to desk 1")
    assert WORDS.seam(whole[:-1]) == [END, *WORDS.seam(whole)]
    assert WORDS.tokenizer.decode(WORDS.seam(whole), skip_special_tokens=False) == "\n<|im_start|>user\n"
    # The model may end with another token than the template's: that one stays, and the turn is closed.
    assert WORDS.stop_ids == {0, END}
    assert WORDS.seam([*whole[:-1], 0]) == [END, *WORDS.seam(whole)]
    assert WORDS.decode([*whole[:-1], 0]) == WORDS.decode(whole) == WORDS.decode(whole[:-1]) == "go to desk 1"


def test_a_demonstrated_action_has_the_form_that_is_asked_for() -> None:
    tagged = chat(prompts=dataclasses.replace(PROMPTS, action_format="tagged"))
    ids = tagged.action("go to desk 1")
    assert tagged.decode(ids) == "<action>go to desk 1</action>"
    assert tagged.read(ids).action == WORDS.read(WORDS.action("go to desk 1")).action == "go to desk 1"
    assert not WORDS.read(ids).fault
    assert tagged.read(WORDS.action("go to desk 1")).fault == "there is no <action>...</action>"


def test_pieces_name_every_row_of_the_output() -> None:
    pieces = WORDS.pieces()
    size = WORDS.tokenizer.get_vocab_size()
    assert len(pieces) == size + UNKNOWN
    assert pieces[END] == "<|im_end|>"
    assert pieces[size:] == [""] * UNKNOWN
    assert "".join(pieces[i] for i in WORDS.encode("go to desk 1")) == "go to desk 1"


def played(context: str) -> Episode:
    """Three turns, the second of them cut."""
    ids = WORDS.prompt("put a mug in the desk", "You are in a house.")
    prompt, mask, turns = len(ids), [False] * len(ids), []
    seen = ["You are in a house.", "You see a mug 1.", "It is closed."]
    for index, said in enumerate(("go to desk 1", "open", "look")):
        if index:
            more = [*WORDS.seam(ids), *WORDS.observation(seen[index])]
            ids, mask = ids + more, mask + [False] * len(more)
        action = WORDS.action(said)[: -1 if index == 1 else None]
        turns.append(
            Turn(index=index, observation=seen[index], action=said, reward=0.0, valid=True,
                 start=len(ids), end=len(ids) + len(action))
        )  # fmt: skip
        ids, mask = ids + action, mask + [True] * len(action)
    return Episode(
        id="e", task_id="t", task_type="k", group=0, sample=0, seed=0, turns=tuple(turns),
        prompt_length=prompt, token_ids=np.array(ids, dtype=np.int32), action_mask=np.array(mask),
        sampler_logprobs=np.zeros(len(ids), dtype=np.float32), episode_return=0.0, success=False,
        stop_reason=StopReason.MAX_STEPS, context_policy=context,
    )  # fmt: skip


@pytest.mark.parametrize("block", ["", "- Mugs are kept in cabinet 3."])
def test_a_window_is_a_conversation_that_begins_with_its_first_observation(block: str) -> None:
    episode = played("window:1")
    goal, observations = "put a mug in the desk", [turn.observation for turn in episode.turns]
    prompt = np.array(WORDS.prompt(goal, observations[0], block), dtype=np.int32)
    rows = episode_rows(episode, prompt, cuts(episode, WORDS))
    between = len(WORDS.encode("\n")) + 1 + len(WORDS.encode("user\n"))
    assert cuts(episode, WORDS).seams == (between, between + 1, between)  # a cut answer is closed first
    for row, turn in zip(rows, episode.turns, strict=True):
        oldest = max(turn.index - 1, 0)
        expected = WORDS.prompt(goal, observations[oldest], block)
        for earlier in episode.turns[oldest : turn.index]:
            said = episode.token_ids[earlier.start : earlier.end].tolist()
            expected += [*said, *WORDS.seam(said), *WORDS.observation(observations[earlier.index + 1])]
        said = episode.token_ids[turn.start : turn.end].tolist()
        assert row.token_ids.tolist() == expected + said
        assert row.token_ids[row.positions].tolist() == said


def test_a_folder_says_how_its_policy_talks(tmp_path: Path) -> None:
    folder = save_chat_model(tmp_path / "model")
    assert is_chat(folder)
    assert not is_chat(STARTER)
    assert isinstance(load_dialogue(STARTER), StarterDialogue)
    bare = load_dialogue(folder)
    assert isinstance(bare, ChatDialogue)
    assert bare.prompts == Prompts()
    assert bare.fingerprint == WORDS.fingerprint
    assert bare.stop_ids == {*STOPS, END}
    assert bare.encode("go to desk 1") == WORDS.encode("go to desk 1")


def test_a_chat_policy_survives_saving(tmp_path: Path) -> None:
    policy = chat_policy()
    save_policy(tmp_path / "first", policy.model, policy.dialogue)
    loaded = load_policy(policy_folder(str(tmp_path / "first")))
    assert isinstance(loaded.dialogue, ChatDialogue)
    assert loaded.dialogue.prompts == PROMPTS
    assert loaded.dialogue.prompt("a", "b", "c") == policy.dialogue.prompt("a", "b", "c")
    assert loaded.dialogue.pieces() == policy.dialogue.pieces()
    save_policy(tmp_path / "second", loaded.model, loaded.dialogue)
    assert policy_id(tmp_path / "first") == policy_id(tmp_path / "second")
    names = {path.name for path in (tmp_path / "second").iterdir()}
    assert {"chat_template.jinja", "dialogue.json", "tokenizer_config.json"} <= names


@pytest.mark.parametrize("name", ["chat_template.jinja", "dialogue.json"])
def test_template_and_prompts_are_part_of_a_policys_identity(tmp_path: Path, name: str) -> None:
    policy = chat_policy()
    save_policy(tmp_path, policy.model, policy.dialogue)
    before = policy_id(tmp_path)
    (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
    assert policy_id(tmp_path) != before


def test_a_tokenizer_that_spells_its_markers_is_refused() -> None:
    vocabulary = {token: i for i, token in enumerate(["<|im_start|>", "<|im_end|>", "<unk>", "a", "b"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    with pytest.raises(InputError, match=r"makes the marker '<\|im_start\|>' out of ordinary text"):
        ChatDialogue(ChatModel("words", tokenizer, CHATML, {}, frozenset(), 5), PROMPTS)


def test_a_tokenizer_that_changes_texts_is_refused() -> None:
    values = Tokenizer.from_str(chat_tokenizer().to_str())
    values.normalizer = normalizers.Lowercase()
    with pytest.raises(InputError, match=r"the pieces of a conversation with shouting give .* renders"):
        ChatDialogue(ChatModel("shouting", values, CHATML, {}, frozenset(), 600), PROMPTS)


@pytest.mark.parametrize("text", ["{", "[1]", '{"system": 3}', '{"sytem": ""}'])
def test_malformed_prompts_of_a_policy_are_refused(tmp_path: Path, text: str) -> None:
    folder = save_chat_model(tmp_path / "model")
    (folder / "dialogue.json").write_text(text)
    with pytest.raises(InputError, match=r"dialogue\.json is malformed .*allowed: texts named system, task"):
        load_dialogue(folder)
