# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured while a policy trains: success, questions and gains on held-out tasks."""

from collections import defaultdict
from collections.abc import Callable

import torch

from trl_infopo import InfoPOTrainer

from .families import QUESTIONS


# Averages over the steps since the last evaluation, by their names in the log
TRAINING_METRICS = {
    "reward": "reward",
    "entropy": "entropy",
    "tied_groups": "infopo/tied_groups",
    "tied_with_signal": "infopo/tied_groups_with_signal",
    "gate": "infopo/gate/mean",
    "agreement": "infopo/gate/agreement",
    "scale": "infopo/scale",
    "intrinsic_share": "infopo/intrinsic_share",
    "gain": "infopo/information_gain/mean",
    "gain_outcome_corr": "infopo/gain_outcome_corr",
    "turns": "infopo/turns/mean",
    "silent": "infopo/questions/silent_frac",
}


class Measurement:
    """
    What a trainer does in this benchmark beside training: it evaluates with random numbers of its own, and counts the
    questions of the held-out tasks.
    """

    def __init__(self, *args, classify: Callable[[dict, list[dict]], list[str | None]], **kwargs):
        self.classify = classify
        self.evaluations = []
        super().__init__(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        with torch.random.fork_rng():
            torch.manual_seed(1_000_000 * (self.args.seed + 1) + self.state.global_step)
            return super().evaluate(*args, **kwargs)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if not self.model.training:
            rollouts = zip(inputs, completions, strict=True)
            self._classified = [self.classify(row, completion) for row, completion in rollouts]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _fuse(self, outcome_advantages, rewards, turns, num_questions, information_gain):
        if not self.model.training:
            asked, gains = dict.fromkeys(QUESTIONS, 0), defaultdict(list)
            for kinds, values in zip(self._classified, information_gain.tolist(), strict=True):
                for kind, gain in zip(kinds, values, strict=False):
                    if kind is not None:
                        asked[kind] += 1
                        if gain == gain:
                            gains[kind].append(gain)
            self.evaluations.append(
                {
                    "step": self.state.global_step,
                    "success": (rewards > 1 - 1e-6).float().mean().item(),
                    "reward": rewards.nansum().item() / len(rewards),
                    "questions": {kind: number / len(rewards) for kind, number in asked.items()},
                    "gains": {kind: sum(values) / len(values) for kind, values in sorted(gains.items())},
                }
            )
        return super()._fuse(outcome_advantages, rewards, turns, num_questions, information_gain)


def measured(trainer: type[InfoPOTrainer]) -> type:
    return type(f"Measured{trainer.__name__}", (Measurement, trainer), {})


def curve(evaluations: list[dict], log_history: list[dict]) -> list[dict]:
    """Evaluations with how their episodes ended, and with the training since the one before."""
    ends, training = {}, {}
    for entry in log_history:
        stops = {key.split("stop/")[1]: value for key, value in entry.items() if key.startswith("eval_infopo/stop/")}
        if stops:
            ends[entry["step"]] = {name: share for name, share in stops.items() if share}
        elif "reward" in entry:
            training[entry["step"]] = {
                name: entry[key] for name, key in TRAINING_METRICS.items() if entry.get(key) is not None
            }
    return [
        {**evaluation, "stop": ends[evaluation["step"]], "training": training.get(evaluation["step"], {})}
        for evaluation in evaluations
    ]
