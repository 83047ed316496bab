"""Whole rounds with a chat model: prompts of the environment, both context policies, both action formats."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_models import chat, save_chat_model
from numpy.typing import NDArray
from small_runs import SmallRun, learn, small_config, start

from sdar import envs
from sdar.envs.household.environment import Household
from sdar.envs.registry import BUILTIN, missing_extra
from sdar.policy.chat import ChatDialogue
from sdar.policy.prompts import FORMATS, read_prompts
from sdar.policy.sampler import SampledAction
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import Episode, StopReason
from sdar.tasks import bootstrap
from sdar.tasks.registry import STAGES
from sdar.tasks.rollout import Assignment, RolloutLimits, roll_out
from sdar.tasks.score import student_rows, teacher_rows
from sdar.tasks.stage import read_fields

CONTEXT = 2048


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("chat") / "model")


def settings(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {
        "policy": {"max_tokens": CONTEXT},
        "rollout": {"max_action_tokens": 12},
        "env": {"max_steps": 3},
    }
    for section, values in changes.items():
        merged[section] = {**merged.get(section, {}), **values}
    return merged


CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "conversation, plain": {},
    "window, tagged": {
        "rollout": {"context": "window", "history_length": 1},
        "policy": {"action_format": "tagged"},
        "sdar": {"teacher": "ema"},
    },
}


@pytest.fixture(scope="module", params=list(CHANGES))
def run(request: pytest.FixtureRequest, model: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Two rounds: the second policy is loaded from what the first update wrote."""
    config = small_config(model, settings(CHANGES[request.param]))
    return learn(tmp_path_factory.mktemp("store") / "store", config, 2)


def dialogue(run: SmallRun, number: int) -> ChatDialogue:
    artifact = run.artifacts[(number, "update") if number else (0, "bootstrap")]
    blob = run.store.artifact(artifact).blob
    assert blob is not None
    found = run.session.shelf.get(artifact, blob).dialogue
    assert isinstance(found, ChatDialogue)
    return found


def test_every_policy_of_the_run_is_asked_as_the_environment_wants(run: SmallRun) -> None:
    prompts = [dialogue(run, number).prompts for number in range(3)]
    assert prompts[0] == prompts[1] == prompts[2]
    assert prompts[0].action_format == run.session.config.policy.action_format
    assert "household tasks" in prompts[0].system
    assert "Example of an action: go to cabinet 3" in prompts[0].system
    assert prompts[0].system.endswith((FORMATS / f"{prompts[0].action_format}.md").read_text().strip())
    first, second = (run.store.policy(run.artifacts[place]) for place in ((0, "bootstrap"), (1, "update")))
    assert first.tokenizer_hash == second.tokenizer_hash
    assert first.id != second.id


def test_sampler_and_learner_agree_and_the_teacher_shares_all_ids_after_the_head(run: SmallRun) -> None:
    tasks = {task.id: task for task in run.store.tasks(run.artifacts[2, "collect"])}
    contexts = {c.episode_id: c for c in run.store.contexts(run.artifacts[2, "retrieve"])}
    scores = {s.episode_id: s for s in run.store.scores(run.artifacts[2, "score"])}
    words = dialogue(run, 1)
    for episode in run.store.episodes(run.artifacts[2, "collect"]):
        sampled = episode.sampler_logprobs[episode.action_mask]
        np.testing.assert_allclose(scores[episode.id].student, sampled, atol=1e-5)
        context = contexts[episode.id]
        assert context.skills
        mine, theirs = student_rows(episode, words), teacher_rows(episode, context, words)
        system = len(words.prompt(tasks[episode.task_id].goal, "")) - len(words.prompt("", ""))
        for student, teacher in zip(mine, theirs, strict=True):
            more = len(teacher.token_ids) - len(student.token_ids)
            assert more > words.count(context.block) > 0
            # They differ by a piece inside the system message; goal, observations, actions are the same.
            end = student.token_ids.tolist().index(words.end_id)
            assert teacher.token_ids[end + more :].tolist() == student.token_ids[end:].tolist()
            assert teacher.token_ids[:end].tolist() == student.token_ids[:end].tolist()
            assert (teacher.positions - student.positions).tolist() == [more] * len(student.positions)
        assert system > 0


def test_the_round_learned_something(run: SmallRun) -> None:
    for number in (1, 2):
        reports = run.store.updates(run.artifacts[number, "update"])
        assert all(report.gradient_norm > 0 and not report.skipped for report in reports)
    turns = [t for e in run.store.episodes(run.artifacts[1, "collect"]) for t in e.turns]
    assert not any(turn.valid for turn in turns)  # random weights know no action
    if run.session.config.policy.action_format == "tagged":
        assert {turn.action[0] for turn in turns} == {"["}
        assert all(turn.observation.startswith("Your answer was not") for turn in turns if turn.index)


def test_a_prompt_that_does_not_fit_is_told_with_numbers(model: Path, tmp_path: Path) -> None:
    config = small_config(model, {"policy": {"max_tokens": 120}, "rollout": {"max_action_tokens": 9}})
    _, session = start(tmp_path / "store", config)
    with session.store.writer("test"):
        for stage in ("bootstrap", "bank"):
            session.execute(stage, 0)
        with pytest.raises(ConfigError) as caught:
            session.execute("collect", 1)
    message = str(caught.value)
    found = int(message.partition(" has ")[2].partition(" tokens")[0])
    assert found > 120
    assert f"an action up to 9 (rollout.max_action_tokens): {found + 9} in all" in message
    assert "policy.max_tokens is 120" in message


def test_an_environment_without_prompts_is_told(tmp_path: Path) -> None:
    (tmp_path / "system.md").write_text("Play.")
    with pytest.raises(InputError, match=r"has no actions\.md; write system\.md"):
        read_prompts(tmp_path, "plain")
    (tmp_path / "actions.md").write_text("Say it.\n")
    assert read_prompts(tmp_path, "plain").system.startswith(
        "Play.\n\nSay it.\n\nAnswer with the action alone"
    )
    (tmp_path / "turn.md").write_text("You see: {observation} Act.")
    assert read_prompts(tmp_path, "tagged").turn == "You see: {observation} Act."
    (tmp_path / "task.md").write_text("Do it.")
    with pytest.raises(InputError, match=r"task\.md must hold {goal} once; found 0 times"):
        read_prompts(tmp_path, "plain")


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_every_environment_has_prompts(name: str) -> None:
    if missing_extra(BUILTIN[name]):
        pytest.skip(f"{name} is not installed")
    config = RunConfig.model_validate({"env": {"name": name}})
    found = bootstrap.prompts(config)
    own = Path(str(envs.__file__)).parent / name / "prompts" / "system.md"
    general = (bootstrap.GENERAL / "system.md").read_text().strip()
    assert found.system.startswith(own.read_text().strip() if own.is_file() else general)
    assert "xample" in found.system  # of an action: what a model copies first


def test_prompts_and_format_are_part_of_the_key_of_policy_0(model: Path, tmp_path: Path) -> None:
    def key(path: Path, form: str) -> dict[str, Any]:
        config = small_config(path, {"policy": {"action_format": form}})
        return read_fields(config, STAGES["bootstrap"])

    assert key(model, "plain") == key(model, "plain")
    assert key(model, "plain")["policy.prompts"] != key(model, "tagged")["policy.prompts"]
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "chat_template.jinja").write_text("{# more #}")
    assert key(other, "plain")["policy.content"] != key(model, "plain")["policy.content"]


class Recited:
    """Says the same answers to every conversation, one after the other."""

    engine = "recited"

    def __init__(self, words: ChatDialogue, answers: Sequence[tuple[str, bool]]) -> None:
        self.words, self.answers = words, list(answers)

    def start(self, uniforms: NDArray[np.float64], temperature: float) -> Recited:
        return self

    def act(self, rows: Sequence[int], new_ids: Sequence[Sequence[int]]) -> list[SampledAction]:
        text, complete = self.answers.pop(0)
        ids = [*self.words.encode(text), *([self.words.end_id] if complete else [])]
        return [SampledAction(ids, [0.0] * len(ids), complete) for _ in rows]


def recite(form: str, answers: Sequence[tuple[str, bool]], history: int | None = None) -> Episode:
    words = chat(prompts=dataclasses.replace(chat().prompts, action_format=form))
    limits = RolloutLimits(1.0, len(answers), CONTEXT, 40, history)
    task = Household().tasks("train")[0]
    [episode] = roll_out(
        Household.from_config,
        EnvironmentConfig(),
        words,
        Recited(words, answers),
        [Assignment(task, 0, 0, 1)],
        limits,
    )
    return episode


@pytest.mark.parametrize("history", [None, 0, 1])
def test_what_invalid_answers_do(history: int | None) -> None:
    episode = recite(
        "tagged",
        [
            ("<think>Where?</think><action>go to desk 1</action>", True),
            ("go to bed 1", True),
            ("<action>inventory</action>", False),
            ("<action>dance</action>", True),
            ("<action>look</action>", True),
        ],
        history,
    )
    told = [(turn.action, turn.valid) for turn in episode.turns]
    assert told == [
        ("go to desk 1", True),
        (
            "[there is no <action>...</action>] go to bed 1",
            False,
        ),  # the world heard no action: see the last turn
        ("inventory", False),  # cut by the limit
        ("dance", False),
        ("look", True),
    ]
    seen = [turn.observation for turn in episode.turns]
    assert seen[1].startswith("You arrive at desk 1.")
    assert seen[2] == "Your answer was not understood: there is no <action>...</action>.\nNothing happens."
    assert seen[3] == "You carry nothing."
    assert seen[4] == "Nothing happens."
    assert episode.stop_reason == StopReason.MAX_STEPS


def test_the_raw_text_can_be_had_from_the_ids() -> None:
    said = "<think>Where?</think><action>go to desk 1</action>"
    episode = recite("tagged", [(said, True)])
    words, turn = chat(), episode.turns[0]
    assert words.decode(episode.token_ids[turn.start : turn.end].tolist()) == said


def test_a_window_of_a_recited_episode_reads_as_a_conversation() -> None:
    episode = recite("plain", [("go to desk 1", True), ("look", False), ("inventory", True)], history=1)
    words = chat()
    texts = [
        words.tokenizer.decode(row.token_ids.tolist(), skip_special_tokens=False)
        for row in student_rows(episode, words)
    ]
    head, _, rest = texts[2].partition("<|im_start|>user\n")
    assert head == "<|im_start|>system\nYou do tasks in a house.<|im_end|>\n"
    goal = Household().tasks("train")[0].goal
    assert rest.startswith(f"Your task: {goal}\n\nYou arrive at desk 1.")
    assert rest.endswith(
        "<|im_start|>assistant\nlook<|im_end|>\n<|im_start|>user\nYou are at desk 1.<|im_end|>\n"
        "<|im_start|>assistant\ninventory<|im_end|>"
    )
