# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a policy is: who acts in an episode, with random numbers of its own."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..rollout import Episode


class PolicyError(RuntimeError):
    """A policy could not act. It ends the evaluation: no made-up message stands in for an action."""


@dataclass
class SeededEpisode(Episode):
    """
    An episode with random numbers of its own, so that neither the batch that it is played in nor an interruption
    changes what is drawn.

    Attributes:
        seed (`str`):
            Seed of the episode.
    """

    seed: str = ""

    def next_action_rng(self) -> random.Random:
        """Random numbers for the next action, the same whatever was drawn for those before."""
        return random.Random(f"{self.seed} {self.num_actions}")


class Policy(Protocol):
    """What [`evaluate`] evaluates."""

    @property
    def description(self) -> dict[str, str]:
        """What tells this policy from others, for the settings of an evaluation. No secrets."""

    def make_actor(
        self,
        *,
        has_tools: bool,
        converses: bool,
        temperature: float,
        max_completion_length: int,
        chat_template_kwargs: dict[str, Any],
        event_loop: asyncio.AbstractEventLoop,
    ) -> Callable[[list[SeededEpisode]], None]:
        """
        What lets the policy act in [`~trl_infopo.rollout.converse`], the first action included, in an environment
        that has tools or not, and a user who answers or not.
        """
