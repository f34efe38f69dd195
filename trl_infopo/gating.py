# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the gate of a run has learned from its steps: the range of rewards, and how well gains correlate with them."""

import json
from pathlib import Path

import torch

from .fusion import Agreement, RewardRange, gain_reward_correlation, headroom
from .infopo_config import InfoPOConfig


GATE_STATE = "gate_state.json"  # in checkpoints


class AdaptiveGate:
    """
    The factor and the temperature of the variance gate, by the options `gate`, `gate_headroom`, `gate_relative` and
    `gate_temperature`. All processes must give it the same rewards and gains.

    Args:
        args ([`InfoPOConfig`]):
            Configuration.

    Attributes:
        reward_range ([`~trl_infopo.fusion.RewardRange`]):
            Range of the rewards of training so far.
        agreement ([`~trl_infopo.fusion.Agreement`]):
            How well gains have correlated with rewards.
    """

    def __init__(self, args: InfoPOConfig):
        self.args = args
        self.reward_range = RewardRange()
        self.agreement = Agreement()

    def see_rewards(self, rewards: torch.Tensor) -> None:
        """Take rewards of training of shape `(B,)` into account."""
        self.reward_range = self.reward_range.update(rewards)

    def see_gains(self, information_gain: torch.Tensor, rewards: torch.Tensor, num_generations: int) -> None:
        """Take gains of shape `(B, K)` into account, with the rewards of their rollouts."""
        correlations = gain_reward_correlation(information_gain, rewards, num_generations)
        self.agreement = self.agreement.update(correlations)

    def factor(self, rewards: torch.Tensor, num_generations: int) -> torch.Tensor:
        """What each rollout's gate is multiplied by, of shape `(B,)`, for rewards of that shape."""
        factor = torch.ones_like(rewards)
        if self.args.gate_headroom:
            by_group = headroom(rewards.view(-1, num_generations), self.reward_range)
            factor = by_group.repeat_interleave(num_generations)
        if self.args.gate == "agreement":
            factor = factor * self.agreement.weight
        return factor

    @property
    def gate(self) -> str:
        """The gate that [`~trl_infopo.fusion.fuse_advantages`] multiplies by the factor."""
        return "none" if self.args.gate == "none" else "variance"

    @property
    def temperature(self) -> float:
        """The gate's temperature, in units of the reward."""
        is_relative = self.args.gate_relative and self.reward_range.width > 0
        return self.args.gate_temperature * (self.reward_range.width if is_relative else 1)

    def save(self, directory: str) -> None:
        """Write the state into the directory of a checkpoint."""
        state = {"reward_range": self.reward_range, "agreement": self.agreement}
        Path(directory, GATE_STATE).write_text(json.dumps(state), encoding="utf-8")

    def load(self, directory: str) -> None:
        """Load the state from a checkpoint. One of another trainer has none, which leaves the state as it is."""
        path = Path(directory, GATE_STATE)
        if path.is_file():
            state = json.loads(path.read_text(encoding="utf-8"))
            self.reward_range, self.agreement = RewardRange(*state["reward_range"]), Agreement(*state["agreement"])
