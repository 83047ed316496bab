"""One roll-out of a verifiers environment, which waits for the agent's action where it would ask a model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any

from sdar.schemas.errors import EnvironmentFailedError

OVER = "The episode is over."
"""What is observed at the end of an episode whose environment says nothing more."""


class Rollout:
    """Plays one row of the data set; `state` is verifiers' own state once the episode is over."""

    def __init__(self, world: Any, row: Mapping[str, Any]) -> None:
        self.state: Any = None
        self._world, self._row = world, row
        self._asked: asyncio.Queue[Sequence[Any]] = asyncio.Queue()
        self._given: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None

    def begin(self) -> Sequence[Any] | None:
        """Start and return the messages of the first prompt, or None where the episode is over."""
        return self._next(None)

    def answer(self, text: str) -> Sequence[Any] | None:
        """Give the agent's message and return those of the next prompt, or None at the end."""
        return self._next(text)

    def cancel(self) -> None:
        """Give up an episode that is under way, and let the environment clean up after it."""
        if self.state is None:
            _run(self._cancelled())

    def abandon(self) -> None:
        """Do the same without waiting for it."""
        if self.state is None and self._task is not None and not self._task.done():
            _loop().call_soon_threadsafe(self._task.cancel)

    def reward(self) -> float:
        """Return the reward that the rubric gave."""
        return float(self.state["reward"])

    def last_words(self) -> str:
        """Return what the environment said at the end, after the agent's last message."""
        return newest_text(self.state["completion"] or ()) or OVER

    def _next(self, text: str | None) -> Sequence[Any] | None:
        asked: Sequence[Any] | None = _run(self._until_asked(text))
        if self.state is not None and self.state["error"] is not None:
            error = self.state["error"]
            raise EnvironmentFailedError(f"{type(error).__name__}: {error}") from error
        return asked

    async def _until_asked(self, text: str | None) -> Sequence[Any] | None:
        if text is not None:
            await self._given.put(text)
        if self._task is None:
            self._task = asyncio.create_task(self._play())
        asked = asyncio.ensure_future(self._asked.get())
        await asyncio.wait({asked, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return asked.result()
        asked.cancel()
        self.state = self._task.result()
        return None

    async def _play(self) -> Any:
        client = _client_class()(self)
        state = await self._world.rollout(deepcopy(dict(self._row)), client, "agent", {})
        if state["error"] is None:
            await self._world.rubric.score_rollout(state)
        await self._world.rubric.cleanup(state)
        return state

    async def _cancelled(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def ask(self, messages: Sequence[Any]) -> str:
        """Wait for the agent's message; called where a model would be."""
        await self._asked.put(messages)
        return await self._given.get()


@cache
def _client_class() -> type[Any]:
    """Return the client class; its base is in an optional package."""
    clients, types = import_module("verifiers.clients"), import_module("verifiers.types")
    base: type[Any] = clients.Client

    class AgentClient(base):  # type: ignore[misc]
        """Answers with the actions of the agent that plays."""

        def setup_client(self, config: Any) -> Any:
            return config

        async def to_native_tool(self, tool: Any) -> Any:
            return tool

        async def to_native_prompt(self, messages: Any) -> tuple[Any, dict[str, Any]]:
            return messages, {}

        async def get_native_response(self, prompt: Any, *_: Any, **__: Any) -> str:
            rollout: Rollout = self.client
            return await rollout.ask(prompt)

        async def raise_from_native_response(self, response: str) -> None:
            """Do nothing: a text is never a provider's error."""

        async def from_native_response(self, response: str) -> Any:
            message = types.ResponseMessage(content=response, finish_reason="stop", is_truncated=False)
            return types.Response(id="agent", created=0, model="agent", message=message)

        async def close(self) -> None:
            """Do nothing: there is no connection."""

    return AgentClient


def text_of(message: Any) -> str:
    """Return the text of a message, without pictures and sound."""
    content = message["content"]
    if isinstance(content, str):
        return content
    parts = [part["text"] for part in content or () if part["type"] == "text"]
    return "\n".join(parts)


def conversation_text(messages: Sequence[Any], goal: str) -> str:
    """Return the texts of a prompt but for the goal itself, which the agent is told anyway."""
    texts = [text_of(message) for message in messages]
    if goal in texts:
        texts.remove(goal)
    return "\n\n".join(text for text in texts if text)


def newest_text(messages: Sequence[Any]) -> str:
    """Return the texts that came after the agent's last message."""
    texts: list[str] = []
    for message in messages:
        texts = [] if message["role"] == "assistant" else [*texts, text_of(message)]
    return "\n\n".join(text for text in texts if text)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all roll-outs, in its own thread: the caller may be inside another loop."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="verifiers", daemon=True).start()
    return loop


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()
