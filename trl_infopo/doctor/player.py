# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A player that knows only the schemas of the tools, the conversation and the row."""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from transformers.utils import get_json_schema

from .._environment import find_user
from .._schemas import SchemaTool
from ..policies import SeededEpisode
from ..turns import content_text


# What a player says to a user of whom nothing is known
QUESTIONS = (
    "What do you need?",
    "Where, and when?",
    "Which one do you mean?",
    "How many, and for whom?",
    "Is there anything else that I should know?",
    "Tell me more about {word}.",
    "What about {word}?",
)
GOODBYE = "That is all."


def act_at_random(episodes: list[SeededEpisode], row: dict) -> None:
    """A policy that knows only the schemas of the tools, the conversation and the row."""
    for episode in episodes:
        rng = episode.next_action_rng()
        own = [message for message in episode.completion if message["role"] == "assistant"]
        if own and rng.random() < 0.2:
            episode.act(deepcopy(own[-1]))
            continue
        words = _words(episode, row)
        has_user = find_user(episode.environment) is not None
        if episode.tools and rng.random() < (0.6 if has_user else 0.9):
            name = rng.choice(list(episode.tools))
            function = {"name": name, "arguments": _draw_arguments(episode.tools[name], words, rng)}
            episode.act(
                {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
            )
        elif has_user:
            episode.act({"role": "assistant", "content": rng.choice(QUESTIONS).format(word=rng.choice(words))})
        else:
            episode.act({"role": "assistant", "content": GOODBYE})


def _words(episode: SeededEpisode, row: dict) -> list[str]:
    """Words that may have a meaning in the task: from the conversation and the texts of the row."""
    said = [content_text(message["content"]) for message in episode.prompt + episode.completion + episode.feedback]
    told = [text for key, value in row.items() if key != "prompt" for text in _texts(value)]
    return sorted({*re.findall(r"\w{3,}", " ".join(said)), *told}) or ["it"]


def _texts(value: Any) -> Iterator[str]:
    """The short texts and the names in a nested value."""
    if isinstance(value, str) and 0 < len(value) <= 40:
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(key)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _draw_arguments(tool: Callable, words: list[str], rng: random.Random) -> dict[str, Any]:
    schema = schema_of(tool)["function"]
    parameters = schema["parameters"]
    named = re.findall(r"`([^`]+)`", schema["description"])
    return {
        name: _draw(kind, [named, words], rng)
        for name, kind in parameters["properties"].items()
        if name in parameters.get("required", ()) or rng.random() < 0.5
    }


def _draw(schema: dict, pools: list[list[str]], rng: random.Random) -> Any:
    """A value that fits a schema. Text comes from its description, from the tool's, or from the conversation."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "array":
        return [_draw(schema.get("items", {}), pools, rng) for _ in range(rng.randint(1, 2))]
    if kind == "object":
        return {}
    if kind in ("integer", "number"):
        return rng.randint(0, 9)
    if kind == "boolean":
        return rng.random() < 0.5
    described = re.findall(r"`([^`]+)`", schema.get("description", ""))
    if described and rng.random() < 0.7:
        return rng.choice(described)
    return rng.choice(rng.choice([pool for pool in pools if pool]))


def schema_of(tool: Callable) -> dict[str, Any]:
    return tool if isinstance(tool, SchemaTool) else get_json_schema(tool)
