# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The gate of a run, with what it has learned from its steps: how well gains correlate with rewards."""

import json
from pathlib import Path

import torch

from .fusion import Agreement, gain_reward_correlation
from .infopo_config import InfoPOConfig


GATE_STATE = "gate_state.json"  # in checkpoints


class AdaptiveGate:
    """
    The option `gate`, as [`~trl_infopo.fusion.fuse_advantages`] takes it. All processes must give it the same rewards
    and gains.

    Args:
        args ([`InfoPOConfig`]):
            Configuration.

    Attributes:
        agreement ([`~trl_infopo.fusion.Agreement`]):
            How well gains have correlated with rewards.
    """

    def __init__(self, args: InfoPOConfig):
        self.args = args
        self.agreement = Agreement()

    def see_gains(self, information_gain: torch.Tensor, rewards: torch.Tensor, num_generations: int) -> None:
        """Take gains of shape `(B, K)` into account, with the rewards of their rollouts."""
        self.agreement = self.agreement.update(gain_reward_correlation(information_gain, rewards, num_generations))

    @property
    def options(self) -> dict[str, str | float]:
        """Arguments of [`~trl_infopo.fusion.group_gates`]."""
        return {
            "temperature": self.args.gate_temperature,
            "gate": "none" if self.args.gate == "none" else "variance",
            "gate_factor": self.agreement.weight if self.args.gate == "agreement" else 1.0,
        }

    def save(self, directory: str) -> None:
        """Write the state into the directory of a checkpoint."""
        Path(directory, GATE_STATE).write_text(json.dumps({"agreement": self.agreement}), encoding="utf-8")

    def load(self, directory: str) -> None:
        """Load the state from a checkpoint. One of another trainer has none, which leaves the state as it is."""
        path = Path(directory, GATE_STATE)
        if path.is_file():
            self.agreement = Agreement(*json.loads(path.read_text(encoding="utf-8"))["agreement"])
