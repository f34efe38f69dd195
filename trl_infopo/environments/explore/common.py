# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the worlds have in common: imports, splits and messages of scripted policies."""

import importlib
import zlib
from types import ModuleType


NOTHING_HAPPENS = "Nothing happens."
"""
What the agent reads when its action changed nothing: a wall, a move that does not exist, a repeated guess, a game that
is over. It has one wording and is the placeholder, so that probing for it has an information gain of exactly 0.
"""

GAME_OVER = "The game is over."
"""The last observation of every game, won or lost."""

SPLITS = ("train", "validation", "test")


def import_games(name: str) -> ModuleType:
    """
    Import a game library when an environment is made, so that importing the package does not need it.

    Args:
        name (`str`):
            Module to import.

    Returns:
        `ModuleType`: The module.

    Raises:
        `ImportError`: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise ImportError(f'This environment needs `{error.name}`: pip install "trl-infopo[games]"') from error


def split_of(level: str) -> str:
    """
    The split that a level always belongs to: three fifths train, one fifth validation, one fifth test.

    Args:
        level (`str`):
            Everything that distinguishes one level from another.

    Returns:
        `str`: One of [`SPLITS`].
    """
    return {0: "test", 1: "validation"}.get(zlib.crc32(level.encode()) % 5, "train")


def tool_call(name: str, **arguments) -> dict:
    """
    An assistant message that calls one tool, for scripted policies.

    Args:
        name (`str`):
            Name of the tool.
        **arguments:
            Its arguments.

    Returns:
        `dict`: The message.
    """
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}
