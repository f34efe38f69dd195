# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Calls of tools and users, which may take too long, and raise or return anything."""

import asyncio
import ctypes
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from threading import Semaphore, Thread
from typing import Any

from ._show import DEEPEST
from .users.base import UserSimulatorError, encodable


GRACE = 10.0  # seconds that an event loop may be late before it counts as blocked


class _AbandonedError(BaseException):
    """Ends a thread whose result is no longer needed."""


class FeedbackTimeout(TimeoutError):
    """A tool or a user took longer than `feedback_timeout`."""

    def __init__(self, seconds: float):
        super().__init__(f"No result within {seconds:g} s.")


def error_text(error: BaseException) -> str:
    """The text of an error, as TRL tells it to the agent; its type if its `str` fails as well."""
    try:
        return encodable(str(error))
    except Exception:
        return type(error).__name__


def encodable_message(message: Any, depth: int = 0) -> Any:
    """
    A message whose texts can be encoded: see [`~trl_infopo.users.base.encodable`].

    Args:
        message (`Any`):
            A message, or a part of one.
        depth (`int`, *optional*, defaults to `0`):
            How deep in the message the part is.

    Returns:
        `Any`: The message, copied where it holds text.

    Raises:
        `ValueError`: If it is nested more than 100 levels deep, which neither a template nor a log can write.
    """
    if depth > DEEPEST:
        raise ValueError(f"A message is nested more than {DEEPEST} levels deep.")
    if isinstance(message, str):
        return encodable(message)
    if isinstance(message, dict):
        parts = message.items()
        return {encodable_message(key, depth): encodable_message(value, depth + 1) for key, value in parts}
    if isinstance(message, list):
        return [encodable_message(part, depth + 1) for part in message]
    return message


def tool_content(result: Any) -> str | list:
    """
    The content of a tool's message, as in TRL: a result that is a list stays one, everything else becomes text.

    Args:
        result (`Any`):
            What the tool returned.

    Returns:
        `str` or `list`: The content, encodable.

    Raises:
        `Exception`: What the `str` of the result raises.
    """
    text = str(result)  # of a list too: its items may not be convertible, in a template or a log
    return encodable_message(result if isinstance(result, list) else text)


def block_content(result: Any) -> str | list:
    """
    The content of a tool's message in our loop, whose agents see text only: a list of text blocks stays one,
    everything else becomes text. Some chat templates fail on other lists, and some leave them out. Arguments, result
    and errors are those of [`tool_content`].
    """
    return tool_content(result if isinstance(result, list) and result and all(map(_is_text, result)) else str(result))


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str)


def call(function: Callable, arguments: dict[str, Any], timeout: float | None = None) -> Any:
    """
    Call a function. What it returns after the time limit is lost, and a thread that is still running it gets an
    exception as soon as it runs Python code again.

    Args:
        function (`Callable`):
            Function to call.
        arguments (`dict[str, Any]`):
            Its arguments.
        timeout (`float`, *optional*):
            Seconds that it may take. With a limit, it runs on another thread.

    Returns:
        `Any`: What it returned.

    Raises:
        [`FeedbackTimeout`]: If it took longer.
        `RuntimeError`: If it called `sys.exit`, or raised something else that is not an `Exception`.
        `Exception`: What it raised.
    """
    if timeout is None:
        return _without_exit(function, arguments)
    future = Future()

    def run() -> None:
        try:
            future.set_result(_without_exit(function, arguments))
        except BaseException as error:
            future.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_AbandonedError))
        raise FeedbackTimeout(timeout)
    return future.result()


def run_on_thread(function: Callable[[], Any], slots: Semaphore | None = None) -> Future:
    """
    Run a function on a thread that nobody has to wait for: not even Python at its end.

    Args:
        function (`Callable[[], Any]`):
            Function to run.
        slots (`threading.Semaphore`, *optional*):
            How many may run at once. Until it is its turn, the function can be cancelled.

    Returns:
        `concurrent.futures.Future`: Its result.
    """
    future = Future()

    def run() -> None:
        with slots or nullcontext():
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def _without_exit(function: Callable, arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except (Exception, KeyboardInterrupt):  # the latter may be the terminal's
        raise
    except BaseException as error:
        raise _exit_error(error) from error


async def finish(pending: Awaitable, timeout: float | None = None) -> Any:
    """
    Await a call that has started. If it does not end within the limit, it is cancelled and not waited for.

    Args:
        pending (`Awaitable`):
            What to wait for.
        timeout (`float`, *optional*):
            Seconds that it may take.

    Returns:
        `Any`: Its result.

    Raises:
        [`FeedbackTimeout`]: If it took longer.
        `RuntimeError`: If it raised `SystemExit`, or something else that is not an `Exception`.
        `Exception` or `asyncio.CancelledError`: What it raised.
    """
    task = asyncio.ensure_future(pending)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
    finally:
        task.cancel()  # unless it is done
    if not done:
        raise FeedbackTimeout(timeout)
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, Exception):
        raise _exit_error(error) from error
    return task.result()


def guard_event_loop(event_loop: asyncio.AbstractEventLoop) -> None:
    """
    Keep an event loop alive: an exit that is raised in one of its tasks becomes an error of that task. With asyncio
    alone, the exit would end the loop's thread, and callers that wait for the loop would wait forever.
    """

    async def guard(coroutine: Coroutine) -> Any:
        try:
            return await coroutine
        except (SystemExit, KeyboardInterrupt) as error:
            raise _exit_error(error) from error

    event_loop.set_task_factory(
        lambda loop, coroutine, **options: asyncio.Task(guard(coroutine), loop=loop, **options)
    )


def _exit_error(error: BaseException) -> RuntimeError:
    return RuntimeError(f"{type(error).__name__}: {error_text(error)}")


def run_on(event_loop: asyncio.AbstractEventLoop, coroutine: Coroutine, limit: float | None = None) -> Any:
    """
    Run a coroutine on an event loop in another thread, and wait for it.

    Args:
        event_loop (`asyncio.AbstractEventLoop`):
            The event loop.
        coroutine (`Coroutine`):
            The coroutine to run.
        limit (`float`, *optional*):
            Seconds after which the event loop counts as blocked.

    Returns:
        `Any`: Its result.

    Raises:
        `RuntimeError`: If the event loop is blocked, or is not running any more.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, event_loop)
    waited = 0.0
    while True:
        try:
            return future.result(timeout=1.0)
        except TimeoutError:
            if future.done():
                raise
        waited += 1.0
        check_event_loop(event_loop, waited, limit)


def check_event_loop(event_loop: asyncio.AbstractEventLoop, waited: float, limit: float | None) -> None:
    """
    Check that it makes sense to go on waiting for an event loop in another thread.

    Args:
        event_loop (`asyncio.AbstractEventLoop`):
            The event loop.
        waited (`float`):
            Seconds since its last result.
        limit (`float`, *optional*):
            Seconds after which it counts as blocked.

    Raises:
        `RuntimeError`: If the event loop is blocked, or no longer running.
    """
    if not event_loop.is_running():
        raise RuntimeError("The event loop of async tools and users has stopped. Has one of them closed it?")
    if limit is not None and waited > limit + GRACE:
        raise RuntimeError(
            "An async tool or user blocks the event loop for longer than `feedback_timeout`. Let it await instead "
            "of waiting (`await asyncio.sleep` for `time.sleep`), or make it a plain function."
        )


class ToolGuard:
    """
    Wraps the tools of a rollout for TRL's own loop. The agent is told what they return and raise as in TRL, in text
    that can be encoded; the time limit applies; and an error of a user inside a tool is kept, as TRL would only tell
    it to the agent.

    Args:
        timeout (`float`, *optional*):
            Seconds that a tool may take.

    Attributes:
        num_timeouts (`int`):
            Number of calls that took longer.
        error ([`~trl_infopo.users.UserSimulatorError`], *optional*):
            The last error of a user.
    """

    def __init__(self, timeout: float | None):
        self.timeout = timeout
        self.num_timeouts = 0
        self.error: UserSimulatorError | None = None

    def wrap(self, tool: Callable) -> Callable:
        """A function to run instead of a tool."""

        @functools.wraps(tool)  # Python names it where arguments do not fit
        def run(**arguments) -> str | list:
            with self._telling_errors():
                return tool_content(call(tool, arguments, self.timeout))

        return run

    def wrap_async(self, tool: Callable) -> Callable:
        """A function that makes a coroutine to await instead of an async tool's."""

        async def await_result(pending: Coroutine) -> str | list:
            with self._telling_errors():
                return tool_content(await finish(pending, self.timeout))

        @functools.wraps(tool)
        def run(**arguments) -> Coroutine:  # not async itself: wrong arguments must fail at the call
            return await_result(tool(**arguments))

        return run

    @contextmanager
    def _telling_errors(self) -> Iterator[None]:
        try:
            yield
        except UserSimulatorError as error:
            self.error = error
            raise
        except Exception as error:
            self.num_timeouts += isinstance(error, FeedbackTimeout)
            raise RuntimeError(error_text(error)) from error
