# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Feedback on actions: tool calls and user replies, over all episodes of a batch."""

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from threading import Semaphore
from typing import Any

from ._environment import converses, find_user, has_schemas, is_thread_safe
from ._show import cut, show
from .calls import (
    FeedbackTimeout,
    block_content,
    call,
    check_event_loop,
    error_text,
    finish,
    run_on_thread,
    tool_content,
)
from .episodes import Episode, StopReason, visible_messages
from .users import UserSimulatorError
from .users.base import encodable


@dataclass
class Call:
    """A tool call or a message to the user, with its result or its error."""

    episode: Episode
    function: Callable
    arguments: dict[str, Any]
    timeout: float | None
    tool: str | None = None  # None: a message to the user
    result: Any = None
    error: BaseException | None = None
    pending: Awaitable | None = None
    seconds: float = 0.0

    def start(self) -> None:
        start = time.perf_counter()
        try:
            self.result = call(self.function, self.arguments, self.timeout)
        except Exception as error:  # told to the agent or raised by `deliver`
            self.error = error
        self.seconds = time.perf_counter() - start
        if isawaitable(self.result):
            self.pending, self.result = self.result, None

    async def finish(self, limit: asyncio.Semaphore) -> None:
        async with limit:
            start = time.perf_counter()
            try:
                self.result = await finish(self.pending, self.timeout)
            except (Exception, asyncio.CancelledError) as error:  # told to the agent or raised by `deliver`
                self.error = error
            self.seconds += time.perf_counter() - start
            self.pending = None

    def raise_failure(self, method: str) -> None:
        """Raise what went wrong in a method of the environment, and say where."""
        if self.error is None:
            return
        name = f"`{type(self.episode.environment).__name__}.{method}`"
        kind = UserSimulatorError if isinstance(self.error, UserSimulatorError) else RuntimeError
        raise kind(f"{name} failed in {self.episode.name}: {self._cause()}") from self.error

    def _cause(self) -> str:
        """The text of an error, cut if it is long."""
        cause = error_text(self.error) or show(self.error)
        if isinstance(self.error, FeedbackTimeout):
            cause += " Raise `feedback_timeout`, or see why it takes so long."
        return cut(cause)

    def deliver(self) -> None:
        """Turn the outcome into feedback, or end the episode."""
        if self.tool is None or isinstance(self.error, UserSimulatorError):
            self._deliver_reply()
        else:
            self._deliver_tool_result()

    def _deliver_tool_result(self) -> None:
        episode, result = self.episode, self.result
        episode.num_tool_calls += 1
        if isinstance(result, list) and any(isinstance(part, dict) and part.get("type") == "image" for part in result):
            raise ValueError(
                f"The tool `{self.tool}` returned an image in {episode.name}, but images are not supported where an "
                "environment has a user. Return text, or train without `user`."
            )
        if self.error is None:
            try:
                content = block_content(result) if converses(episode.environment) else tool_content(result)
            except Exception as error:  # its result cannot say what it is
                self.error = error
        if self.error is not None:
            episode.num_tool_failures += 1
            episode.num_tool_timeouts += isinstance(self.error, FeedbackTimeout)
            content = str({"error": error_text(self.error)})
        episode.feedback.append({"role": "tool", "name": self.tool, "content": content})

    def deliver_opening(self) -> None:
        """Add what the user says first to the prompt."""
        if self.error is None and self.result is None:
            return
        self._count_reply()
        text, episode = self.result, self.episode
        if not isinstance(text, str) or not text.strip():
            raise UserSimulatorError(
                f"The user of {episode.name} failed: `{type(episode.environment.user).__name__}.opening` returned "
                f"{show(text)}. Return text, or None to say nothing."
            )
        text, (*before, last) = encodable(text), episode.prompt
        if last["role"] != "user":
            episode.prompt = [*episode.prompt, {"role": "user", "content": text}]
        elif isinstance(last["content"], list):
            episode.prompt = [*before, {**last, "content": [*last["content"], {"type": "text", "text": text}]}]
        else:
            content = f"{last['content']}\n\n{text}" if last["content"] else text
            episode.prompt = [*before, {**last, "content": content}]

    def _count_reply(self) -> None:
        """Count what a user said, or raise what went wrong."""
        if self.error is not None:
            raise UserSimulatorError(f"The user of {self.episode.name} failed: {self._cause()}") from self.error
        self.episode.num_replies += 1
        self.episode.reply_seconds += self.seconds

    def _deliver_reply(self) -> None:
        self._count_reply()
        episode, result = self.episode, self.result
        if result is None:
            episode.stop_reason = StopReason.USER_ENDED
        elif isinstance(result, str) and result.strip():
            episode.feedback.append({"role": "user", "content": encodable(result)})
        else:
            raise UserSimulatorError(
                f"The user of {episode.name} failed: `{type(episode.environment.user).__name__}.reply` returned "
                f"{show(result)}. Return text, or None to end the conversation."
            )


def calls_of(episode: Episode, timeout: float | None) -> list[Call]:
    """What an episode's last action calls for: its tool calls, or a reply of the user."""
    tool_calls = episode.completion[-1].get("tool_calls")
    if not tool_calls:
        messages = visible_messages(episode.prompt + episode.completion)
        return [Call(episode, partial(find_user(episode.environment).reply, messages), {}, timeout)]
    calls = []
    for tool_call in tool_calls:
        name = tool_call["function"]["name"]
        # A name may be anything that a policy samples
        is_known = isinstance(name, str) and name in episode.tools
        function = episode.tools[name] if is_known else _unknown_tool(episode.environment, name)
        calls.append(Call(episode, function, tool_call["function"]["arguments"], timeout, tool=name))
    return calls


def _unknown_tool(environment: Any, name: Any) -> Callable:
    """What runs a tool that does not exist: `call_tool` if the environment has one, as it may count the mistake."""

    def ask(**arguments):
        return environment.call_tool(name, arguments)

    def fail(**arguments):
        raise ValueError(f"Tool {name} not found.")

    return ask if isinstance(name, str) and has_schemas(environment) else fail


class RunningCalls:
    """
    Calls that are running, a group for each episode: async ones and those of thread-safe environments concurrently,
    others in order on the calling thread. Calls that are still running when the context is left are abandoned.

    Args:
        event_loop (`asyncio.AbstractEventLoop`, *optional*):
            Loop that runs in another thread, for async calls.
        concurrency (`int`):
            Largest number of calls at once.
    """

    def __init__(self, event_loop: asyncio.AbstractEventLoop | None, concurrency: int):
        self.event_loop = event_loop
        self.concurrency = concurrency
        self._limit = asyncio.Semaphore(concurrency)
        self._slots = Semaphore(concurrency)
        self._groups: dict[Future, tuple[int, list[Call]]] = {}  # by their number, in the order of their start
        self._awaited: set[Future] = set()  # those that run on the event loop
        self._ended: list[tuple[int, list[Call]]] = []
        self._numbers = itertools.count()

    def __enter__(self) -> "RunningCalls":
        return self

    def __exit__(self, *exception) -> None:
        for future in self._groups:
            future.cancel()

    def __len__(self) -> int:
        return len(self._groups) + len(self._ended)

    def start(self, groups: list[list[Call]]) -> None:
        """Start the calls of several episodes."""
        in_order = []
        for group in zip(self._numbers, groups):
            if group[1] and is_thread_safe(group[1][0].episode.environment):
                self._groups[run_on_thread(partial(_start_in_order, group[1]), self._slots)] = group
            else:
                in_order.append(group)
        for group in in_order:
            _start_in_order(group[1])
            self._await(group)

    def collect(self, at_least: int = 1) -> list[list[Call]]:
        """
        Wait until groups have ended.

        Args:
            at_least (`int`, *optional*, defaults to `1`):
                Number of groups to wait for, if as many are running.

        Returns:
            `list[list[Call]]`: The groups that have ended since, in the order of their start.
        """
        waited = 0.0
        while True:
            for future in [future for future in self._groups if future.done()]:
                future.result()
                self._awaited.discard(future)
                self._await(self._groups.pop(future))
            if len(self._ended) >= at_least or not self._groups:
                ended, self._ended = sorted(self._ended, key=lambda group: group[0]), []
                return [calls for _, calls in ended]
            done, _ = wait(self._groups, timeout=1.0, return_when=FIRST_COMPLETED)
            waited = 0.0 if done else waited + 1.0
            if waited and self._awaited:
                check_event_loop(self.event_loop, waited, self._longest())

    def _await(self, group: tuple[int, list[Call]]) -> None:
        """Await, on the event loop, the coroutines that the calls of a group have made."""
        pending = [started for started in group[1] if started.pending is not None]
        if not pending:
            self._ended.append(group)
            return

        async def finish_together() -> None:
            await asyncio.gather(*(started.finish(self._limit) for started in pending))

        future = asyncio.run_coroutine_threadsafe(finish_together(), self.event_loop)
        self._awaited.add(future)
        self._groups[future] = group

    def _longest(self) -> float | None:
        """Seconds within which the next group must end on the event loop, if calls are limited."""
        calls = [started for future in self._awaited for started in self._groups[future][1]]
        if (timeout := calls[0].timeout) is None:
            return None
        return timeout * math.ceil(len(calls) / self.concurrency)


def run_together(groups: list[list[Call]], event_loop: asyncio.AbstractEventLoop | None, concurrency: int) -> None:
    """Run the calls of several episodes to their end."""
    if not groups:
        return
    with RunningCalls(event_loop, concurrency) as running:
        running.start(groups)
        running.collect(len(groups))


def _start_in_order(calls: list[Call]) -> None:
    for started in calls:
        started.start()
