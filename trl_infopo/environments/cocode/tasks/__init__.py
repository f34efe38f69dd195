# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What [`CocodeEnv`] asks for: functions whose behaviour has details that only the user knows."""

import functools
import itertools
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from string import Template

from ..._keywords import words


NUM_CALLS = 10  # hidden tests of a function

# What asks for the same kind of detail of many functions
CASE_KEYWORDS = words("case, capital, capitalize, capitalization, upper, lower, uppercase, lowercase, spelling")
ORDER_KEYWORDS = words(
    "order, sort, reverse, ascending, descending, alphabetical, alphabetically, chronological, -in order to"
)


@dataclass(frozen=True)
class Detail:
    """
    One thing that a request leaves open.

    Attributes:
        topic (`str`):
            What it is about, unique within a function, and the name of its place in the template.
        keywords (`tuple[str, ...]`):
            What asks for it, as in a [`~trl_infopo.users.Fact`]. The first one names it in a question ("What about the
            rounding?").
        sentence (`str`):
            How the user says it, with `{value}` for the choice.
        choices (`dict[str, str]`):
            What it may be, in the user's words, with the source that does it.
    """

    topic: str
    keywords: tuple[str, ...]
    sentence: str
    choices: dict[str, str]


@dataclass(frozen=True)
class Function:
    """
    A function in all its variants: one for each way to settle its details.

    Attributes:
        signature (`str`):
            Name and arguments, such as `"slugify(title)"`.
        request (`str`):
            What it does, to continue "I need a Python function that". Says everything except the details.
        template (`str`):
            Its source, with `$topic` where a detail matters.
        details (`tuple` of [`Detail`]):
            The details that the request leaves open.
        draw_call (`Callable[[random.Random], list]`):
            Draws the arguments of a call, such that all variants often return something different.
    """

    signature: str
    request: str
    template: str
    details: tuple[Detail, ...]
    draw_call: Callable[[random.Random], list]

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    def variants(self) -> list[tuple[str, ...]]:
        """Every way to settle the details, as one choice for each."""
        return list(itertools.product(*[detail.choices for detail in self.details]))

    def source(self, variant: tuple[str, ...]) -> str:
        """The code of a variant."""
        snippets = {detail.topic: detail.choices[choice] for detail, choice in zip(self.details, variant, strict=True)}
        return Template(self.template).substitute(snippets).strip() + "\n"

    def load(self, variant: tuple[str, ...]) -> Callable:
        """A variant as a function. Its source is this package's own, so it may run in this process."""
        namespace = {}
        exec(self.source(variant), namespace)
        return namespace[self.name]


@functools.cache
def catalogue() -> dict[str, Function]:
    """Every function by its name."""
    from . import numbers, records, text, times

    functions = [*numbers.FUNCTIONS, *text.FUNCTIONS, *records.FUNCTIONS, *times.FUNCTIONS]
    return {function.name: function for function in functions}


def split_of(name: str, variant: tuple[str, ...]) -> str:
    """The split to which a hash assigns a task."""
    share = zlib.crc32(f"{name} {variant}".encode()) % 10
    return "test" if share < 2 else "validation" if share == 2 else "train"


@functools.cache
def hidden_calls(name: str) -> list[list]:
    """
    The calls that test a function, whatever its details.

    On each of them, all variants return different values. So the calls reveal nothing about the details, and a
    submission that knows them all and asks nothing passes each call for at most one variant.

    Args:
        name (`str`):
            Name of the function.

    Returns:
        `list[list]`: Arguments of each call.
    """
    function = catalogue()[name]
    variants = [function.load(variant) for variant in function.variants()]
    rng = random.Random(name)
    calls = []
    while len(calls) < NUM_CALLS:
        call = function.draw_call(rng)
        returned = [json.loads(json.dumps(variant(*call))) for variant in variants]
        if call not in calls and all(value not in returned[:i] for i, value in enumerate(returned)):
            calls.append(call)
    return calls


@functools.cache
def hidden_tests(name: str, variant: tuple[str, ...]) -> tuple[tuple[list, object], ...]:
    """
    The tests of a task: the calls of its function, and what they must return.

    Args:
        name (`str`):
            Name of the function.
        variant (`tuple[str, ...]`):
            How its details are settled.

    Returns:
        `tuple` of `(list, object)`: Arguments and expected value of each call.
    """
    run = catalogue()[name].load(variant)
    return tuple((call, run(*call)) for call in hidden_calls(name))
