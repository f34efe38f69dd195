# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A player that knows only the schemas of the tools, the conversation and the row."""

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
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

# Texts of the formats that JSON schemas name
FORMATS = {
    "date": "2026-01-31",
    "time": "12:30:00Z",
    "date-time": "2026-01-31T12:30:00Z",
    "duration": "P1D",
    "email": "kim@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com",
    "uuid": "9b2f7a54-3c1d-4e8f-8a6b-0d5e4c3b2a19",
}
DEEPEST = 4  # levels of nesting below which only what is required is drawn
LIMITS = ("multipleOf", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
# Keywords that tell the type of what they limit
TELLING = {"properties": "object", "items": "array", "prefixItems": "array", **dict.fromkeys(LIMITS, "number")}


def act_at_random(episode: SeededEpisode, row: dict) -> None:
    """A policy that knows only the schemas of the tools, the conversation and the row."""
    rng = episode.next_action_rng()
    own = [message for message in episode.completion if message["role"] == "assistant"]
    if own and rng.random() < 0.2:
        episode.act(deepcopy(own[-1]))
        return
    words = _words(episode, row)
    has_user = find_user(episode.environment) is not None
    if episode.tools and rng.random() < (0.6 if has_user else 0.9):
        name = rng.choice(list(episode.tools))
        function = {"name": name, "arguments": draw_arguments(schema_of(episode.tools[name]), words, rng)}
        episode.act({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]})
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


def draw_arguments(schema: dict, words: list[str], rng: random.Random) -> dict[str, Any]:
    """Arguments that fit a tool's schema. Text comes from their descriptions, from the tool's, or from the words."""
    function = schema["function"]
    named = re.findall(r"`([^`]+)`", function.get("description", ""))
    return _Draws(function["parameters"], [named, words], rng).draw_object(function["parameters"], 0)


@dataclass
class _Draws:
    """
    Draws values that fit JSON schemas.

    What a schema says by `not`, `if`, `contains`, `patternProperties` or `dependentRequired` is not read, and a
    `pattern` is met only if one of the texts meets it.
    """

    root: dict  # which `$ref`s refer to
    pools: list[list[str]]
    rng: random.Random

    def draw(self, schema: Any, depth: int) -> Any:
        schema = self._decide(schema, depth)
        if "const" in schema:
            return deepcopy(schema["const"])
        if "enum" in schema:
            return deepcopy(self.rng.choice(schema["enum"]))
        kinds = _kinds(schema)
        kind = self.rng.choice(kinds) if depth <= DEEPEST else next((k for k in kinds if k != "object"), kinds[0])
        if kind == "object":
            return self.draw_object(schema, depth)
        if kind == "array":
            return self._draw_array(schema, depth)
        if kind in ("integer", "number"):
            return self._draw_number(schema, kind == "integer")
        if kind == "boolean":
            return self.rng.random() < 0.5
        return None if kind == "null" else self._draw_text(schema)

    def draw_object(self, schema: dict, depth: int) -> dict[str, Any]:
        schema = self._decide(schema, depth)
        properties, required = schema.get("properties", {}), schema.get("required", [])
        others = schema.get("additionalProperties", True)
        names = [
            name
            for name in dict.fromkeys([*properties, *required])
            if name in required or (depth <= DEEPEST and self.rng.random() < 0.5)
        ]
        free = [] if others is False else self.rng.sample(self.pools[-1], len(self.pools[-1]))
        if isinstance(others, dict) and not properties and depth <= DEEPEST:
            names += free[: self.rng.randint(1, 2)]
        least, most = schema.get("minProperties", 0), schema.get("maxProperties", math.inf)
        for name in [*properties, *free, *(f"{word} {i}" for word in free[:1] for i in range(least))]:
            if len(names) < least and name not in names:
                names.append(name)
        while len(names) > most and not set(names) <= set(required):
            names.remove(next(name for name in names if name not in required))
        return {name: self.draw(properties.get(name, others), depth + 1) for name in dict.fromkeys(names)}

    def _decide(self, schema: Any, depth: int) -> dict:
        """A schema without references and alternatives: one of these is chosen."""
        schema = schema if isinstance(schema, dict) else {}
        for key in ("$ref", "allOf", "anyOf", "oneOf"):
            if key not in schema:
                continue
            parts = schema[key]
            if key == "$ref":
                parts = [_look_up(self.root, parts)]
            elif key != "allOf":  # nested too deeply, the one that ends
                parts = [self.rng.choice(parts) if depth <= DEEPEST else min(parts, key=lambda p: "$ref" in str(p))]
            rest = {name: value for name, value in schema.items() if name != key}
            schema = reduce(_merge, [self._decide(part, depth) for part in parts], rest)
        return schema

    def _draw_array(self, schema: dict, depth: int) -> list[Any]:
        prefix, items = schema.get("prefixItems", []), schema.get("items", {})
        number = (len(prefix) or self.rng.randint(1, 2)) if depth <= DEEPEST else 0
        number = max(schema.get("minItems", 0), min(number, schema.get("maxItems", number)))
        values = []
        for kind in [*prefix, *[items] * number][:number]:
            value = self.draw(kind, depth + 1)
            for _ in range(20 if schema.get("uniqueItems") else 0):
                value = self.draw(kind, depth + 1) if value in values else value
            values.append(value)
        return values

    def _draw_number(self, schema: dict, is_integer: bool) -> int | float:
        limits = {name: Fraction(str(schema[name])) for name in LIMITS if isinstance(schema.get(name), int | float)}
        step = limits.get("multipleOf", Fraction(1))
        step = Fraction(step.numerator) if is_integer else step
        firsts = [math.ceil(limits["minimum"] / step)] if "minimum" in limits else []
        firsts += [math.floor(limits["exclusiveMinimum"] / step) + 1] if "exclusiveMinimum" in limits else []
        lasts = [math.floor(limits["maximum"] / step)] if "maximum" in limits else []
        lasts += [math.ceil(limits["exclusiveMaximum"] / step) - 1] if "exclusiveMaximum" in limits else []
        if not firsts:
            firsts = [0 if min(lasts, default=9) >= 0 else min(lasts) - 9]
        first = max(firsts)
        last = min(lasts, default=max(9, first + 9))
        if first <= last or is_integer or "multipleOf" in limits:
            value = step * self.rng.randint(first, max(first, last))
            return int(value) if value.denominator == 1 else float(value)
        low = max(limits[name] for name in ("minimum", "exclusiveMinimum") if name in limits)
        high = min(limits[name] for name in ("maximum", "exclusiveMaximum") if name in limits)
        return float(low + (high - low) * self.rng.randint(1, 9) / 10)

    def _draw_text(self, schema: dict) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
        described = re.findall(r"`([^`]+)`", schema.get("description", ""))
        described += [text for text in schema.get("examples") or [] if isinstance(text, str)]
        described += [FORMATS[schema["format"]]] if schema.get("format") in FORMATS else []
        pools = [
            [text for text in pool if least <= len(text) <= most and _meets(schema.get("pattern"), text)]
            for pool in [described, *self.pools]
        ]
        if pools[0] and ("format" in schema or self.rng.random() < 0.7):
            return self.rng.choice(pools[0])
        if any(pools[1:]):
            return self.rng.choice(self.rng.choice([pool for pool in pools[1:] if pool]))
        text = self.rng.choice(self.pools[-1])
        text *= 1 + least // len(text) if len(text) < least else 1
        return text[: min(most, len(text))]


def _kinds(schema: dict) -> list[str]:
    """The types that a schema allows; text where it tells none."""
    kinds = schema.get("type") or next((kind for name, kind in TELLING.items() if name in schema), "string")
    return [kinds] if isinstance(kinds, str) else kinds


def _merge(one: dict, other: dict) -> dict:
    """A schema that asks for what both ask for."""
    merged = {**one, **other}
    for key in one.keys() & other.keys():
        ours, theirs = one[key], other[key]
        if key == "properties":
            both = {name: {"allOf": [ours[name], theirs[name]]} for name in ours.keys() & theirs.keys()}
            merged[key] = {**ours, **theirs, **both}
        elif key == "required":
            merged[key] = list(dict.fromkeys([*ours, *theirs]))
        elif key == "enum":
            merged[key] = [value for value in ours if value in theirs] or theirs
        elif key == "type":
            both = [kind for kind in _kinds(one) if kind in _kinds(other)]
            integer = ["integer"] if {"integer", "number"} <= {*_kinds(one), *_kinds(other)} else theirs
            merged[key] = both or integer
        elif key.startswith("min") or key == "exclusiveMinimum":
            merged[key] = max(ours, theirs)
        elif key.startswith("max") or key == "exclusiveMaximum":
            merged[key] = min(ours, theirs)
    return merged


def _look_up(root: dict, ref: str) -> Any:
    """The schema that a `$ref` refers to; any, where it refers to none."""
    target = root
    for part in ref.split("/")[1:]:
        target = target.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(target, dict) else {}
    return target


def _meets(pattern: str | None, text: str) -> bool:
    try:
        return pattern is None or re.search(pattern, text) is not None
    except re.error:  # of another dialect
        return True


def schema_of(tool: Callable) -> dict[str, Any]:
    return tool if isinstance(tool, SchemaTool) else get_json_schema(tool)
