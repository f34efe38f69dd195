# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A function as a policy."""

from collections.abc import Callable
from typing import Any

from .._describe import describe
from .._show import show
from .protocol import PolicyError, SeededEpisode


class ScriptedPolicy:
    """
    A function as a policy.

    Args:
        function (`Callable[[list[dict], list[Callable]], dict]`):
            Makes the next assistant message from the messages so far and the tools.
    """

    def __init__(self, function: Callable[[list[dict], list[Callable]], dict]):
        if not callable(function):
            raise TypeError(
                f"`policy` is a {type(function).__name__}. Pass the path or hub id of a model, a model and its "
                "tokenizer as a tuple, a `ChatPolicy`, or a function of the messages and the tools."
            )
        self.function = function

    @property
    def description(self) -> dict[str, str]:
        return {"policy": describe(self.function)}

    def make_actor(self, **settings) -> Callable[[list[SeededEpisode]], None]:
        def act(episodes: list[SeededEpisode]) -> None:
            for episode in episodes:
                messages = episode.prompt + episode.completion + episode.feedback
                message = self.function(messages, list(episode.tools.values()))
                if not _is_message(message):
                    raise PolicyError(
                        f"The policy {describe(self.function)} returned {show(message)} in {episode.name}. Return a "
                        '`dict` with the `role` "assistant", text as its `content`, and for tool calls `tool_calls`, '
                        'a list of {"function": {"name": ..., "arguments": ...}}.'
                    )
                episode.act(message)

        return act


def _is_message(message: Any) -> bool:
    """Whether the loop accepts it. Arguments may be anything: the call fails, and the policy is told so."""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    tool_calls = message.get("tool_calls") or []
    if not isinstance(tool_calls, list) or not all(map(_is_tool_call, tool_calls)):
        return False
    return isinstance(message.get("content"), str) or bool(tool_calls)


def _is_tool_call(tool_call: Any) -> bool:
    function = tool_call.get("function") if isinstance(tool_call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str) and "arguments" in function
