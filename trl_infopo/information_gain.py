# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Information gain of a turn: section 3.1 of InfoPO (arXiv 2603.00656), and two ways to compute it.

    IG_k = mean over the tokens j of a_{k+1} of
               log p(a_{k+1,j} | ... a_k, o_k, a_{k+1,<j}) - log p(a_{k+1,j} | ... a_k, masked o_k, a_{k+1,<j})

One forward over a trajectory, its trunk, gives the first term of every turn. The second needs only the masked o_k and
a_{k+1} on top of what came before: a branch. The `tree` engine keeps the trunk's keys and values and runs all branches
of a trajectory packed in one row; the `replay` engine runs each branch as a row of its own, and serves every model.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel

from .causal_lm import CausalLM, eval_mode
from .turns import Turn, segment_turns


ENGINES = ("auto", "tree", "replay")
ESTIMATORS = ("log_ratio", "kl")
LOGITS_IN_MEMORY = 2**25  # at a time in the LM head, factual and counterfactual together: 128 MiB in float32
TREE_LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention"}
PROBE_TOLERANCE = 1e-4
HALF_PRECISION_PROBE_TOLERANCE = 0.1  # rounding alone moves a gain by about 1e-2 nats, in every engine


class Branch(NamedTuple):
    """One counterfactual. Positions are those of prompt + completion."""

    rollout: int
    turn: int
    start: int  # where the masked observation begins to differ
    ids: list[int]  # the masked observation from there on and the following action, but for its last token
    action: range  # positions of the following action
    labels: list[int]  # its token ids


class Trajectory(NamedTuple):
    """Prompt + completion, as far as the branches need them."""

    ids: list[int]
    branches: list[Branch]


# What an engine yields: branches and, for each label of theirs in order, the last hidden state before it, factual
# (None where its log-probability is known) and counterfactual, of shape (N, H)
Unit = tuple[list[Branch], torch.Tensor | None, torch.Tensor]


def score_information_gain(
    model: PreTrainedModel | nn.Module,
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int] | None]],
    *,
    engine: str = "auto",
    estimator: str = "log_ratio",
    temperature: float = 1.0,
    batch_size: int | None = None,
    factual_logps: torch.Tensor | None = None,
    max_over_processes: Callable[[list[int]], list[int]] | None = None,
) -> torch.Tensor:
    """
    Score how much the feedback of each turn changed what the agent did next.

    A turn has a gain if it has an observation, a masked observation and a following action. Feedback that equals its
    masked form has a gain of exactly 0, without a forward. Dropout is off while scoring, and so are gradients. Source:
    InfoPO, turn-level information gain.

    Args:
        model ([`~transformers.PreTrainedModel`] or `torch.nn.Module`):
            Causal language model, possibly wrapped by PEFT, DDP, DeepSpeed or FSDP.
        prompt_ids (`list[list[int]]`):
            Token ids of each prompt, without padding.
        completion_ids (`list[list[int]]`):
            Token ids of each completion, without padding.
        turns (`list[list[Turn]]`):
            Turns of each completion, as [`~trl_infopo.turns.segment_turns`] gives them.
        masked_observations (`list[list[list[int] | None]]`):
            For each turn, the token ids that stand in for its observation; `None` where the turn is not to be scored.
        engine (`str`, *optional*, defaults to `"auto"`):
            `"tree"`, `"replay"`, or `"auto"` to let [`~trl_infopo.information_gain.select_engine`] probe the model and
            choose, on every call.
        estimator (`str`, *optional*, defaults to `"log_ratio"`):
            `"log_ratio"` looks at the sampled tokens only (InfoPO). `"kl"` takes, at each of them, the exact
            divergence over the vocabulary: never negative, lower variance, more work per token.
        temperature (`float`, *optional*, defaults to `1.0`):
            Sampling temperature, which divides the logits.
        batch_size (`int`, *optional*):
            Rows in a forward. If `None`, all trajectories at once.
        factual_logps (`torch.Tensor` of shape `(B, T)`, *optional*):
            Log-probabilities of the completion tokens under the same policy and temperature, right-padded. They save
            `"replay"` its factual forwards if the estimator is `"log_ratio"`, and are not looked at otherwise.
        max_over_processes (`Callable[[list[int]], list[int]]`, *optional*):
            Elementwise maximum over all processes. With it, every process runs the same number of forwards, whatever
            its number of turns, as ZeRO-3 and FSDP need.

    Returns:
        `torch.Tensor` of shape `(B, K)` and dtype `torch.float32`: Gains in nats per token, on the CPU. `K` is the
        largest number of turns, at least 1. NaN where a turn has no gain.

    Raises:
        `ValueError`: If an option is unknown or out of range, if the inputs do not fit together, or if `"tree"` is
            asked for and cannot serve the model.
    """
    for option, value, choices in (("engine", engine, ENGINES), ("estimator", estimator, ESTIMATORS)):
        if value not in choices:
            raise ValueError(f"`{option}` is {value!r}, choose one of {list(choices)}.")
    if temperature <= 0:
        raise ValueError(f"`temperature` is {temperature}, but it divides the logits: set it above 0.")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` is {batch_size}, set it to at least 1, or to None for all at once.")

    gains, trajectories = _find_branches(prompt_ids, completion_ids, turns, masked_observations)
    if not trajectories and max_over_processes is None:
        return gains
    if engine == "auto":
        engine, _ = select_engine(model, max_over_processes)
    elif engine == "tree" and (limitation := tree_limitation(model)) is not None:
        raise ValueError(f"`engine` is 'tree', but {limitation}. Set it to 'replay', or to 'auto'.")
    policy = CausalLM(model)
    share_trunk = _length_dependent_rope(policy.config) is None
    if engine == "tree" or estimator == "kl" or not share_trunk:
        factual_logps = None

    # Groups of trajectories, and in each group batches of branches, the longest first
    batch_size = (batch_size or max(len(trajectories), 1)) if share_trunk else 1
    groups = _batched(sorted(trajectories, key=_num_tokens, reverse=True), batch_size)
    batches = [_batch_branches(group, None if engine == "tree" else batch_size) for group in groups]
    num_batches, num_labels = 0, 0
    if max_over_processes is not None:
        num_batches = max((len(group) for group in batches), default=1)
        num_labels = max((_num_labels(branches) for group in batches for branches in group), default=1)
        num_groups, num_batches, num_labels = max_over_processes([len(groups), num_batches, num_labels])
        groups += [[]] * (num_groups - len(groups))
        batches += [[]] * (num_groups - len(batches))

    with torch.no_grad(), eval_mode(model):
        for group, group_batches in zip(groups, batches, strict=True):
            group_batches = group_batches + [[]] * (num_batches - len(group_batches))
            if engine == "tree":
                units = _run_tree(policy, group)
            else:
                units = _run_replay(policy, group, group_batches, factual_logps is None, share_trunk)
            for branches, factual, counterfactual in units:
                token_gains = _token_gains(
                    policy, branches, factual, counterfactual, estimator, temperature, num_labels
                )
                for branch, gain in zip(branches, token_gains.split([len(b.labels) for b in branches]), strict=True):
                    if factual is None:
                        first = branch.action.start - len(prompt_ids[branch.rollout])
                        gain = gain + factual_logps[branch.rollout, first : first + len(branch.labels)].cpu()
                    gains[branch.rollout, branch.turn] = gain.mean()
    return gains


def _find_branches(
    prompt_ids: list[list[int]],
    completion_ids: list[list[int]],
    turns: list[list[Turn]],
    masked_observations: list[list[list[int] | None]],
) -> tuple[torch.Tensor, list[Trajectory]]:
    """The gains that need no forward, of shape (B, K), and the trajectories of those that do."""
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
            branches.append(
                Branch(
                    rollout=rollout,
                    turn=k,
                    start=len(prompt) + turn.observation.start + shared,
                    ids=masked[shared:] + labels[:-1],
                    action=range(len(prompt) + following.action.start, len(prompt) + following.action.stop),
                    labels=labels,
                )
            )
        if branches:
            trajectories.append(Trajectory((prompt + completion)[: branches[-1].action.stop - 1], branches))
    return gains, trajectories


def _batched(items: list, batch_size: int) -> list[list]:
    return [items[i : i + batch_size] for i in range(0, len(items), batch_size)]


def _num_tokens(trajectory: Trajectory) -> int:
    return len(trajectory.ids) + sum(len(branch.ids) for branch in trajectory.branches)


def _num_labels(branches: list[Branch]) -> int:
    return sum(len(branch.labels) for branch in branches)


def _batch_branches(group: list[Trajectory], batch_size: int | None) -> list[list[Branch]]:
    branches = [branch for trajectory in group for branch in trajectory.branches]
    if batch_size is None:
        return [branches]
    return _batched(sorted(branches, key=lambda branch: branch.start + len(branch.ids), reverse=True), batch_size)


# ---------------------------------------------------------------------------------------------------------- engines


def _run_tree(policy: CausalLM, group: list[Trajectory]) -> Iterator[Unit]:
    """Trunks fill a cache; then the branches of each trajectory go on from it, packed in one row."""
    cache = DynamicCache()  # without a config: every layer keeps all keys, those beyond a sliding window too
    factual = policy.hidden_states(
        [trajectory.ids for trajectory in group], _before_actions(group), past_key_values=cache, use_cache=True
    )

    rows = [[token_id for branch in trajectory.branches for token_id in branch.ids] for trajectory in group]
    columns, segment, position, start = [], [], [], []
    for row, trajectory in enumerate(group):
        end = 0
        for branch in trajectory.branches:
            end += len(branch.ids)
            columns += [(row, column) for column in range(end - len(branch.labels), end)]
        lengths = [len(branch.ids) for branch in trajectory.branches]
        segment.append([i for i, length in enumerate(lengths) for _ in range(length)])
        position.append([branch.start + i for branch in trajectory.branches for i in range(len(branch.ids))])
        start.append([branch.start for branch in trajectory.branches for _ in branch.ids])
    position = policy.pad(position)
    mask = policy.attention_mask(cache.get_seq_length(), policy.pad(segment, -1), position, policy.pad(start))
    counterfactual = policy.hidden_states(
        rows, columns, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
    )
    del cache, mask  # the LM head does not need them
    yield [branch for trajectory in group for branch in trajectory.branches], factual, counterfactual


def _run_replay(
    policy: CausalLM, group: list[Trajectory], batches: list[list[Branch]], with_factual: bool, share_trunk: bool
) -> Iterator[Unit]:
    """
    Trunks once, for the factual side; then every branch as a row of its own, from the first token on. Where the length
    of a row changes the rotary embedding, a trunk cannot be shared: the factual side is a row per branch as well.
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


def _token_gains(
    policy: CausalLM,
    branches: list[Branch],
    factual: torch.Tensor | None,
    counterfactual: torch.Tensor,
    estimator: str,
    temperature: float,
    num_labels: int,
) -> torch.Tensor:
    """
    Gain of each label, of shape (N,); without factual states, its part that is counterfactual. The LM head works in
    chunks, so that few logits are in memory at a time.
    """
    states = counterfactual[None] if factual is None else torch.stack([factual, counterfactual])
    labels = [label for branch in branches for label in branch.labels]
    labels = torch.tensor(labels, dtype=torch.long, device=states.device)
    chunk_size = max(LOGITS_IN_MEMORY // (2 * policy.config.vocab_size), 1)
    gains = [states.new_zeros(0, dtype=torch.float32)]
    for i in range(0, max(states.size(1), num_labels), chunk_size):
        chunk, chunk_labels = states[:, i : i + chunk_size], labels[i : i + chunk_size, None]
        if chunk.size(1) == 0:  # another process has more
            policy.logits(states.new_zeros(1, states.size(2)))
            continue
        logits = policy.logits(chunk.flatten(0, 1)).float().div_(temperature).unflatten(0, chunk.shape[:2])
        if estimator == "kl":
            logps = logits.log_softmax(-1)
            gains.append((logps[0].exp() * (logps[0] - logps[1])).sum(-1))
            continue
        logps = logits.gather(2, chunk_labels.expand(len(chunk), -1, 1))[..., 0] - logits.logsumexp(-1)
        gains.append(-logps[0] if factual is None else logps[0] - logps[1])
    return torch.cat(gains).cpu()


# ------------------------------------------------------------------------------------------------------- validation


def tree_limitation(model: nn.Module) -> str | None:
    """
    Why the `tree` engine cannot serve a model, as far as its configuration tells.

    Args:
        model ([`~transformers.PreTrainedModel`] or `torch.nn.Module`):
            Causal language model, possibly wrapped.

    Returns:
        `str` or `None`: A clause that completes "the tree engine is not used, because …"; `None` if nothing speaks
        against it.
    """
    policy = CausalLM(model)
    causal_lm, config = policy.causal_lm, policy.causal_lm.config
    if policy.adapter is not None and policy.adapter.is_prompt_learning:
        return f"{type(policy.adapter).__name__} puts virtual tokens before the trajectory"
    if config.get_text_config() is not config:
        return f"{type(config).__name__} is the configuration of a multimodal model"
    if causal_lm._is_stateful:
        return f"{type(causal_lm).__name__} is recurrent"
    if unknown := set(getattr(config, "layer_types", None) or []) - TREE_LAYER_TYPES:
        return f"{type(causal_lm).__name__} has layers of type {sorted(unknown)}"
    if getattr(config, "alibi", False) or config.model_type in ("bloom", "mpt"):
        return f"{type(causal_lm).__name__} has ALiBi position biases"
    if rope_type := _length_dependent_rope(config):
        return f"its rotary embedding ({rope_type}) depends on the length of the row"
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"its attention implementation {config._attn_implementation!r} takes no 4-D mask"
    return None


def _length_dependent_rope(config: PreTrainedConfig) -> str | None:
    """Type of a rotary embedding that changes with the length of the row, None for all others."""
    rope = getattr(config, "rope_parameters", None) or {}
    rope_types = {rope["rope_type"]} if "rope_type" in rope else {v["rope_type"] for v in rope.values() if v}
    return next(iter(rope_types & {"dynamic", "longrope"}), None)


def select_engine(
    model: nn.Module, max_over_processes: Callable[[list[int]], list[int]] | None = None
) -> tuple[str, str]:
    """
    Choose an engine: `tree` if nothing in the model's configuration speaks against it, if its branches do not see what
    they must not, and if it agrees with `replay` on random trajectories.

    Args:
        model ([`~transformers.PreTrainedModel`] or `torch.nn.Module`):
            Causal language model, possibly wrapped.
        max_over_processes (`Callable[[list[int]], list[int]]`, *optional*):
            Elementwise maximum over all processes; `tree` is chosen if it passes on all of them.

    Returns:
        `tuple[str, str]`: The engine, and the reason.
    """
    limitation = tree_limitation(model)
    if limitation is not None:
        return "replay", limitation
    policy = CausalLM(model)
    tolerance = PROBE_TOLERANCE if policy.compute_dtype.itemsize >= 4 else HALF_PRECISION_PROBE_TOLERANCE
    with torch.no_grad(), eval_mode(model):
        leak, gap = _leak(policy), _gap(policy)
    failed = [int(not leak <= tolerance), int(not gap <= tolerance)]
    if max_over_processes is not None:
        failed = max_over_processes(failed)
    if failed[0]:
        return (
            "replay",
            f"branches see what they must not (here, their hidden states change by {leak:.1e}, relatively)",
        )
    if failed[1]:
        return (
            "replay",
            f"the tree engine is too far from replay (here, {gap:.1e} nats per token off the replay engine)",
        )
    return "tree", f"its branches see only their own past, and it is within {gap:.1e} nats per token of replay"


def _random_rollouts(vocab_size: int) -> dict[str, list]:
    """Two rollouts of unequal length with four turns each, as arguments of `score_information_gain`."""
    generator = torch.Generator().manual_seed(0)

    def random_ids(length: int) -> list[int]:
        return torch.randint(vocab_size, (length,), generator=generator).tolist()

    masks = [[1] * 8 + ([0] * 12 + [1] * 7) * 3, [1] * 5 + ([0] * 9 + [1] * 10) * 3]
    placeholder = random_ids(5)
    return {
        "prompt_ids": [random_ids(24), random_ids(17)],
        "completion_ids": [random_ids(len(mask)) for mask in masks],
        "turns": [segment_turns(mask) for mask in masks],
        "masked_observations": [[placeholder] * 4] * 2,
    }


def _leak(policy: CausalLM) -> float:
    """Largest relative change of a branch's hidden states when every token that it must not see is replaced."""
    _, [trajectory, _] = _find_branches(**_random_rollouts(policy.config.vocab_size))
    generator = torch.Generator().manual_seed(1)

    def random_like(ids: list[int]) -> list[int]:
        return torch.randint(policy.config.vocab_size, (len(ids),), generator=generator).tolist()

    def states(trajectory: Trajectory) -> tuple[torch.Tensor, ...]:
        [(branches, _, counterfactual)] = _run_tree(policy, [trajectory])
        return counterfactual.split([len(branch.labels) for branch in branches])

    expected, changes = states(trajectory), []
    for i, branch in enumerate(trajectory.branches):
        ids = trajectory.ids[: branch.start] + random_like(trajectory.ids[branch.start :])
        branches = [b if b is branch else b._replace(ids=random_like(b.ids)) for b in trajectory.branches]
        changes.append((states(Trajectory(ids, branches))[i] - expected[i]).abs().max() / expected[i].abs().max())
    return max(changes).item()


def _gap(policy: CausalLM) -> float:
    """Largest distance of the tree engine's gains from those of the replay engine, in nats per token."""
    rollouts = _random_rollouts(policy.config.vocab_size)
    tree, replay = (score_information_gain(policy.model, **rollouts, engine=engine) for engine in ("tree", "replay"))
    return (tree - replay)[~replay.isnan()].abs().max().item()
