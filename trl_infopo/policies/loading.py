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

"""From what a user passes as a policy to the policy."""

import os
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .model import ModelPolicy
from .protocol import Policy
from .scripted import ScriptedPolicy


def load_policy(policy: "str | tuple | Callable | Policy") -> Policy:
    """
    Find out what a policy is, and load it.

    Args:
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]` or `Callable` or [`Policy`]):
            Path or hub id of a model, a model and its tokenizer, a scripted policy, or a policy as it is.

    Returns:
        [`Policy`]: The policy.
    """
    if isinstance(policy, str | os.PathLike):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(policy, dtype="auto").to(device)
        return ModelPolicy(model, AutoTokenizer.from_pretrained(policy))
    if isinstance(policy, tuple):
        return ModelPolicy(*policy)
    return policy if hasattr(policy, "make_actor") else ScriptedPolicy(policy)
