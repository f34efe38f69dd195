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

"""What can act in a conversation: a model on token ids, a model behind an endpoint, or a function."""

from .chat import ChatPolicy
from .loading import load_policy
from .model import ModelPolicy
from .protocol import Policy, PolicyError, SeededEpisode
from .scripted import ScriptedPolicy


__all__ = [
    "ChatPolicy",
    "ModelPolicy",
    "Policy",
    "PolicyError",
    "ScriptedPolicy",
    "SeededEpisode",
    "load_policy",
]
