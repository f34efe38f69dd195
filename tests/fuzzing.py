# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Bounds and inputs of the fuzz tests: whatever a policy may sample, a user may say and a tool may return or raise."""

import asyncio
import json
import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from tiny_agents import CALLS

from trl_infopo.users import UserSimulatorError


# `HYPOTHESIS_PROFILE=thorough` tries ten times as many inputs, and `explore` other ones in every run
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "default")


def bounded(max_examples: int) -> settings:
    """Settings of a fuzz test: the same inputs in every run, unless the profile says otherwise."""
    return settings(
        max_examples=max_examples * (1 if PROFILE == "default" else 10),
        derandomize=PROFILE != "explore",
        database=None,
        # Making a failing input smaller takes minutes: that is for those who look for its cause
        phases=[Phase.explicit, Phase.generate] if PROFILE == "default" else tuple(Phase),
    )


class Hangs(AssertionError):
    """It did not end in time."""


@contextmanager
def ends_within(seconds: float):
    """What hangs is interrupted and is a failure of this test, not of the whole run."""

    def interrupt(signum, frame):
        raise Hangs(f"It does not end within {seconds} s.")

    handler = signal.signal(signal.SIGALRM, interrupt)
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining)  # of pytest's own timeout
        signal.signal(signal.SIGALRM, handler)


# ---- text and JSON

any_text = st.text(st.characters(), max_size=30)  # lone surrogates and NUL as well
MARKUP = [
    "<|im_end|>",
    "<|im_start|>assistant\n",
    "<|pad|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "{{ 1 / 0 }}",
    "{% for",
    "\x00",
    "\ud83d",
    "\udcff",
    "No information found.",
]
odd_text = st.one_of(
    any_text, st.sampled_from([*MARKUP, "", " \n", "x" * 20000]), st.lists(st.sampled_from(MARKUP)).map("".join)
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(any_text, children, max_size=3),
    max_leaves=6,
)

# ---- what a policy samples

tool_names = st.one_of(st.sampled_from(["ask", "look_up"]), st.sampled_from(["reset", "user", "__init__", ""]))
odd_names = st.one_of(any_text, json_values, st.just("ask" * 200))
arguments = st.one_of(
    st.fixed_dictionaries({"slot": json_values}), st.fixed_dictionaries({"word": json_values}), json_values
)
calls = st.builds(
    lambda name, arguments: json.dumps({"name": name, "arguments": arguments}), tool_names | odd_names, arguments
)
odd_calls = st.one_of(
    calls,
    json_values.map(json.dumps),
    st.sampled_from(
        [
            '{"name": "ask", "name": "look_up", "arguments": {"slot": 1}, "arguments": {"word": "a", "word": "b"}}',
            '{"name": "ask", ...{}}',
            '{"name": "ask"}',
            '{"arguments": {}}',
            '{"name": "ask", "arguments": {"slot": "\\ud83d"}}',
            '{"name": "\\ud83d", "arguments": {}}',
            '{"name": "ask", "arguments": {"slot": NaN}}',
            '{"name": "ask", "arguments": {"self": 1}}',
            '{"function": {"name": "ask", "arguments": {}}}',
            '{"name": "ask", "arguments": "{\\"slot\\": 1}"}',
            '{"type": "other", "name": "ask", "arguments": {}}',
            "",
        ]
    ),
)


@st.composite
def broken_calls(draw) -> str:
    """A call from which a piece is missing, or in which something is too much."""
    text = draw(odd_calls)
    start, stop = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2)))
    return text[:start] + draw(st.sampled_from(["", "{", "}", '"', "\\", "\n", "</tool_call>"])) + text[stop:]


def in_tags(call: str) -> str:
    return f"<tool_call>\n{call}\n</tool_call>"


good_calls = st.one_of(
    st.builds(lambda slot: json.dumps({"name": "ask", "arguments": {"slot": slot}}), any_text | json_values),
    st.builds(lambda word: json.dumps({"name": "look_up", "arguments": {"word": word}}), any_text | json_values),
)
xml_calls = st.builds(  # as Qwen3.5 writes them
    "<function={}>\n<parameter={}>\n{}\n</parameter>\n</function>".format,
    st.sampled_from(["ask", "look_up", "", "a b"]),
    st.sampled_from(["slot", "word", "", "self"]),
    st.text(max_size=10) | json_values.map(json.dumps),
)
pieces = st.one_of(
    st.sampled_from(CALLS),
    xml_calls.map(in_tags),
    good_calls.map(in_tags),
    good_calls.map(in_tags),
    odd_calls.map(in_tags),
    broken_calls().map(in_tags),
    broken_calls().map(lambda call: f"<tool_call>{call}"),  # without an end
    st.text(max_size=20),
    st.sampled_from([text for text in MARKUP if text.isascii()]),
)
token_ids = st.lists(st.integers(0, 600), max_size=12)  # whose bytes may be no text
actions = st.one_of(*[st.lists(pieces, min_size=1, max_size=3).map("".join)] * 4, token_ids)

# ---- what users and tools do


class Unspeakable:
    """Cannot be shown."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class UnspeakableError(Unspeakable, Exception):
    """An error that cannot be shown."""


class OddText(str):
    """Text that says something else when it is turned into text."""

    def __str__(self):
        return "\ud83d"


def _nested() -> list:
    nested = []
    for _ in range(5000):
        nested = [nested]
    return nested


RESULTS = {
    "None": lambda: None,
    "True": lambda: True,
    "nan": lambda: float("nan"),
    "10**5000": lambda: 10**5000,
    "bytes": lambda: b"\xff",
    "a list of texts": lambda: ["a", "b"],
    "a list of objects": lambda: [date(2026, 1, 1), {"a"}],
    "odd keys": lambda: [{1: "a", (2,): "b"}],
    "blocks of text": lambda: [{"type": "text", "text": "a"}, {"type": "text", "text": "\ud83d"}],
    "blocks without text": lambda: [{"type": "text"}, {}],
    "blocks of numbers": lambda: [{"type": "text", "text": 5}],
    "blocks of nothing": lambda: [],
    "blocks of objects": lambda: [{"type": "text", "text": "a", "on": date(2026, 1, 1)}],
    "an unknown block": lambda: [{"type": "video", "video": "a"}],
    "an image": lambda: [{"type": "image", "image": None}],
    "an unspeakable object": Unspeakable,
    "a list of one": lambda: [Unspeakable()],
    "odd text": lambda: OddText("a"),
    "deep nesting": _nested,
    "a generator": lambda: (x for x in "ab"),
    "a coroutine": lambda: asyncio.sleep(0, "late"),
    "a future": lambda: asyncio.sleep(0, asyncio.sleep(0, "later")),
    "a class": lambda: Unspeakable,
    "huge text": lambda: "words and more " * 10000,
}
ERRORS = {
    "ValueError": lambda: ValueError("no"),
    "an error without text": ValueError,
    "an error with a surrogate": lambda: ValueError("\ud83d"),
    "an error of an object": lambda: ValueError(Unspeakable()),
    "an unspeakable error": UnspeakableError,
    "a huge error": lambda: ValueError("no " * 100000),
    "ExceptionGroup": lambda: ExceptionGroup("no", [ValueError("\ud83d")]),
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "AssertionError": AssertionError,
    "TimeoutError": TimeoutError,
    "CancelledError": asyncio.CancelledError,
    "UserSimulatorError": lambda: UserSimulatorError("no line\ud83d"),
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "BaseException": lambda: BaseException("no"),
}


@dataclass(frozen=True)
class Outcome:
    """What a user or a tool does: says a text, gives or raises something by its name, or echoes what it hears."""

    kind: str
    what: str = ""

    def __call__(self, heard: Any) -> Any:
        if self.kind == "raises":
            raise ERRORS[self.what]()
        return {"says": lambda: self.what, "gives": RESULTS.get(self.what), "echoes": lambda: heard}[self.kind]()


texts = st.just(Outcome("echoes")) | st.builds(Outcome, st.just("says"), odd_text)
outcomes = st.one_of(
    texts,
    texts,
    st.builds(Outcome, st.just("gives"), st.sampled_from(list(RESULTS))),
    st.builds(Outcome, st.just("raises"), st.sampled_from(list(ERRORS))),
)
