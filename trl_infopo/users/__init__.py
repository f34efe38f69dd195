# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Users whom the agent talks to: scripted ones, and language models."""

from importlib import import_module
from typing import TYPE_CHECKING

from .base import Fact, Scenario, Usage, UserFactory, UserSimulator, UserSimulatorError
from .chat import ChatUser
from .prompt import END_MARKER, PERSONA_PROMPT
from .scripted import NOTHING_TO_ADD, PERSONAS, ScriptedUser


if TYPE_CHECKING:
    from .model import LocalChatModel, ModelUser

_LAZY = {"LocalChatModel": ".model", "ModelUser": ".model"}

__all__ = [
    "END_MARKER",
    "NOTHING_TO_ADD",
    "PERSONAS",
    "PERSONA_PROMPT",
    "ChatUser",
    "Fact",
    "LocalChatModel",
    "ModelUser",
    "Scenario",
    "ScriptedUser",
    "Usage",
    "UserFactory",
    "UserSimulator",
    "UserSimulatorError",
]


def __getattr__(name: str):
    # torch and transformers load when a local model is first asked for
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
