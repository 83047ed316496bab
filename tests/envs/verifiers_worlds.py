"""A small verifiers environment: guess a number, and be told whether it is higher or lower."""

from __future__ import annotations

import asyncio
from typing import Any

import verifiers as vf
from datasets import Dataset

SYSTEM = "Answer with <guess>N</guess>."


class Guessing(vf.MultiTurnEnv):  # type: ignore[misc]
    """Thinks of the number in the row's `answer`."""

    async def setup_state(self, state: Any) -> Any:
        state["guesses"] = 0
        return state

    async def env_response(self, messages: Any, state: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        guess = self.parser.parse_answer(messages[-1:])
        state["guesses"] += 1
        if guess == "boom":
            raise vf.Error("the number fell off the table")
        if guess == "crash":
            raise ZeroDivisionError("no such number")
        if guess is None or not guess.isdigit():
            return [vf.UserMessage(content="That is no number.")]
        if guess == state["answer"]:
            state["final_env_response"] = [vf.UserMessage(content="Right!")]
            return []
        higher = int(state["answer"]) > int(guess)
        return [{"role": "user", "content": "Higher." if higher else "Lower."}]


async def found(state: Any, answer: str, parser: Any, completion: Any) -> float:
    return float(parser.parse_answer(completion) == answer)


async def quickly(state: Any) -> float:
    return 1.0 / state["guesses"] if state["guesses"] else 0.0


def rows(numbers: range) -> Any:
    return Dataset.from_list(
        [{"question": f"Guess number {number}.", "answer": str(number % 9 + 1)} for number in numbers]
    )


def load_environment(size: int = 10, evaluation: bool = True, max_turns: int = 4) -> vf.Environment:
    parser = vf.XMLParser(["guess"], answer_field="guess")
    rubric = vf.Rubric(funcs=[found, quickly], weights=[1.0, 0.5], parser=parser)
    return Guessing(
        dataset=rows(range(size)),
        eval_dataset=rows(range(100, 103)) if evaluation else None,
        system_prompt=SYSTEM,
        parser=parser,
        rubric=rubric,
        max_turns=max_turns,
    )


def single_turn() -> vf.Environment:
    return vf.SingleTurnEnv(dataset=rows(range(3)), rubric=vf.Rubric(funcs=[length]))


async def length(completion: Any) -> float:
    return float(len(completion[-1]["content"]))


def with_tools() -> vf.Environment:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    return vf.ToolEnv(tools=[add], dataset=rows(range(3)))


def with_groups() -> vf.Environment:
    def best(completions: Any) -> list[float]:
        return [1.0 for _ in completions]

    return Guessing(dataset=rows(range(3)), rubric=vf.Rubric(funcs=[best]))
