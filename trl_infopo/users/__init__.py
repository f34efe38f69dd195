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
