# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings about the known risks of training: how the logs show them, and which option helps."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from transformers import TrainerCallback


WINDOW = 10  # logs that are averaged
LARGEST_INTRINSIC_SHARE = 0.8


class Means(dict):
    """Means of metrics by their names, those of this package without their prefix `infopo/`; NaN for all others."""

    def __init__(self, logs: list[dict[str, Any]]):
        super().__init__()
        for name in dict.fromkeys(name for log in logs for name in log):
            values = [log[name] for log in logs if isinstance(log.get(name), int | float)]
            if values:
                self[name.removeprefix("infopo/")] = sum(values) / len(values)

    def __missing__(self, name: str) -> float:
        return math.nan


@dataclass(frozen=True)
class Risk:
    """
    A way in which training can go wrong without an error.

    Attributes:
        name (`str`):
            Its name.
        shows (`Callable[[Means, Means], bool]`):
            Whether it shows in the means over the first and over the last logs. Comparisons with values that are not
            logged (NaN) are false.
        sentence (`str`):
            What was seen, and which option helps: a format string with the two means, `first` and `last`.
    """

    name: str
    shows: Callable[[Means, Means], bool]
    sentence: str


def _is_stuck(first: Means, last: Means) -> bool:
    """Whether the reward has not risen by more than half the standard deviation of rewards within a group."""
    return last["reward"] <= first["reward"] + max(first["reward_std"], last["reward_std"]) / 2


def _share_cut(means: Means) -> float:
    return means["stop/max_turns"] + means["stop/max_tokens"]


def _variance_gate(means: Means) -> float:
    """The gate without the factor of `gate="agreement"`."""
    return means["gate/mean"] / means["gate/agreement"] if means["gate/agreement"] > 0 else means["gate/mean"]


RISKS = (
    Risk(
        "asking dies out",
        lambda first, last: last["turns/mean"] - 1 < (first["turns/mean"] - 1) / 2 and _is_stuck(first, last),
        "Asking dies out: from {first[turns/mean]:.1f} to {last[turns/mean]:.1f} turns in a rollout, and the reward "
        'has not risen with it. With `info_gain_normalization="group"` a question below the average is worth less '
        'than none. Take the default `gate="agreement"`, which closes where gains do not correlate with rewards, '
        "lower `info_gain_coef`, and set `masked_feedback` to a text that the policy knows.",
    ),
    Risk(
        "asking never ends",
        lambda first, last: last["tied_groups"] > 0.9 and _share_cut(last) > 0.5 and _is_stuck(first, last),
        "Asking never ends: {last[turns/mean]:.1f} turns in a rollout, most are cut, {last[tied_groups]:.0%} of the "
        "groups tie, and the reward stays at {last[reward]:.3g}. Where outcomes never differ, only information is "
        "paid: lower `info_gain_coef`, or give the environment a reward for a part of its task.",
    ),
    Risk(
        "gain without outcome",
        lambda first, last: (
            first["gain_outcome_corr"] < 0.05 and last["gain_outcome_corr"] < 0.05 and last["intrinsic_share"] > 0.3
        ),
        "Information gain does not go with the reward: their correlation is {last[gain_outcome_corr]:.2f}, while "
        "{last[intrinsic_share]:.0%} of the advantage comes from information. See which feedback has a high gain "
        "(`log_completions=True`), make what says nothing the placeholder (`masked_feedback`), or lower "
        "`info_gain_coef`.",
    ),
    Risk(
        "gains not used",
        lambda first, last: last["gate/agreement"] < 0.1 and last["tied_groups"] < 0.5,
        'Information gain hardly counts any more: `gate="agreement"` is at {last[gate/agreement]:.2f}, as gains do '
        "not correlate with rewards, and this training is GRPO. See which feedback has a high gain "
        "(`log_completions=True`), and make what says nothing the placeholder (`masked_feedback`), or save the work "
        "of scoring with `info_gain_coef=0.0`.",
    ),
    Risk(
        "repeated questions",
        lambda first, last: last["questions/repeated_frac"] > 0.4,
        "The policy asks again what it was told: {last[questions/repeated_frac]:.0%} of its questions repeat one of "
        "the same rollout, with the same answer. If the answer is not `masked_feedback`, it earns a gain each time: "
        "let the environment answer a repetition with its placeholder.",
    ),
    Risk(
        "placeholder never seen",
        lambda first, last: first["questions/placeholder_frac"] == last["questions/placeholder_frac"] == 0,
        "The placeholder is never what comes back, so that the policy does not know it and no feedback has a gain of "
        "0. Set `masked_feedback` (or the attribute of the environment) to what a tool or user says who has nothing "
        "to say.",
    ),
    Risk(
        "all groups tie",
        lambda first, last: first["tied_groups"] > 0.9 and last["tied_groups"] > 0.9 and _is_stuck(first, last),
        "The rewards of {last[tied_groups]:.0%} of the groups tie, so that the outcome teaches nothing, and if `gate` "
        "is 'agreement', information counts less and less. Raise `num_generations`, begin with easier tasks or a warm "
        "start, or reward parts of the task.",
    ),
    Risk(
        "gate too warm",
        lambda first, last: (
            0.45 < _variance_gate(first) < 0.51 and 0.45 < _variance_gate(last) < 0.51 and last["tied_groups"] < 0.5
        ),
        "The variance gate stays near 0.5, all open, although the rewards of most groups differ: they differ by "
        "{last[reward_std]:.2g}, which is little beside `gate_temperature`. Set it to about that.",
    ),
    Risk(
        "mostly intrinsic",
        lambda first, last: (
            first["intrinsic_share"] > LARGEST_INTRINSIC_SHARE and last["intrinsic_share"] > LARGEST_INTRINSIC_SHARE
        ),
        "{last[intrinsic_share]:.0%} of the advantage comes from information, and hardly any from the reward. Lower "
        "`info_gain_coef`, unless that is what you want.",
    ),
    Risk(
        "cut by max_turns",
        lambda first, last: last["stop/max_turns"] > 0.5,
        "{last[stop/max_turns]:.0%} of the episodes are cut by `max_turns`, and what their last action calls is not "
        "run. Raise it, or see whether the environment ever ends an episode.",
    ),
    Risk(
        "cut by max_tokens",
        lambda first, last: last["stop/max_tokens"] > 0.5,
        "{last[stop/max_tokens]:.0%} of the episodes are cut because their tokens run out. Raise "
        "`max_completion_length`, or let tools and users say less.",
    ),
)
"""The known risks, in the order in which they are looked for."""


class RiskCallback(TrainerCallback):
    """
    Callback that warns once of each known risk that the logs of a run show: what was seen, and which option helps. The
    risks are the table [`~trl_infopo.risks.RISKS`].

    [`InfoPOTrainer`] has one. `trainer.remove_callback(RiskCallback)` removes it.

    Args:
        risks (`tuple[Risk, ...]`, *optional*):
            Risks to look for. If not given, all known risks.

    Attributes:
        seen (`list[str]`):
            Names of the risks that were warned of.
    """

    def __init__(self, risks: tuple[Risk, ...] = RISKS):
        self.risks = risks
        self.seen: list[str] = []

    def on_log(self, args, state, control, **kwargs):
        of_training = (log for log in state.log_history if "reward" in log)  # not of evaluation
        first = list(islice(of_training, 2 * WINDOW))
        if len(first) < 2 * WINDOW or not state.is_world_process_zero:
            return
        last = islice((log for log in reversed(state.log_history) if "reward" in log), WINDOW)
        first, last = Means(first[:WINDOW]), Means(list(last))
        for risk in self.risks:
            if risk.name not in self.seen and risk.shows(first, last):
                self.seen.append(risk.name)
                sentence = risk.sentence.format(first=first, last=last)
                warnings.warn(f"Step {state.global_step}: {sentence}", stacklevel=1)
