# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Two engines that run counterfactuals. They yield hidden states, to which the LM head is applied later.

A trajectory consists of a trunk, the prompt and completion as they were, and its branches: for each scored turn, the
masked observation and the action that followed. `tree` prefills a cache with the trunk, and the branches continue from
its keys and values; `replay` runs each branch as a row of its own, from the first token on.
"""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import NamedTuple

import torch
from transformers import DynamicCache

from .causal_lm import CausalLM
from .turns import Turn


BRANCH_TOKENS = 512  # in a forward pass of the tree engine: its mask has this many rows, however long the trajectory
BRANCH_TOKENS_ON_GPU = 4096  # where a small pass costs launches more than arithmetic


class Branch(NamedTuple):
    """One counterfactual. Positions are those of prompt + completion."""

    rollout: int
    turn: int
    start: int  # where the masked observation begins to differ
    ids: list[int]  # the masked observation from there on and the following action, but for its last token
    action: range  # positions of the following action, whose tokens are the labels
    labels: list[int]  # their token ids


class Trajectory(NamedTuple):
    """Prompt + completion, as far as the branches need them."""

    ids: list[int]
    branches: list[Branch]


class BranchForward(NamedTuple):
    """One forward pass of the tree engine: columns of packed branches, a row for each trajectory."""

    trunk_length: int  # how much of the trunks these branches see
    rows: list[list[Branch]]
    columns: range  # columns before them are in the cache


# What an engine yields: branches and, for each label of theirs in order, the last hidden state before it, factual
# (None where its log-probability is known) and counterfactual, of shape (N, H)
Unit = tuple[list[Branch], torch.Tensor | None, torch.Tensor]


def find_branches(
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int] | None]],
    max_positions: int | None = None,
) -> tuple[torch.Tensor, list[Trajectory]]:
    """
    Find the branches of rollouts: one for each turn whose gain needs a forward pass.

    Args:
        prompt_ids (`list[list[int]]`):
            Token ids of each prompt, without padding.
        completion_ids (`list[list[int]]`):
            Token ids of each completion, without padding.
        turns (`list[list[Turn]]`):
            Turns of each completion.
        masked_observations (`list[list[list[int] | None]]`):
            For each turn, the token ids that replace its observation; `None` where the turn is not to be scored.
        max_positions (`int`, *optional*):
            Number of positions that the model has. A turn whose counterfactual is longer is not scored.

    Returns:
        `tuple[torch.Tensor, list[Trajectory]]`: The gains that need no forward pass, of shape `(B, K)` and NaN
            elsewhere, and the trajectories of those that do.

    Raises:
        `ValueError`: If the inputs do not fit together, or a masked observation is empty.
    """
    lengths = {len(prompt_ids), len(completion_ids), len(turns), len(masked_observations)}
    if len(lengths) != 1 or any(len(t) != len(m) for t, m in zip(turns, masked_observations, strict=True)):
        raise ValueError(
            "`prompt_ids`, `completion_ids`, `turns` and `masked_observations` must hold one entry per rollout, and "
            "the last two one per turn."
        )
    gains = torch.full((len(turns), max([len(t) for t in turns] + [1])), torch.nan)
    trajectories = []
    for rollout, (prompt, completion) in enumerate(zip(prompt_ids, completion_ids, strict=True)):
        branches = []
        for k, (turn, following) in enumerate(zip(turns[rollout], turns[rollout][1:], strict=False)):
            masked = masked_observations[rollout][k]
            if masked is None or not turn.observation:
                continue
            if not masked:
                raise ValueError(
                    f"`masked_observations[{rollout}][{k}]` is empty. Give the ids of a placeholder, or None for a "
                    "turn that is not to be scored."
                )
            observation = completion[turn.observation.start : turn.observation.stop]
            if masked == observation:
                gains[rollout, k] = 0.0
                continue
            # The tokens that both forms begin with are shared, but for the last: it predicts the action's first token
            shared = 0
            while shared < min(len(masked) - 1, len(observation)) and masked[shared] == observation[shared]:
                shared += 1
            labels = completion[following.action.start : following.action.stop]
            start, ids = len(prompt) + turn.observation.start + shared, masked[shared:] + labels[:-1]
            if max_positions is not None and start + len(ids) > max_positions:
                continue
            branches.append(
                Branch(
                    rollout=rollout,
                    turn=k,
                    start=start,
                    ids=ids,
                    action=range(len(prompt) + following.action.start, len(prompt) + following.action.stop),
                    labels=labels,
                )
            )
        if branches:
            trajectories.append(Trajectory((prompt + completion)[: branches[-1].action.stop - 1], branches))
    return gains, trajectories


def batched(items: list, batch_size: int) -> list[list]:
    return [items[i : i + batch_size] for i in range(0, len(items), batch_size)]


def count_tokens(trajectory: Trajectory) -> int:
    return len(trajectory.ids) + sum(len(branch.ids) for branch in trajectory.branches)


def count_labels(branches: Iterable[list[Branch]]) -> int:
    return sum(len(branch.labels) for row in branches for branch in row)


def batch_branches(group: list[Trajectory], batch_size: int) -> list[list[Branch]]:
    """Branches as the replay engine runs them: the longest rows first."""
    branches = [branch for trajectory in group for branch in trajectory.branches]
    return batched(sorted(branches, key=lambda branch: branch.start + len(branch.ids), reverse=True), batch_size)


def pack_branches(group: list[Trajectory], on_gpu: bool = False) -> list[BranchForward]:
    """
    Branches as the tree engine runs them, the last first, so that each forward pass needs less of the trunks than
    the previous one. A pass has as many as `BRANCH_TOKENS` allows, or `BRANCH_TOKENS_ON_GPU`; a longer branch runs
    alone, in several passes.
    """
    branch_tokens = BRANCH_TOKENS_ON_GPU if on_gpu else BRANCH_TOKENS
    max_columns = max(branch_tokens // max(len(group), 1), 1)
    packed_rows = []
    for trajectory in group:
        packed, num_columns = [], max_columns
        for branch in reversed(trajectory.branches):
            num_columns += len(branch.ids)
            if num_columns > max_columns:
                packed.append([])
                num_columns = len(branch.ids)
            packed[-1].append(branch)
        packed_rows.append(packed)
    forwards = []
    for rows in zip_longest(*packed_rows, fillvalue=[]):
        trunk_length = max(branch.start for row in rows for branch in row)
        num_columns = max(sum(len(branch.ids) for branch in row) for row in rows)
        for first in range(0, num_columns, max_columns):
            columns = range(first, min(first + max_columns, num_columns))
            forwards.append(BranchForward(trunk_length, list(rows), columns))
    return forwards


def run_tree(
    policy: CausalLM, group: list[Trajectory], forwards: list[BranchForward], num_forwards: int = 0
) -> Iterator[Unit]:
    """Prefill a cache with the trunks, and continue it with their branches, in at least `num_forwards` passes."""
    cache = DynamicCache()  # without a config: every layer keeps all keys, those beyond a sliding window too
    with_cache = {policy.cache_name: cache, "use_cache": True}
    factual = policy.hidden_states([trajectory.ids for trajectory in group], _before_actions(group), **with_cache)
    labels, counterfactual = [], [factual[:0]]  # labels by row, turn and index in the branch
    for trunk_length, rows, columns in forwards:
        if excess := cache.get_seq_length() - trunk_length - columns.start:
            cache.crop(-excess)
        packed = [[(branch, i) for branch in row for i in range(len(branch.ids))][: columns.stop] for row in rows]
        ids = [[branch.ids[i] for branch, i in row[columns.start :]] for row in packed]
        at = [
            (row, column, branch.turn, i)
            for row, tokens in enumerate(packed)
            for column, (branch, i) in enumerate(tokens[columns.start :])
            if i >= len(branch.ids) - len(branch.labels)
        ]
        position = policy.pad([[branch.start + i for branch, i in row] for row in packed])
        mask = policy.attention_mask(
            trunk_length,
            segment=policy.pad([[branch.turn for branch, _ in row] for row in packed], -1),
            position=position,
            start=policy.pad([[branch.start for branch, _ in row] for row in packed]),
            first=columns.start,
        )
        counterfactual.append(
            policy.hidden_states(
                ids,
                [(row, column) for row, column, _, _ in at],
                attention_mask=mask,
                position_ids=position[:, columns.start :],
                **with_cache,
            )
        )
        labels += [(row, turn, i) for row, _, turn, i in at]
    for _ in range(num_forwards - len(forwards)):  # another process has more
        policy.hidden_states([], [])
    del cache  # the LM head does not need it
    order = sorted(range(len(labels)), key=labels.__getitem__)
    yield [branch for trajectory in group for branch in trajectory.branches], factual, torch.cat(counterfactual)[order]


def run_replay(
    policy: CausalLM, group: list[Trajectory], batches: list[list[Branch]], with_factual: bool, share_trunk: bool
) -> Iterator[Unit]:
    """
    Run the trunks once, for the factual side, and then every branch as a row of its own, from the first token on.
    Where the length of a row changes the rotary embedding, a trunk cannot be shared: the factual side is a row per
    branch as well.
    """
    trunks = {trajectory.branches[0].rollout: trajectory.ids for trajectory in group}
    factual = {}
    if with_factual and share_trunk:
        states = policy.hidden_states([trajectory.ids for trajectory in group], _before_actions(group))
        branches = [branch for trajectory in group for branch in trajectory.branches]
        for branch, branch_states in zip(branches, states.split([len(b.labels) for b in branches]), strict=True):
            factual[branch.rollout, branch.turn] = branch_states
    for branches in batches:
        rows = [trunks[branch.rollout][: branch.start] + branch.ids for branch in branches]
        if not share_trunk:
            factual_rows = [trunks[branch.rollout][: branch.action.stop - 1] for branch in branches]
            before = _final_states(policy, branches, factual_rows, complete=True)
            yield branches, before, _final_states(policy, branches, rows, complete=True)
        elif with_factual:
            counterfactual = _final_states(policy, branches, rows)
            before = [factual[branch.rollout, branch.turn] for branch in branches]
            yield branches, torch.cat([counterfactual[:0], *before]), counterfactual
        else:
            yield branches, None, _final_states(policy, branches, rows)


def _final_states(
    policy: CausalLM, branches: list[Branch], rows: list[list[int]], complete: bool = False
) -> torch.Tensor:
    """
    Last hidden states before each label, of shape (N, H). Rows end before the last label; `complete` adds it, for
    models in which the length of the row matters.
    """
    columns = [
        (i, column)
        for i, (branch, row) in enumerate(zip(branches, rows, strict=True))
        for column in range(len(row) - len(branch.labels), len(row))
    ]
    if complete:
        rows = [row + branch.labels[-1:] for branch, row in zip(branches, rows, strict=True)]
    return policy.hidden_states(rows, columns)


def _before_actions(group: list[Trajectory]) -> list[tuple[int, int]]:
    """Row and column, in a batch of trunks, of the token before each label."""
    return [
        (row, column - 1)
        for row, trajectory in enumerate(group)
        for branch in trajectory.branches
        for column in branch.action
    ]
