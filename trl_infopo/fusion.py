# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""From gains and rewards to advantages: sections 3.2 and 3.3 of InfoPO (arXiv 2603.00656), on tensors of shape (B, K).

Dimension suffixes: `B` rollouts, `K` turns, `G` rollouts of a group, `P` pools that statistics are taken over, `N`
values in a pool. A pool's values come with `counts`, how often each one counts; 0 leaves a value out.
"""

from typing import NamedTuple

import torch

from ._options import LARGEST_COEF, check_choice, check_number


EPS = 1e-6
AGREEMENT_DECAY = 0.95  # per step
PRIOR_DECAY = 0.98  # per step
PRIOR_GROUPS = 8.0  # weight of the prior, in groups
FULL_AGREEMENT = 0.3  # mean correlation from which the factor is 1
GATES = ("variance", "none")
NORMALIZATIONS = ("group", "group_scale", "batch", "none")
GRANULARITIES = ("turn", "token")


class Agreement(NamedTuple):
    """
    How well gains correlated with rewards within the groups in which both differ: sums over the steps so far, in which
    older steps count less.

    Attributes:
        correlations (`float`):
            Sum of the groups' correlations.
        groups (`float`):
            Number of these groups, summed likewise.
        prior (`float`):
            Trust in gains before any group was seen, which decays from 1 towards 0.
    """

    correlations: float = 0.0
    groups: float = 0.0
    prior: float = 1.0

    def update(self, correlations: torch.Tensor) -> "Agreement":
        """
        The agreement after one more step.

        Args:
            correlations (`torch.Tensor` of shape `(P,)`):
                Correlation of each group of the step, from [`~trl_infopo.fusion.gain_reward_correlation`]; NaN where a
                group has none.

        Returns:
            [`~trl_infopo.fusion.Agreement`]: The agreement.
        """
        known = correlations[~correlations.isnan()]
        return Agreement(
            AGREEMENT_DECAY * self.correlations + known.sum().item(),
            AGREEMENT_DECAY * self.groups + len(known),
            PRIOR_DECAY * self.prior,
        )

    @property
    def weight(self) -> float:
        """Factor of the gate, in [0, 1]: 1 at a mean correlation of `FULL_AGREEMENT` or more, 0 at 0 or less."""
        mean = (self.correlations + PRIOR_GROUPS * FULL_AGREEMENT * self.prior) / (self.groups + PRIOR_GROUPS)
        return min(max(mean / FULL_AGREEMENT, 0.0), 1.0)


class FusedAdvantages(NamedTuple):
    """
    What [`~trl_infopo.fusion.fuse_advantages`] returns. Every field has the dtype of the rewards.

    Attributes:
        turn_advantages (`torch.Tensor` of shape `(B, K)`):
            Advantage of every token of the turn's action, 0 where there is no turn.
        information_advantages (`torch.Tensor` of shape `(B, K)`):
            Normalized information gain, 0 where a turn has none.
        reward_std (`torch.Tensor` of shape `(B,)`):
            Standard deviation of the rewards in the rollout's group.
        gate (`torch.Tensor` of shape `(B,)`):
            Gate of the rollout's group, its factor included.
        scale (`torch.Tensor` of shape `()`):
            Factor that shrinks the information advantages to the standard deviation of the outcome advantages.
    """

    turn_advantages: torch.Tensor
    information_advantages: torch.Tensor
    reward_std: torch.Tensor
    gate: torch.Tensor
    scale: torch.Tensor


def pool_mean(values_PN: torch.Tensor, counts_PN: torch.Tensor) -> torch.Tensor:
    """Mean of each pool, of shape `(P, 1)`; 0 for an empty pool."""
    return (values_PN * counts_PN).sum(1, keepdim=True) / counts_PN.sum(1, keepdim=True).clamp(min=1)


def pool_std(values_PN: torch.Tensor, counts_PN: torch.Tensor) -> torch.Tensor:
    """Unbiased (n-1) standard deviation of each pool, of shape `(P, 1)`; 0 for fewer than two values."""
    squares_PN = (values_PN - pool_mean(values_PN, counts_PN)) ** 2 * counts_PN
    return (squares_PN.sum(1, keepdim=True) / (counts_PN.sum(1, keepdim=True) - 1).clamp(min=1)).sqrt()


def _centre(values: torch.Tensor, scorable: torch.Tensor, num_generations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences from the mean of the group, and whether they are no more than what rounding makes of a tie."""
    values_PN = values.masked_fill(~scorable, 0.0).view(-1, num_generations)
    counts_PN = scorable.view(-1, num_generations).to(values.dtype)
    differences_PN = (values_PN - pool_mean(values_PN, counts_PN)) * counts_PN
    return differences_PN, differences_PN.abs().amax(1) <= EPS * values_PN.abs().amax(1)


def variance_gate(reward_std: torch.Tensor, temperature: float = 0.5) -> torch.Tensor:
    """
    Weight of the information advantages, open (0.5) where the rewards of a group tie and near 0 where they tell the
    rollouts apart. Source: InfoPO, adaptive variance-gated fusion.

    Args:
        reward_std (`torch.Tensor`):
            Standard deviation of the rewards of each group, any shape.
        temperature (`float`, *optional*, defaults to `0.5`):
            Spread of the rewards, in units of the reward, at which the gate has closed to 0.27.

    Returns:
        `torch.Tensor`: `sigmoid(-reward_std / temperature)`, in (0, 0.5].

    Raises:
        `ValueError`: If the temperature is not a finite number above 0.
    """
    check_number("temperature", temperature, above=0)
    return torch.sigmoid(-reward_std / temperature)


def gain_reward_correlation(
    information_gain: torch.Tensor, rewards: torch.Tensor, num_generations: int
) -> torch.Tensor:
    """
    Within each group, the correlation of the rollouts' gains, summed over their turns, with their rewards.

    Args:
        information_gain (`torch.Tensor` of shape `(B, K)`):
            Gain of each turn, in nats per token; NaN where a turn has none.
        rewards (`torch.Tensor` of shape `(B,)`):
            Rewards, NaN where a rollout has none.
        num_generations (`int`):
            Number of rollouts in a group.

    Returns:
        `torch.Tensor` of shape `(B // num_generations,)`: Pearson correlations, NaN for groups whose rewards or gains
        do not differ.
    """
    scorable = rewards.isfinite()
    gains = information_gain.masked_fill(~information_gain.isfinite(), 0.0).sum(1)
    gains_PN, gains_tie_P = _centre(gains, scorable, num_generations)
    rewards_PN, rewards_tie_P = _centre(rewards, scorable, num_generations)
    spread_P = (gains_PN.square().sum(1) * rewards_PN.square().sum(1)).sqrt()
    return ((gains_PN * rewards_PN).sum(1) / spread_P).masked_fill(gains_tie_P | rewards_tie_P, torch.nan)


def normalize_information_gain(
    information_gain: torch.Tensor,
    action_lengths: torch.Tensor,
    num_generations: int,
    normalization: str = "group",
    granularity: str = "turn",
) -> torch.Tensor:
    """
    Turn information gains into information advantages. No statistics are taken per turn index, which would hide a
    bonus for length.

    Args:
        information_gain (`torch.Tensor` of shape `(B, K)`):
            Gain of each turn, in nats per token; NaN where a turn has none. An infinite gain counts as none. The
            rollouts of a group are adjacent.
        action_lengths (`torch.Tensor` of shape `(B, K)`):
            Number of tokens of each action.
        num_generations (`int`):
            Number of rollouts in a group.
        normalization (`str`, *optional*, defaults to `"group"`):
            `"group"` centres and scales over the scored turns of the group (InfoPO), `"group_scale"` divides by the
            root mean square of the group's gains without centring, `"batch"` centres and scales over all scored
            turns, `"none"` keeps the gain.
        granularity (`str`, *optional*, defaults to `"turn"`):
            `"turn"` counts each gain once (InfoPO), `"token"` spreads it over the action's tokens and counts each of
            them (the authors' code).

    Returns:
        `torch.Tensor` of shape `(B, K)`: Information advantages, 0 where a turn has no gain.

    Raises:
        `ValueError`: If there is no such normalization or granularity.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    check_choice("granularity", granularity, GRANULARITIES)
    scored = information_gain.isfinite()
    values = information_gain.masked_fill(~scored, 0.0)
    counts = scored.to(values.dtype)
    if granularity == "token":
        values = values / action_lengths.clamp(min=1)
        counts = counts * action_lengths
    if normalization == "none":
        return values

    # One pool a row: the whole batch, or each group
    shape = (1, -1) if normalization == "batch" else (-1, num_generations * information_gain.size(1))
    values_PN, counts_PN = values.reshape(shape), counts.reshape(shape)
    if normalization == "group_scale":
        normalized_PN = values_PN / (pool_mean(values_PN**2, counts_PN).sqrt() + EPS)
    else:
        normalized_PN = (values_PN - pool_mean(values_PN, counts_PN)) / (pool_std(values_PN, counts_PN) + EPS)
    return normalized_PN.reshape(values.shape) * scored


def group_gates(
    rewards: torch.Tensor,
    num_generations: int,
    temperature: float = 0.5,
    gate: str = "variance",
    gate_factor: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The standard deviation of the rewards in each rollout's group, and its gate.

    Args:
        rewards (`torch.Tensor` of shape `(B,)`):
            Rewards, NaN where a rollout has none. The rollouts of a group are adjacent.
        num_generations (`int`):
            Number of rollouts in a group.
        temperature (`float`, *optional*, defaults to `0.5`):
            Temperature of the variance gate.
        gate (`str`, *optional*, defaults to `"variance"`):
            `"variance"`, or `"none"` for a gate of 1 everywhere.
        gate_factor (`float`, *optional*, defaults to `1.0`):
            Factor by which all gates are multiplied.

    Returns:
        `tuple[torch.Tensor, torch.Tensor]`: Standard deviation of the rewards in the rollout's group, and its gate,
        each of shape `(B,)`.

    Raises:
        `ValueError`: If there is no such gate, or the temperature is not a finite number above 0.
    """
    check_choice("gate", gate, GATES)
    scorable = rewards.isfinite()
    reward_std = pool_std(
        rewards.masked_fill(~scorable, 0.0).view(-1, num_generations),
        scorable.to(rewards.dtype).view(-1, num_generations),
    )
    _, is_tied_P = _centre(rewards, scorable, num_generations)
    reward_std = reward_std.masked_fill(is_tied_P[:, None], 0.0).repeat_interleave(num_generations)
    gates = variance_gate(reward_std, temperature) if gate == "variance" else torch.ones_like(reward_std)
    return reward_std, gates * gate_factor


def fuse_advantages(
    rewards: torch.Tensor,
    outcome_advantages: torch.Tensor,
    information_gain: torch.Tensor,
    action_lengths: torch.Tensor,
    num_generations: int,
    *,
    coef: float = 0.5,
    temperature: float = 0.5,
    gate: str = "variance",
    normalization: str = "group",
    granularity: str = "turn",
    rescale: bool = True,
    only: bool = False,
    gate_factor: float = 1.0,
) -> FusedAdvantages:
    """
    Fuse outcome advantages, one per rollout, with information gains, one per turn:

        A_k = A_outcome + coef * gate * scale * A_info_k

    The tensors hold the rollouts of all processes. A rollout without a finite reward is left out of every statistic,
    and its advantages are 0. Source: InfoPO, adaptive variance-gated fusion; `rescale` is the authors' code.

    Args:
        rewards (`torch.Tensor` of shape `(B,)`):
            Weighted sum of the rewards of each rollout, NaN where no reward function scored it. The rollouts of a
            group are adjacent.
        outcome_advantages (`torch.Tensor` of shape `(B,)`):
            The trainer's group-relative advantages.
        information_gain (`torch.Tensor` of shape `(B, K)`):
            Gain of each turn, in nats per token; NaN where a turn has none.
        action_lengths (`torch.Tensor` of shape `(B, K)`):
            Number of tokens of each action, 0 where there is no such turn.
        num_generations (`int`):
            Number of rollouts in a group.
        coef (`float`, *optional*, defaults to `0.5`):
            Weight of the information advantages (β in the paper).
        temperature (`float`, *optional*, defaults to `0.5`):
            Temperature of the variance gate.
        gate (`str`, *optional*, defaults to `"variance"`):
            `"variance"`, or `"none"` for a gate of 1 everywhere.
        normalization (`str`, *optional*, defaults to `"group"`):
            See [`~trl_infopo.fusion.normalize_information_gain`].
        granularity (`str`, *optional*, defaults to `"turn"`):
            See [`~trl_infopo.fusion.normalize_information_gain`].
        rescale (`bool`, *optional*, defaults to `True`):
            Whether to shrink information advantages whose standard deviation over the action tokens exceeds both 1 and
            that of the outcome advantages.
        only (`bool`, *optional*, defaults to `False`):
            Whether to use the rescaled information advantages alone (ablation).
        gate_factor (`float`, *optional*, defaults to `1.0`):
            Factor by which all gates are multiplied.

    Returns:
        [`~trl_infopo.fusion.FusedAdvantages`]: The fused advantages and their parts.

    Raises:
        `ValueError`: If an option is unknown or out of range.
    """
    check_number("coef", coef, at_least=0, at_most=LARGEST_COEF)
    scorable = rewards.isfinite()
    outcome_advantages = outcome_advantages.masked_fill(~scorable, 0.0)
    action_lengths = (action_lengths * scorable[:, None]).to(rewards.dtype)
    information_gain = information_gain.to(rewards.dtype).masked_fill(~scorable[:, None], torch.nan)
    information_advantages = normalize_information_gain(
        information_gain, action_lengths, num_generations, normalization, granularity
    )

    reward_std, gates = group_gates(rewards, num_generations, temperature, gate, gate_factor)
    outcome_BK = outcome_advantages[:, None].expand_as(information_advantages)
    scale = rewards.new_ones(())
    if rescale:
        token_counts = action_lengths.reshape(1, -1)
        outcome_std = pool_std(outcome_BK.reshape(1, -1), token_counts).squeeze() + EPS
        information_std = pool_std(information_advantages.reshape(1, -1), token_counts).squeeze() + EPS
        scale = (outcome_std.clamp(min=1) / information_std).clamp(max=1)

    if only:
        turn_advantages = scale * information_advantages
    else:
        turn_advantages = outcome_BK + coef * gates[:, None] * scale * information_advantages
    turn_advantages = turn_advantages * (action_lengths > 0)
    return FusedAdvantages(turn_advantages, information_advantages, reward_std, gates, scale)
