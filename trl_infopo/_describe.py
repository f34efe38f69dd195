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

"""What a function, a factory or an option is: a text to compare and to write into files, without secrets."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any


SECRET_NAMES = re.compile(r"(keys?|token|secret|password|authorization|cookie|headers|extra_query)$", re.IGNORECASE)
URL = re.compile(r"(https?://)(?:[^\s/?#@]*@)?([^\s?#]*)(?:\?\S*)?")  # with a user's name, a password, a query
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def describe(value: Any) -> str:
    """
    Describe a function, a factory or an option, the same in every process.

    Functions and classes are described by their qualified names, partials also by their arguments, bound methods by
    what they are bound to. Arguments whose names end like those of secrets (`api_key`, `extra_headers`) are left out,
    and so are user names, passwords and queries of URLs.

    Args:
        value (`Any`):
            What to describe.

    Returns:
        `str`: The description.
    """
    if isinstance(value, str):
        return repr(URL.sub(r"\1\2", value))
    if isinstance(value, partial):
        signature = inspect.signature(value.func, follow_wrapped=False)
        return _describe_call(value.func, signature.bind_partial(*value.args, **value.keywords).arguments)
    if inspect.ismethod(value):
        return f"{describe(value.__self__)}.{value.__name__}"
    if hasattr(value, "__wrapped__"):
        return describe(value.__wrapped__)
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if is_dataclass(value):
        return _describe_call(type(value), {field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        items = (f"{name!r}: {_describe_named(name, item)}" for name, item in value.items())
        return f"{{{', '.join(sorted(items))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(describe, value))}]"
    return ADDRESS.sub("", URL.sub(r"\1\2", repr(value)))


def _describe_call(function: Any, arguments: Mapping[str, Any]) -> str:
    items = (f"{name}={_describe_named(name, argument)}" for name, argument in arguments.items())
    return f"{describe(function)}({', '.join(items)})"


def _describe_named(name: Any, value: Any) -> str:
    return "..." if SECRET_NAMES.search(str(name)) else describe(value)
