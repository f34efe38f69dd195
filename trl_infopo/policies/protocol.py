# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of a policy, and episodes with random numbers of their own."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..rollout import Episode


class PolicyError(RuntimeError):
    """A policy could not act. This ends the evaluation: no message is made up in place of an action."""


@dataclass
class SeededEpisode(Episode):
    """
    An episode with random numbers of its own, so that what is drawn depends neither on the batch nor on an
    interruption.

    Attributes:
        seed (`str`):
            Seed of the episode.
    """

    seed: str = ""

    def next_action_rng(self) -> random.Random:
        """Random numbers for the next action, the same whatever was drawn for those before."""
        return random.Random(f"{self.seed} {self.num_actions}")


class Policy(Protocol):
    """A policy that [`evaluate`] can evaluate."""

    @property
    def description(self) -> dict[str, str]:
        """Identifies this policy in the settings of an evaluation. Without secrets."""

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
        Make the function that lets the policy act in [`~trl_infopo.rollout.converse`], also for the first action.

        Args:
            has_tools (`bool`):
                Whether the environments have tools.
            converses (`bool`):
                Whether the environments ask for our conversation loop, so that a user may reply.
            temperature (`float`):
                Sampling temperature; 0 decodes greedily.
            max_completion_length (`int`):
                Largest number of tokens of a conversation after its prompt, feedback included.
            chat_template_kwargs (`dict[str, Any]`):
                Arguments of the chat template.
            event_loop (`asyncio.AbstractEventLoop`):
                Loop that runs in another thread, for a policy that is async.

        Returns:
            `Callable[[list[SeededEpisode]], None]`: Calls `act` on each of the episodes it gets, or sets its stop
                reason.
        """
