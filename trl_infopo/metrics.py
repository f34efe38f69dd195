# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What `InfoPOTrainer` logs; each metric is defined in docs/metrics.md."""

import torch

from .fusion import FusedAdvantages, gain_reward_correlation


LOGGED_TURNS = 8


def infopo_metrics(
    fused: FusedAdvantages,
    rewards: torch.Tensor,
    outcome_advantages: torch.Tensor,
    information_gain: torch.Tensor,
    action_lengths: torch.Tensor,
    num_questions: torch.Tensor,
    num_repeated: torch.Tensor,
    num_masked_alike: torch.Tensor,
    num_generations: int,
    only: bool,
) -> dict[str, float]:
    """
    Metrics of one generation batch, over all processes. The prefix `infopo/` is the caller's.

    Args:
        fused ([`~trl_infopo.fusion.FusedAdvantages`]):
            The fused advantages, from the arguments below.
        rewards (`torch.Tensor` of shape `(B,)`):
            Weighted sum of the rewards of each rollout, NaN where no reward function scored it.
        outcome_advantages (`torch.Tensor` of shape `(B,)`):
            The trainer's own advantages.
        information_gain (`torch.Tensor` of shape `(B, K)`):
            Gain of each turn, in nats per token; NaN where a turn has none.
        action_lengths (`torch.Tensor` of shape `(B, K)`):
            Number of tokens of each action, 0 where there is no such turn.
        num_questions (`torch.Tensor` of shape `(B,)`):
            Number of turns that got an observation.
        num_repeated (`torch.Tensor` of shape `(B,)`):
            Number of these that asked and got the same as an earlier turn of the rollout.
        num_masked_alike (`torch.Tensor` of shape `(B,)`):
            Number of turns whose observation equals its masked form.
        num_generations (`int`):
            Number of rollouts in a group.
        only (`bool`):
            Whether the advantages are the information advantages alone.

    Returns:
        `dict[str, float]`: One value per metric, NaN where it is undefined, such as an empty mean.
    """
    scored = ~information_gain.isnan()
    gains = information_gain[scored]
    metrics = {
        "information_gain/mean": gains.mean(),
        "information_gain/std": gains.std() if len(gains) > 1 else gains.new_tensor(torch.nan),
        "information_gain/min": gains.min() if len(gains) else gains.new_tensor(torch.nan),
        "information_gain/max": gains.max() if len(gains) else gains.new_tensor(torch.nan),
    }
    for k, turn_gains in enumerate(information_gain.unbind(1)[:LOGGED_TURNS], start=1):
        metrics[f"information_gain/turn_{k}"] = turn_gains.nanmean()

    tied = torch.isclose(fused.reward_std, torch.zeros_like(fused.reward_std)).view(-1, num_generations)[:, 0]
    has_signal = (fused.information_advantages != 0).any(1).view(-1, num_generations).any(1)
    metrics["gate/mean"] = fused.gate.mean()
    metrics["scale"] = fused.scale
    metrics["tied_groups"] = tied.float().mean()
    metrics["tied_groups_with_signal"] = (tied & has_signal).float().mean()

    outcome = torch.zeros_like(fused.turn_advantages) if only else outcome_advantages[:, None] * (action_lengths > 0)
    outcome_mass = (outcome.abs() * action_lengths).sum()
    information_mass = ((fused.turn_advantages - outcome).abs() * action_lengths).sum()
    metrics["intrinsic_share"] = information_mass / (outcome_mass + information_mass)

    num_turns = (action_lengths > 0).sum(1)
    metrics["turns/mean"] = num_turns.float().mean()
    metrics["turns/max"] = num_turns.max()
    metrics["questions/silent_frac"] = (num_questions[num_turns > 0] == 0).float().mean()

    metrics["questions/repeated_frac"] = num_repeated.sum() / num_questions.sum()
    metrics["questions/placeholder_frac"] = num_masked_alike.sum() / scored.sum()

    compared = scored.any(1) & ~rewards.isnan()
    means = information_gain.nanmean(1, keepdim=True)[compared]
    undefined = rewards.new_full((1,), torch.nan)
    [correlation] = gain_reward_correlation(means, rewards[compared], len(means)) if len(means) else undefined
    metrics["gain_outcome_corr"] = correlation
    return {name: value.item() for name, value in metrics.items()}


def user_metrics(calls: float, seconds: float, tokens: float, errors: float, num_rollouts: int) -> dict[str, float]:
    """
    Metrics of the users of one generation batch, over all processes. The prefix `infopo/` is the caller's.

    Args:
        calls (`float`):
            Number of replies that users gave.
        seconds (`float`):
            Seconds that these took, each counted on its own although they are awaited concurrently.
        tokens (`float`):
            Number of tokens read and written by the models behind the users.
        errors (`float`):
            Number of attempts of users that failed.
        num_rollouts (`int`):
            Number of rollouts of the batch.

    Returns:
        `dict[str, float]`: One value per metric, NaN for the mean of no replies.
    """
    return {
        "user/calls": calls / num_rollouts,
        "user/seconds": seconds / calls if calls else float("nan"),
        "user/tokens": tokens / num_rollouts,
        "user/errors": errors,
    }
