# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Policies that can act in a conversation: a model on token ids, a model behind an endpoint, or a function."""

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
