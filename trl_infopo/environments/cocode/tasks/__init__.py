# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""What [`CocodeEnv`] asks for: functions whose behaviour has details that only the user knows."""

import functools
import itertools
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from string import Template


NUM_CALLS = 10  # hidden tests of a task
NUM_CANDIDATES = 60  # calls that they are chosen from


@dataclass(frozen=True)
class Detail:
    """
    One thing that a request leaves open.

    Attributes:
        topic (`str`):
            What it is about, unique within a function, and the name of its place in the template.
        keywords (`tuple[str, ...]`):
            Words that ask for it. The first one names it in a question ("What about the rounding?").
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
            What it does, to go on after "I need a Python function that". Says all but the details.
        template (`str`):
            Its source, with `$topic` where a detail matters.
        details (`tuple` of [`Detail`]):
            What is left open.
        draw_call (`Callable[[random.Random], list]`):
            Draws the arguments of a call, such that every detail makes a difference in most of them.
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
    """The split to which a task belongs for good, by a hash."""
    share = zlib.crc32(f"{name} {variant}".encode()) % 10
    return "test" if share < 2 else "validation" if share == 2 else "train"


@functools.cache
def _candidates(name: str) -> tuple[list[list], dict[tuple[str, ...], list]]:
    """Calls of a function, and what every variant returns for them."""
    function = catalogue()[name]
    rng = random.Random(name)
    calls = [function.draw_call(rng) for _ in range(NUM_CANDIDATES)]
    returned = {}
    for variant in function.variants():
        run = function.load(variant)
        returned[variant] = [run(*call) for call in calls]
    return calls, returned


@functools.cache
def hidden_tests(name: str, variant: tuple[str, ...]) -> tuple[tuple[list, object], ...]:
    """
    The tests of a task: calls, and what they must return.

    Of many calls these are chosen, one after another, such that the most successful wrong variant passes as few as
    can be.

    Args:
        name (`str`):
            Name of the function.
        variant (`tuple[str, ...]`):
            How its details are settled.

    Returns:
        `tuple` of `(list, object)`: Arguments and expected value of each call.
    """
    calls, returned = _candidates(name)
    expected = returned[variant]
    others = [values for other, values in returned.items() if other != variant]
    passes = [[int(values[call] == expected[call]) for values in others] for call in range(NUM_CANDIDATES)]
    chosen = []
    total = [0] * len(others)
    for _ in range(NUM_CALLS):
        totals = {
            call: [before + more for before, more in zip(total, passes[call])]
            for call in range(NUM_CANDIDATES)
            if call not in chosen
        }
        best = min(totals, key=lambda call: sorted(totals[call], reverse=True))
        chosen.append(best)
        total = totals[best]
    return tuple((calls[call], expected[call]) for call in chosen)
