# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a policy from whatever was passed as one."""

import os
from collections.abc import Callable

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .model import ModelPolicy
from .protocol import Policy
from .scripted import ScriptedPolicy


def load_policy(policy: "str | tuple | Callable | Policy") -> Policy:
    """
    Load a policy, given in any of its forms.

    Args:
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]` or `Callable` or [`Policy`]):
            Path or Hub id of a model, a model and its tokenizer, a function, or a [`Policy`].

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
