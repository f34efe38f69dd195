# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Information gain of a turn: section 3.1 of InfoPO (arXiv 2603.00656), and the choice of the engine.

    IG_k = mean over the tokens j of a_{k+1} of
               log p(a_{k+1,j} | ... a_k, o_k, a_{k+1,<j}) - log p(a_{k+1,j} | ... a_k, masked o_k, a_{k+1,<j})

One forward pass over a trajectory, its trunk, gives the first term of every turn. The second needs only the masked o_k
and a_{k+1} on top of what came before: a branch. Of the two [engines][trl_infopo.engines] that run branches, `tree` is
faster, and `replay` works for every model.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ._options import check_choice, check_number
from .causal_lm import MASKABLE, CausalLM, eval_mode, maskable_attention
from .engines import (
    Branch,
    Trajectory,
    batch_branches,
    batched,
    count_labels,
    count_tokens,
    find_branches,
    pack_branches,
    run_replay,
    run_tree,
)
from .turns import Turn, segment_turns


ENGINES = ("auto", "tree", "replay")
ESTIMATORS = ("log_ratio", "kl")
LOGITS_IN_MEMORY = 2**25  # at a time in the LM head, factual and counterfactual together: 128 MiB in float32
LOGITS_IN_GPU_MEMORY = 2**27  # the same on a GPU, where calls cost more and memory less: 512 MiB
TREE_LAYER_TYPES = {"full_attention", "sliding_attention", "chunked_attention"}
PROBE_TOLERANCE = 1e-4
HALF_PRECISION_PROBE_TOLERANCE = 0.1  # rounding alone moves a gain by about 1e-2 nats, in every engine


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
    token_logps: dict[tuple[int, int], torch.Tensor] | None = None,
) -> torch.Tensor:
    """
    Score how much the feedback of each turn changed what the agent did next.

    A turn has a gain if it has an observation, a masked observation and a following action. Feedback that equals its
    masked form has a gain of exactly 0, without a forward pass. Dropout and gradients are off while scoring. Source:
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
            For each turn, the token ids that replace its observation; `None` where the turn is not to be scored.
        engine (`str`, *optional*, defaults to `"auto"`):
            `"tree"`, `"replay"`, or `"auto"` to let [`~trl_infopo.information_gain.select_engine`] probe the model and
            choose, on every call.
        estimator (`str`, *optional*, defaults to `"log_ratio"`):
            `"log_ratio"` compares the log-probabilities of the sampled tokens only (InfoPO). `"kl"` takes, at each of
            them, the exact divergence over the vocabulary: never negative, lower variance, more work per token.
        temperature (`float`, *optional*, defaults to `1.0`):
            Sampling temperature, which divides the logits.
        batch_size (`int`, *optional*):
            Number of rows in a forward pass. If `None`, all trajectories at once.
        factual_logps (`torch.Tensor` of shape `(B, T)`, *optional*):
            Log-probabilities of the completion tokens under the same policy and temperature, right-padded. With them,
            `"replay"` needs no factual passes if the estimator is `"log_ratio"`; otherwise they are not used.
        max_over_processes (`Callable[[list[int]], list[int]]`, *optional*):
            Elementwise maximum over all processes. With it, every process runs the same number of forward passes,
            whatever its number of turns, as ZeRO-3 and FSDP need.
        token_logps (`dict[tuple[int, int], torch.Tensor]`, *optional*):
            A record to fill: keyed by rollout and turn, the log-probabilities of the tokens of the following action
            with and without the feedback, of shape `(2, N)`, on the CPU. Turns whose gain needs no forward pass
            are left out.

    Returns:
        `torch.Tensor` of shape `(B, K)` and dtype `torch.float32`: Gains in nats per token, on the CPU. `K` is the
        largest number of turns, at least 1. NaN where a turn has no gain, infinity where its gain is not a finite
        number: where the model gives a token no probability, or its logits overflow.

    Raises:
        `ValueError`: If an option is unknown or out of range, if the inputs do not fit together, or if `"tree"` is
            requested and does not support the model.
    """
    check_choice("engine", engine, ENGINES)
    check_choice("estimator", estimator, ESTIMATORS)
    check_number("temperature", temperature, above=0, hint="it divides the logits")
    if batch_size is not None:
        check_number("batch_size", batch_size, integer=True, at_least=1, hint="or to None for all at once")

    policy = CausalLM(model)
    gains, trajectories = find_branches(prompt_ids, completion_ids, turns, masked_observations, policy.max_positions)
    if not trajectories and max_over_processes is None:
        return gains
    if engine == "auto":
        engine, _ = select_engine(model, max_over_processes)
    elif engine == "tree" and (limitation := tree_limitation(model)) is not None:
        raise ValueError(f"`engine` is 'tree', but {limitation}. Set it to 'replay', or to 'auto'.")
    share_trunk = _length_dependent_rope(policy.config) is None
    if engine == "tree" or estimator == "kl" or not share_trunk:
        factual_logps = None

    # Groups of trajectories, and the branches of each in forward passes, the longest first
    batch_size = (batch_size or max(len(trajectories), 1)) if share_trunk else 1
    groups = batched(sorted(trajectories, key=count_tokens, reverse=True), batch_size)
    if engine == "tree":
        forwards = [pack_branches(group, policy.on_gpu) for group in groups]
        num_labels = [count_labels(trajectory.branches for trajectory in group) for group in groups]
    else:
        forwards = [batch_branches(group, batch_size) for group in groups]
        num_labels = [count_labels([branches]) for group in forwards for branches in group]
    num_forwards, most_labels = 0, 0
    if max_over_processes is not None:
        num_groups, num_forwards, most_labels = max_over_processes(
            [len(groups), max(map(len, forwards), default=1), max(num_labels, default=1)]
        )
        groups += [[]] * (num_groups - len(groups))
        forwards += [[]] * (num_groups - len(forwards))

    attention = maskable_attention(policy) if engine == "tree" else nullcontext()
    with torch.no_grad(), eval_mode(model), attention:
        for group, group_forwards in zip(groups, forwards, strict=True):
            if engine == "tree":
                units = run_tree(policy, group, group_forwards, num_forwards)
            else:
                group_forwards = group_forwards + [[]] * (num_forwards - len(group_forwards))
                units = run_replay(policy, group, group_forwards, factual_logps is None, share_trunk)
            for branches, factual, counterfactual in units:
                token_gains, logps = _score_tokens(
                    policy, branches, factual, counterfactual, estimator, temperature, most_labels, token_logps is None
                )
                if factual is None and branches:
                    known = torch.cat([_labels_of(factual_logps, branch, prompt_ids) for branch in branches])
                    token_gains = token_gains + known
                    logps = logps if logps is None else torch.cat([known[None], logps])
                sizes = [len(branch.labels) for branch in branches]
                for branch, gain in zip(branches, token_gains.split(sizes), strict=True):
                    gain = gain.mean()
                    # NaN would read as "not scored"
                    gains[branch.rollout, branch.turn] = gain if gain.isfinite() else torch.inf
                if token_logps is not None:
                    for branch, pair in zip(branches, logps.split(sizes, dim=1), strict=True):
                        token_logps[branch.rollout, branch.turn] = pair
    return gains


def _labels_of(factual_logps: torch.Tensor, branch: Branch, prompt_ids: list[list[int]]) -> torch.Tensor:
    """Factual log-probabilities of the labels of a branch, of shape (N,)."""
    before = len(prompt_ids[branch.rollout])
    return factual_logps[branch.rollout, branch.action.start - before : branch.action.stop - before].cpu()


def _score_tokens(
    policy: CausalLM,
    branches: list[Branch],
    factual: torch.Tensor | None,
    counterfactual: torch.Tensor,
    estimator: str,
    temperature: float,
    most_labels: int,
    gains_only: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """
    Gain of each label, of shape (N,); without factual states, only its counterfactual part. And, if requested, the
    log-probabilities of the labels, of shape (2, N) or (1, N): one row for each kind of states. The LM head works in
    chunks, so that few logits are in memory at a time.
    """
    states = counterfactual[None] if factual is None else torch.stack([factual, counterfactual])
    labels = [label for branch in branches for label in branch.labels]
    labels = torch.tensor(labels, dtype=torch.long, device=states.device)
    num_logits = LOGITS_IN_GPU_MEMORY if policy.on_gpu else LOGITS_IN_MEMORY
    chunk_size = max(num_logits // (2 * policy.config.vocab_size), 1)
    gains = [states.new_zeros(0, dtype=torch.float32)]
    label_logps = [states.new_zeros(len(states), 0, dtype=torch.float32)]
    for i in range(0, max(states.size(1), most_labels), chunk_size):
        chunk, chunk_labels = states[:, i : i + chunk_size], labels[i : i + chunk_size, None]
        if chunk.size(1) == 0:  # another process has more
            policy.logits(states.new_zeros(1, states.size(2)))
            continue
        logits = policy.logits(chunk.flatten(0, 1)).float().div_(temperature).unflatten(0, chunk.shape[:2])
        chunk_labels = chunk_labels.expand(len(chunk), -1, 1)
        if estimator == "kl":
            logps = logits.log_softmax(-1)
            # A token that has no probability adds nothing, whatever the counterfactual gives it
            summands = logps[0].exp() * (logps[0] - logps[1])
            gains.append(summands.masked_fill(logps[0] == -torch.inf, 0).sum(-1))
            if not gains_only:
                label_logps.append(logps.gather(2, chunk_labels)[..., 0])
            continue
        logps = logits.gather(2, chunk_labels)[..., 0] - logits.logsumexp(-1)
        gains.append(-logps[0] if factual is None else logps[0] - logps[1])
        label_logps.append(logps)
    return torch.cat(gains).cpu(), None if gains_only else torch.cat(label_logps, dim=1).cpu()


# ------------------------------------------------------------------------------------------------------- validation


def tree_limitation(model: nn.Module) -> str | None:
    """
    Why the `tree` engine does not support a model, as far as its configuration tells.

    Args:
        model ([`~transformers.PreTrainedModel`] or `torch.nn.Module`):
            Causal language model, possibly wrapped.

    Returns:
        `str` or `None`: A clause that completes "the tree engine is not used, because …"; `None` if the configuration
        allows it.
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
    if config._attn_implementation not in MASKABLE and not causal_lm._can_set_attn_implementation():
        return (
            f"its attention implementation {config._attn_implementation!r} does not accept a custom mask, and "
            f"{type(causal_lm).__name__} has no other"
        )
    return None


def ignores_left_padding(model: nn.Module) -> bool:
    """
    Whether left padding changes nothing, although TRL counts it in the positions. So it is with rotary embeddings,
    which depend on distances alone, and not with learned positions.

    Args:
        model ([`~transformers.PreTrainedModel`] or `torch.nn.Module`):
            Causal language model, possibly wrapped.

    Returns:
        `bool`: Whether it is sure.
    """
    has_rope = getattr(CausalLM(model).config, "rope_parameters", None) is not None
    return has_rope and tree_limitation(model) is None


def _length_dependent_rope(config: PreTrainedConfig) -> str | None:
    """Type of a rotary embedding that changes with the length of the row, None for all others."""
    rope = getattr(config, "rope_parameters", None) or {}
    rope_types = {rope["rope_type"]} if "rope_type" in rope else {v["rope_type"] for v in rope.values() if v}
    return next(iter(rope_types & {"dynamic", "longrope"}), None)


def select_engine(
    model: nn.Module, max_over_processes: Callable[[list[int]], list[int]] | None = None
) -> tuple[str, str]:
    """
    Choose an engine: `tree` if the model's configuration allows it, if its branches do not see what they must not, and
    if it agrees with `replay` on random trajectories.

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
    configured = policy.config._attn_implementation
    with torch.no_grad(), eval_mode(model), maskable_attention(policy):
        leak, gap, used = _leak(policy), _gap(policy), policy.config._attn_implementation
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
    reason = f"its branches see only their own past, and it is within {gap:.1e} nats per token of replay"
    if used != configured:
        reason += f"; while it scores, {used!r} attention replaces {configured!r}, which does not accept a custom mask"
    return "tree", reason


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
    _, [trajectory, _] = find_branches(**_random_rollouts(policy.config.vocab_size))
    generator = torch.Generator().manual_seed(1)

    def random_like(ids: list[int]) -> list[int]:
        return torch.randint(policy.config.vocab_size, (len(ids),), generator=generator).tolist()

    def states(trajectory: Trajectory) -> tuple[torch.Tensor, ...]:
        [(branches, _, counterfactual)] = run_tree(policy, [trajectory], pack_branches([trajectory]))
        return counterfactual.split([len(branch.labels) for branch in branches])

    expected, changes = states(trajectory), []
    for i, branch in enumerate(trajectory.branches):
        ids = trajectory.ids[: branch.start] + random_like(trajectory.ids[branch.start :])
        branches = [b if b is branch else b._replace(ids=random_like(b.ids)) for b in trajectory.branches]
        changes.append((states(Trajectory(ids, branches))[i] - expected[i]).abs().max() / expected[i].abs().max())
    return max(changes).item()


def _gap(policy: CausalLM) -> float:
    """Largest difference between the gains of the two engines, in nats per token."""
    rollouts = _random_rollouts(policy.config.vocab_size)
    tree, replay = (score_information_gain(policy.model, **rollouts, engine=engine) for engine in ("tree", "replay"))
    gaps = (tree - replay)[replay.isfinite()].abs()  # infinite where a random token is one that the model masks
    return gaps.max().item() if len(gaps) else torch.inf
