# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Arbitrary values as text and as JSON. Nothing here lets an error of the value escape."""

import json
from functools import partial
from typing import Any


LONGEST = 200  # characters of a value in an error
LONGEST_CAUSE = 600  # characters of another error in one of ours, which keeps the whole as its cause
DEEPEST = 100  # levels of nesting in a message


def safe_repr(value: Any) -> str:
    """
    The `repr` of a value, in text that can be encoded; its type where `repr` fails, as for a huge integer. That of a
    partial is without its arguments, which may be secret.
    """
    if isinstance(value, partial):
        return f"functools.partial({safe_repr(value.func)}, ...)"
    try:
        return repr(value).encode(errors="replace").decode()
    except Exception:
        return f"<{type(value).__name__}>"


def show(value: Any) -> str:
    """
    A value as an error shows it.

    Args:
        value (`Any`):
            What was sampled, said, returned or set.

    Returns:
        `str`: Its [`safe_repr`], cut where it is long.
    """
    return cut(safe_repr(value), LONGEST)


def cut(text: str, longest: int = LONGEST_CAUSE) -> str:
    """A text, cut after so many characters."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def as_json(value: Any, depth: int = 0) -> Any:
    """
    A value converted to the types that JSON has.

    Args:
        value (`Any`):
            A message, or a part of one.
        depth (`int`, *optional*, defaults to `0`):
            How deep in the message the part is.

    Returns:
        `Any`: The same value if JSON can express it, else the text of [`show`].
    """
    if isinstance(value, dict) and depth <= DEEPEST:
        return {key if isinstance(key, str) else show(key): as_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth <= DEEPEST:
        return [as_json(item, depth + 1) for item in value]
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return show(value)
    return value


def as_rows(messages: list[dict] | str, is_sampled: bool = False) -> list[dict] | str:
    """
    Messages for a table, in which all values of a field are of one type: content that is a list becomes JSON text.

    Args:
        messages (`list[dict]` or `str`):
            Messages, or plain text, which a table holds as it is.
        is_sampled (`bool`, *optional*, defaults to `False`):
            Whether they were parsed from what a policy sampled, so that their calls may hold anything: a call becomes
            its name and its arguments, and these JSON text.

    Returns:
        `list[dict]` or `str`: The same for a table.
    """
    if isinstance(messages, str):
        return messages
    # A dataset gives each message the fields of all, as None, which TRL's printing takes for present
    rows = [{name: value for name, value in message.items() if value is not None} for message in messages]
    for row in rows:
        if isinstance(row.get("content"), list):
            row["content"] = as_json_text(row["content"])
        if is_sampled and row.get("tool_calls"):
            row["tool_calls"] = [
                {"type": "function", "function": _as_row(call["function"])} for call in row["tool_calls"]
            ]
    return rows


def _as_row(function: dict) -> dict:
    arguments = function["arguments"]
    # TRL prints the items of an object
    arguments = arguments if isinstance(arguments, dict) else {"arguments": arguments}
    return {"name": function["name"], "arguments": as_json_text(arguments)}


def as_json_text(value: Any) -> str:
    """A value as JSON text: see [`as_json`]."""
    return json.dumps(as_json(value), ensure_ascii=False)
