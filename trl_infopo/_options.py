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
"""What an option may be. Every error names the option, the value and the way out."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any


def check_number(
    name: str,
    value: Any,
    *,
    integer: bool = False,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    hint: str = "",
) -> None:
    """
    Check that an option is a finite number within its bounds. Numbers of NumPy count, booleans and text do not.

    Args:
        name (`str`):
            Name of the option.
        value (`Any`):
            Its value.
        integer (`bool`, *optional*, defaults to `False`):
            Whether it must be a whole number.
        at_least (`float`, *optional*):
            Smallest value.
        above (`float`, *optional*):
            Bound that it must exceed.
        at_most (`float`, *optional*):
            Largest value.
        hint (`str`, *optional*):
            What else there is to say, after "set it to ...": a clause without its full stop.

    Raises:
        `ValueError`: If it is none.
    """
    is_number = isinstance(value, Integral if integer else Real) and not isinstance(value, bool)
    is_finite = is_number and (isinstance(value, Integral) or math.isfinite(value))
    if is_finite and not (
        (at_least is not None and value < at_least)
        or (above is not None and value <= above)
        or (at_most is not None and value > at_most)
    ):
        return
    bounds = (("at least", at_least), ("above", above), ("at most", at_most))
    bound = " and ".join(f"{words} {number}" for words, number in bounds if number is not None)
    if not is_finite:
        kind = "to a whole number" if integer else "to a finite number"
        bound = f"{kind}, {bound}" if bound else kind
    elif above is None:
        bound = f"to {bound}"
    raise ValueError(f"`{name}` is {value!r}, set it {bound}{hint and f', {hint}'}.")


def check_bool(name: str, value: Any) -> None:
    """
    Raises:
        `ValueError`: If an option is neither `True` nor `False`; `"false"` would count as true.
    """
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` is {value!r}, set it to True or False.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """
    Raises:
        `ValueError`: If an option is none of the choices. It suggests the nearest.
    """
    if value not in choices:
        raise ValueError(f"`{name}` is {value!r}, choose one of {list(choices)}.{did_you_mean(value, choices)}")


def check_names(problem: str, names: Iterable[str], function: Callable) -> None:
    """
    Raises:
        `TypeError`: If a function takes no argument of one of the names. It begins with the problem, and suggests the
            nearest.
    """
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in names:
        if name not in parameters:
            raise TypeError(f"{problem} `{name}`.{did_you_mean(name, list(parameters))}")


def did_you_mean(word: Any, known: Sequence[str]) -> str:
    """The nearest known name as a sentence that begins with a space, empty where none is near."""
    near = get_close_matches(str(word), known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
