# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of options. Every error names the option, its value, and what to do instead."""

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from numbers import Integral, Rational, Real
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ._show import show


LONGEST_WAIT = 1e6  # seconds, 11 days: the clocks of Python do not go on forever

# Sampling temperatures besides 0. Below 1e-35 a quotient of float32 logits overflows; long before, sampling is greedy
TEMPERATURES = (1e-5, 1e5)
LARGEST_COEF = 1e3  # of information advantages, which are of order 1


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
    Check that an option is a finite number within its bounds. NumPy numbers count; booleans and text do not.

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
            Further advice, after "set it to ...": a clause without its full stop.

    Raises:
        `ValueError`: If it is not such a number.
    """
    is_number = isinstance(value, Integral if integer else Real) and not isinstance(value, bool)
    # An integer may be too large for a float, and NumPy's shorter floats cannot be compared with the largest float
    if is_number:
        is_finite = abs(value) <= sys.float_info.max if isinstance(value, Rational) else math.isfinite(value)
    else:
        is_finite = False
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
        kind += " of fewer digits" if integer and is_number else ""
        bound = f"{kind}, {bound}" if bound else kind
    elif above is None:
        bound = f"to {bound}"
    raise ValueError(f"`{name}` is {show(value)}, set it {bound}{hint and f', {hint}'}.")


def check_bool(name: str, value: Any) -> None:
    """
    Raises:
        `ValueError`: If an option is neither `True` nor `False`; `"false"` would count as true.
    """
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` is {show(value)}, set it to True or False.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """
    Raises:
        `ValueError`: If an option is none of the choices. It suggests the nearest.
    """
    if not (isinstance(value, str) and value in choices):
        raise ValueError(f"`{name}` is {show(value)}, choose one of {list(choices)}.{did_you_mean(value, choices)}")


def check_text(name: str, value: Any) -> None:
    """
    Raises:
        `ValueError`: If an option is not text, or is empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{name}` is {show(value)}, set it to a text.")


def check_temperature(name: str, value: Any) -> None:
    """
    Raises:
        `ValueError`: If it is not a sampling temperature. Outside its bounds, the division of logits by it overflows,
            or all tokens become equally likely.
    """
    if value != 0 or isinstance(value, bool):
        low, high = TEMPERATURES
        check_number(name, value, at_least=low, at_most=high, hint="or to 0 to decode greedily")


def check_callable(name: str, value: Any, what: str) -> None:
    """
    Raises:
        `ValueError`: If an option cannot be called. It says what it should be.
    """
    if not callable(value):
        raise ValueError(f"`{name}` is {show(value)}, set it to {what}.")


def check_draw(num_rows: Any, seed: Any) -> None:
    """
    Raises:
        `ValueError`: If rows cannot be drawn in this number, or from this seed.
    """
    check_number("num_rows", num_rows, integer=True, at_least=1)
    check_number("seed", seed, integer=True, at_least=0)


def check_output_dir(name: str, value: Any) -> None:
    """
    Check that a directory is there or can be made, without making it.

    Raises:
        `ValueError`: If it cannot be written to.
    """
    if not isinstance(value, str | os.PathLike) or not str(value).strip():
        raise ValueError(f"`{name}` is {show(value)}, set it to the path of a directory.")
    path = Path(value).absolute()
    problem = ""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):  # look at the nearest directory above that exists
        wanted = path
        path = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
        problem = _find_long_name(path, wanted.relative_to(path).parts)
    except (OSError, ValueError) as error:  # a name that is too long, a NUL
        problem = str(error)
    if not problem and not path.is_dir():
        problem = f"{path} is not a directory"
    elif not problem and not os.access(path, os.W_OK | os.X_OK):
        problem = f"{path} is not writable"
    if problem:
        raise ValueError(f"`{name}` is {str(value)!r}, which cannot be written to: {problem}. Take another directory.")


def _find_long_name(parent: Path, names: Sequence[str]) -> str:
    """The reason why a directory cannot get a child of one of the names, none of which it has."""
    for name in names:
        try:
            os.lstat(parent / name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return str(error)
    return ""


def check_fields(options: Any, positive: Sequence[str] = ()) -> None:
    """
    Check the fields of a dataclass of options against their types and, where their metadata has them, their choices.
    A file of options can contain anything, and a text instead of a list would be read letter by letter.

    Args:
        options (`Any`):
            Instance of a dataclass. Types of the fields may be `str`, `int`, `float`, `bool`, `list[str]`, and unions
            of these with others, which are then not checked beyond `None` and text.
        positive (`Sequence[str]`, *optional*, defaults to `()`):
            Names of the whole numbers that must be at least 1.

    Raises:
        `ValueError`: If a value is of another type, not among its choices, or too small.
    """
    types = get_type_hints(type(options))
    for field in fields(options):
        name, value, kind = field.name, getattr(options, field.name), types[field.name]
        kinds = (kind,) if get_origin(kind) is list else get_args(kind) or (kind,)
        if value is None and type(None) in kinds:
            continue
        if any(get_origin(kind) is list for kind in kinds):
            if not isinstance(value, list) or not value:
                way_out = f"write it as a list: [{value}]" if isinstance(value, str) else "set it to a list of texts"
                raise ValueError(f"`{name}` is {show(value)}, {way_out}.")
            for item in value:
                check_text(name, item)
        elif dict in kinds and isinstance(value, dict):
            continue
        elif bool in kinds:
            check_bool(name, value)
        elif float in kinds or int in kinds:
            check_number(name, value, integer=float not in kinds, at_least=1 if name in positive else None)
        else:
            check_text(name, value)
        if choices := field.metadata.get("choices"):
            for item in value if isinstance(value, list) else [value]:
                check_choice(name, item, choices)


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
    near = get_close_matches(word, known, n=1) if isinstance(word, str) else []
    return f" Did you mean {near[0]!r}?" if near else ""
