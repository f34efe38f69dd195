# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Descriptions of functions, factories and options: texts to compare and to write into files, without secrets."""

import hashlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from ._show import safe_repr


# Names under which plain text is no secret: options of this package, and those of a request with fixed choices
TEXT_NAME = re.compile(
    r"game_id|model|personas?|reasoning_effort|service_tier|split|tool|tool_choice|type|verbosity", re.ASCII
)
PLAIN_TEXT = re.compile(r"(?!.*//)[\w./:+-]{1,200}", re.ASCII)
# Keys of mappings that are no secret either. Others are data, not code, and may be anything
KEY_NAME = re.compile(
    rf"{TEXT_NAME.pattern}|add_generation_prompt|api_key|base_url|chat_template_kwargs|enable_thinking|extra_body"
    r"|extra_headers|extra_query|frequency_penalty|function|guided_json|include_reasoning|json_schema|length_penalty"
    r"|logit_bias|logprobs|max_completion_tokens|max_tokens|max_turns|min_p|min_tokens|n|parallel_tool_calls"
    r"|presence_penalty|reasoning|repetition_penalty|request_options|response_format|seed|skip_special_tokens|stop"
    r"|stop_token_ids|strict|temperature|thinking|timeout|top_k|top_logprobs|top_p"
)
# What such a name holds is left out: another key is no other setting
SECRET_NAME = re.compile(
    r"(?:^|[^a-z])(?:(?:api|access|private)?keys?|(?:auth)?token|secrets?|pass(?:words?|wd|phrase|code)|pwd|pin"
    r"|credentials?|creds?|bearer|auth|authorization|cookies?|signature|jwt|headers|extra_query)$"
)
URL = re.compile(r"(https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?)((?:/[^/?#\s]*)*)", re.ASCII | re.IGNORECASE)
PATH_SEGMENT = re.compile(
    r"(?:api|openai|compatible-mode|deployments|engines|inference|llm|models|proxy|serving-endpoints|v\d(?:beta)?)?"
)
HIDDEN = re.compile(r"\0[0-9a-f]*\0")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
MAX_INTEGER = 2**63  # larger ones are keys


def describe(value: Any, name: str | None = None) -> str:
    """
    Describe a function, a factory or an option, the same in every process.

    Only what is known to be harmless is written in full: numbers, names of functions, classes and their arguments,
    bound methods with the object they are bound to, and text whose name says what it is, such as `model` or
    `base_url`. Of everything else, such as other text or the `repr` of an object, the type is written, and a digest at
    the end distinguishes the values. The digest is slow to compute and has 32 bits: it does not reveal a long key, but
    somebody who guesses everything that it was made of can confirm the guess. A value named like a secret (`api_key`,
    `extra_headers`) is not in the digest either, so that a changed key is the same setting.

    Args:
        value (`Any`):
            What to describe.
        name (`str`, *optional*):
            Name of the option whose value it is.

    Returns:
        `str`: The description.
    """
    whole = _describe(value, name)
    shown = HIDDEN.sub("", whole)
    if shown == whole:
        return shown
    return f"{shown} #{hashlib.pbkdf2_hmac('sha256', whole.encode(), b'trl-infopo', 50_000, dklen=4).hex()}"


def hidden_texts(options: Any, name: str | None = None) -> Iterator[str]:
    """
    Texts that [`describe`] does not write, of options that can be sent as JSON.

    Args:
        options (`Any`):
            Options.
        name (`str`, *optional*):
            Name of the option whose value they are.

    Yields:
        `str`: A text that may be a secret.
    """
    if isinstance(options, Mapping):
        for key, value in options.items():
            if HIDDEN.search(_describe_key(key)):
                yield key
            yield from hidden_texts(value, name if _is_secret(name) else key)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from hidden_texts(value, name)
    elif _is_secret(name) or HIDDEN.search(_describe(options, name)):
        yield str(options)


def public_url(url: str) -> str:
    """
    An address as it may be shown: without user name, password, query and fragment, and with `...` for the parts of its
    path that are not among the usual ones.

    Args:
        url (`str`):
            Address.

    Returns:
        `str`: Its public part, `"..."` if it is no address of an HTTP server.
    """
    match = URL.match(url)
    if not match or url[match.end() : match.end() + 1] not in ("", "?", "#"):
        return "..."
    origin, path = match.groups()
    return origin + "/".join(part if PATH_SEGMENT.fullmatch(part) else "..." for part in path.split("/"))


def _describe(value: Any, name: Any = None) -> str:
    """A description in which everything that must not be written stands between null characters."""
    if _is_secret(name) and not callable(value):  # `key=len` is no secret
        return "..."
    if isinstance(value, Enum):
        return f"{_qualified_name(type(value))}.{value.name}"
    if value is None or isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, int | np.integer) and abs(int(value)) < MAX_INTEGER:
        return repr(int(value))
    if isinstance(value, float | np.floating):
        return repr(float(value))
    if isinstance(value, str):
        return _describe_text(str(value), name)
    if isinstance(value, partial):
        return _describe_call(value.func, _bind(value))
    if inspect.ismethod(value):
        return f"{_describe(value.__self__)}.{value.__name__}"
    if callable(value) and hasattr(value, "__wrapped__"):
        return _describe(value.__wrapped__)
    if isinstance(value, type) or inspect.isroutine(value):
        return _qualified_name(value)
    if is_dataclass(value):
        return _describe_call(type(value), {field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        items = (f"{_describe_key(key)}: {_describe(item, key)}" for key, item in value.items())
        return f"{{{', '.join(sorted(items))}}}"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_describe(item, name) for item in value))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_describe(item, name) for item in value)}]"
    # The default `repr` says only the address
    state = "" if type(value).__repr__ is object.__repr__ else _hide(ADDRESS.sub("", safe_repr(value)))
    return f"<{_qualified_name(type(value))}{state}>"


def _describe_text(text: str, name: Any) -> str:
    if name == "base_url":
        public = public_url(text)
        return repr(public) if public == text else repr(public) + _hide(text)
    is_harmless = isinstance(name, str) and TEXT_NAME.fullmatch(name) and PLAIN_TEXT.fullmatch(text)
    return repr(text) if is_harmless else f"<str{_hide(text)}>"


def _describe_key(key: Any) -> str:
    return repr(key) if isinstance(key, str) and KEY_NAME.fullmatch(key) else _describe(key)


def _describe_call(function: Any, arguments: Mapping[str, Any]) -> str:
    items = (f"{name}={_describe(argument, name)}" for name, argument in arguments.items())
    return f"{_describe(function)}({', '.join(items)})"


def _bind(call: partial) -> Mapping[str, Any]:
    """Arguments of a partial by name."""
    try:
        signature = inspect.signature(call.func, follow_wrapped=False)
    except ValueError:  # some functions written in C have none
        return {**{str(k): argument for k, argument in enumerate(call.args)}, **call.keywords}
    return signature.bind_partial(*call.args, **call.keywords).arguments


def _qualified_name(value: Any) -> str:
    return value.__qualname__ if value.__module__ in (None, "builtins") else f"{value.__module__}.{value.__qualname__}"


def _is_secret(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    snake_case = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return SECRET_NAME.search(snake_case) is not None


def _hide(text: str) -> str:
    return f"\0{text.encode(errors='surrogatepass').hex()}\0"
