# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What is compared: each arm is options of `InfoPOConfig`, and a trainer where options do not say it."""

from dataclasses import dataclass, field

import torch

from trl_infopo import InfoPOTrainer


class ShuffledTrainer(InfoPOTrainer):
    """A control: in training, the gains of a group are dealt out anew among its scored turns."""

    def _score(self, *args, **kwargs):
        information_gain = super()._score(*args, **kwargs)
        if self.model.training:
            generator = torch.Generator().manual_seed(1_000_000 * self.args.seed + self.state.global_step)
            for group in information_gain.split(self.num_generations):
                scored = group.isfinite()
                gains = group[scored]
                group[scored] = gains[torch.randperm(len(gains), generator=generator)]
        return information_gain


@dataclass(frozen=True)
class Arm:
    """
    A way to train.

    Attributes:
        title (`str`):
            What tables call it.
        options (`dict`, *optional*):
            Options of `InfoPOConfig`. What is left out is the default.
        trainer (`type[InfoPOTrainer]`, *optional*, defaults to [`~trl_infopo.InfoPOTrainer`]):
            The trainer.
    """

    title: str
    options: dict = field(default_factory=dict)
    trainer: type[InfoPOTrainer] = InfoPOTrainer


PAPER = {"gate": "variance"}
AGREEMENT = {"gate": "agreement"}

BASELINE = "grpo"
DEFAULT = "agreement"
MAIN_ARMS = ("grpo", "group", "group_scale", "agreement")

ARMS = {
    "grpo": Arm("GRPO", {"info_gain_coef": 0.0}),
    "group": Arm("InfoPO, `group` (paper)", PAPER),
    "group_scale": Arm("InfoPO, `group_scale`", PAPER | {"info_gain_normalization": "group_scale"}),
    "agreement": Arm("InfoPO (default)", AGREEMENT),
    "agreement_0.3": Arm("default, coefficient 0.3", AGREEMENT | {"info_gain_coef": 0.3}),
    "agreement_1": Arm("default, coefficient 1", AGREEMENT | {"info_gain_coef": 1.0}),
    "agreement_scale": Arm("default, `group_scale`", AGREEMENT | {"info_gain_normalization": "group_scale"}),
    # Ablations of the paper's setting
    "coef_0.1": Arm("coefficient 0.1", PAPER | {"info_gain_coef": 0.1}),
    "coef_0.3": Arm("coefficient 0.3", PAPER | {"info_gain_coef": 0.3}),
    "coef_1": Arm("coefficient 1", PAPER | {"info_gain_coef": 1.0}),
    "token": Arm("gains per token", PAPER | {"info_gain_granularity": "token"}),
    "kl": Arm("estimator `kl`", PAPER | {"info_gain_estimator": "kl"}),
    "batch": Arm("normalized over the batch", PAPER | {"info_gain_normalization": "batch"}),
    "no_gate": Arm("no gate", {"gate": "none"}),
    "no_rescale": Arm("no rescaling", PAPER | {"info_gain_rescale": False}),
    "only": Arm("information only", PAPER | {"info_gain_only": True}),
    "shuffled": Arm("gains shuffled between turns (control)", PAPER, ShuffledTrainer),
    "shuffled_scale": Arm(
        "`group_scale` with shuffled gains (control)",
        PAPER | {"info_gain_normalization": "group_scale"},
        ShuffledTrainer,
    ),
}

# Ideas against its failures that did not earn their place: the options are gone, the results are in the tables.
# The code is in the history of the repository, before "The ideas that earned nothing are gone", and for the last
# three before "Partial agreement and group_acts earned nothing either".
DROPPED = {
    "settled": "gains only in rollouts that were not cut by a limit",
    "headroom": "gate that closes near the highest reward",
    "relative": "temperature in units of the range of rewards",
    "turn": "baseline of the same turn in the other rollouts",
    "horizon": "gain on all later actions",
    "careful": "settled, headroom and relative temperature",
    "careful_horizon": "the same, gain on all later actions",
    "agreement_settled": "default, gains only in rollouts that were not cut",
    "agreement_horizon": "default, gain on all later actions",
    "agreement_acts": "default, turns without a gain count as a gain of 0",
    "partial": "partial agreement, given the number of turns with a gain",
    "partial_acts": "the same, turns without a gain count as a gain of 0",
}

TITLES = {name: arm.title for name, arm in ARMS.items()} | DROPPED
