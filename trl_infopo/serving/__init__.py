# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Agents that run their own loop: the policy in training behind an OpenAI-compatible endpoint, as a `rollout_func`."""

from .rollouts import HarnessRollouts, harness_reward
from .session import PolicySession, RewrittenHistoryError


__all__ = ["HarnessRollouts", "PolicySession", "RewrittenHistoryError", "harness_reward"]
