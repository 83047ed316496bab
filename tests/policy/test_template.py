"""Chat templates of the families in use, in their essentials, and what cannot be appended to."""

from __future__ import annotations

import pytest
from chat_models import CHATML, PROMPTS, chat

from sdar.policy.chat import dialogue_messages
from sdar.policy.prompts import Prompts
from sdar.schemas.errors import InputError

GOAL, BLOCK = "put a mug in the desk", "- Mugs are kept in cabinet 3."
SEEN, SAID = ["You are in a house.", "You see a mug 1.", "Nothing happens."], ["go to desk 1", "look"]

LLAMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set said = messages[0]['content'] | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set said = '' %}{% endif %}"
    "{{ '<|start|>system<|stop|>\n\nToday: ' + strftime_now('%d %b %Y') + '\n\n' + said + '<|eot|>' }}"
    "{% for message in messages %}{{ '<|start|>' + message['role'] + '<|stop|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant<|stop|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else 'user' %}"
    "{{ '<|start|>' + role + '\n' + m['content'] | trim + '<|eot|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>model\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{% set said = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in said %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + said + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}"
    "{% endif %}{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}{{ bos_token }}"
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '<|start|>' + (first if loop.last else '') + m['content'] + '<|stop|>' }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
THREE = ("<|endoftext|>", "<|bos|>", "<|eot|>", "<|start|>", "<|stop|>")


def texts(template: str, markers: tuple[str, ...] | None = None) -> tuple[str, str]:
    """The student's and the teacher's row as text."""
    words = chat(template, PROMPTS, markers) if markers else chat(template)
    rows = []
    for block in ("", BLOCK):
        ids = words.prompt(GOAL, SEEN[0], block)
        for said, seen in zip(SAID, SEEN[1:], strict=True):
            ids += [*words.action(said), *words.seam(words.action(said)), *words.observation(seen)]
        rows.append(words.tokenizer.decode(ids, skip_special_tokens=False))
    return rows[0], rows[1]


def test_chatml() -> None:
    student, teacher = texts(CHATML)
    body = (
        "<|im_start|>user\nYour task: put a mug in the desk\n\nYou are in a house.<|im_end|>\n"
        "<|im_start|>assistant\ngo to desk 1<|im_end|>\n<|im_start|>user\nYou see a mug 1.<|im_end|>\n"
        "<|im_start|>assistant\nlook<|im_end|>\n<|im_start|>user\nNothing happens.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    system = "<|im_start|>system\nYou do tasks in a house."
    assert student == f"{system}<|im_end|>\n{body}"
    assert teacher == f"{system}\n\nYou know:\n- Mugs are kept in cabinet 3.<|im_end|>\n{body}"


def test_a_template_with_a_date_prints_the_same_one_every_day() -> None:
    student, teacher = texts(LLAMA, THREE)
    start = "<|bos|><|start|>system<|stop|>\n\nToday: 26 Jul 2024\n\nYou do tasks in a house."
    assert student.startswith(f"{start}<|eot|><|start|>user<|stop|>\n\nYour task: put a mug")
    assert teacher.startswith(
        f"{start}\n\nYou know:\n{BLOCK}<|eot|><|start|>user<|stop|>\n\nYour task: put a"
    )
    assert student.endswith("<|stop|>\n\nlook<|eot|><|start|>user<|stop|>\n\nNothing happens.<|eot|>"
                            "<|start|>assistant<|stop|>\n\n")  # fmt: skip


def test_without_system_messages_the_system_text_begins_the_first_user_text() -> None:
    student, teacher = texts(GEMMA, THREE)
    first = "Your task: put a mug in the desk\n\nYou are in a house.<|eot|>\n<|start|>model\ngo to"
    assert student.startswith(f"<|bos|><|start|>user\nYou do tasks in a house.\n\n{first}")
    assert teacher.startswith(
        f"<|bos|><|start|>user\nYou do tasks in a house.\n\nYou know:\n{BLOCK}\n\n{first}"
    )


def test_a_reasoning_block_before_the_newest_answer_stays_in_the_row() -> None:
    student, _ = texts(QWEN3)
    assert student.count("<|im_start|>assistant\n<think>\n\n</think>\n\n") == 3
    words = chat(QWEN3)
    rendered = words.render(dialogue_messages(words, GOAL, "", SEEN, SAID))
    assert rendered.count("<think>") == 1
    assert student.replace("<think>\n\n</think>\n\n", "") == rendered.replace("<think>\n\n</think>\n\n", "")


def test_a_model_that_may_think_is_not_given_an_empty_block() -> None:
    words = chat(QWEN3, Prompts("Act.", action_format="tagged"))
    ids = words.prompt(GOAL, SEEN[0])
    assert words.tokenizer.decode(ids, skip_special_tokens=False).endswith("<|im_start|>assistant\n")
    # Reasoning that was sampled stays in the row, although the template would leave it out later.
    said = [*words.encode("<think>Mugs?</think><action>look</action>"), words.end_id]
    assert words.read(said).action == "look"
    assert words.decode(said).startswith("<think>Mugs?</think>")


def test_without_any_prompt_the_template_speaks_for_itself() -> None:
    words = chat(CHATML, Prompts())
    text = words.tokenizer.decode(words.prompt("Hello.", "Hi."), skip_special_tokens=False)
    assert text.startswith(
        "<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\nHello.\n\nHi.<|im_end|>"
    )


def test_a_system_text_that_the_template_moves_is_folded_into_the_first_user_text() -> None:
    student, _ = texts(MISTRAL, THREE)
    assert student.startswith("<|bos|><|start|>You do tasks in a house.\n\nYour task: put a mug in the desk")
    assert student.count("You do tasks in a house.") == 1


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no') }}", "refuses users and assistants: no"),
        ("{{ messages[-1]['content'] }}", "drops or repeats messages"),
        (
            "{% for m in messages %}<|im_start|>{{ loop.index }}{{ m['content'] }}<|im_end|>{% endfor %}",
            "shows turns in different ways",
        ),
        (
            CHATML.replace("assistant\n' }}{% endif %}", "assistant\nSure! ' }}{% endif %}"),
            "puts 'Sure! ' before the newest answer alone",
        ),
        (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
            "ends an answer with '\\\\nuser: '; allowed: a special token",
        ),
        (
            CHATML.replace("+ message['content'] +", "+ message['content'] | upper +"),
            "drops or repeats|pieces",
        ),
    ],
)
def test_templates_that_cannot_be_appended_to_are_refused(template: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chat(template)
