# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a family of tasks is, and what all of them read in conversations."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


USEFUL, USELESS, REPEATED = QUESTIONS = ("useful", "useless", "repeated")


@dataclass(frozen=True)
class Family:
    """
    Tasks that are spoken about in the same words, and the habits of those who demonstrate them.

    Attributes:
        make_environment (`Callable`):
            Makes an environment, given options.
        make_dataset (`Callable`):
            Makes a dataset, given a split, a number of rows, a seed and options.
        phrases (`tuple[str, ...]`):
            Tokens of the policy.
        demonstrate (`Callable[[list[dict], random.Random], dict]`):
            Next message of the demonstrator.
        oracle (`Callable[[list[dict], list], dict]`):
            Next message of who plays well.
        classify (`Callable[[dict, list[dict]], list[str | None]]`):
            For each assistant message of a completion: what kind of question it was, one of [`QUESTIONS`], `None`
            where it was none.
        placeholder (`str`):
            Stands in for masked feedback: what the user says who has nothing to say.
        users (`Mapping[str, dict]`):
            Options of the environments of the demonstrations, by name.
        tasks (`tuple[dict, ...]`):
            Options of their datasets.
    """

    make_environment: Callable[..., Any]
    make_dataset: Callable[..., Any]
    phrases: tuple[str, ...]
    demonstrate: Callable[[list[dict], random.Random], dict]
    oracle: Callable[[list[dict], list[Callable]], dict]
    classify: Callable[[dict, list[dict]], list[str | None]]
    placeholder: str
    users: Mapping[str, dict] = field(default_factory=lambda: {"plain": {}})
    tasks: tuple[dict, ...] = ({},)


def tool_call(content: str, name: str, /, **arguments) -> dict:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


def exchanges(messages: list[dict]) -> list[tuple[dict, str]]:
    """Each assistant message with the feedback that came back, empty where none did."""
    pairs = []
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        if message["role"] == "assistant":
            has_feedback = following is not None and following["role"] != "assistant"
            pairs.append((message, following["content"] if has_feedback else ""))
    return pairs


def first_call(message: dict) -> tuple[str, dict]:
    """Name and arguments of a message's first tool call, empty where it has none."""
    for call in message.get("tool_calls") or []:
        arguments = call["function"].get("arguments")
        return call["function"].get("name", ""), arguments if isinstance(arguments, dict) else {}
    return "", {}
