# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random causal language models of many architectures, and random ragged rollouts for them."""

import random

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from trl_infopo.turns import Turn, segment_turns


VOCAB_SIZE = 128
SLIDING_WINDOW = 20

# Weights large enough for predictions, and so gains, to be far from uniform
SMALL = {"vocab_size": VOCAB_SIZE, "hidden_size": 64, "initializer_range": 0.15}
COMMON = {
    **SMALL,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MOE = {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
SLIDING = {"sliding_window": SLIDING_WINDOW}

# name: (model type, arguments of its configuration)
TREE_MODELS = {
    "qwen2": ("qwen2", COMMON),
    "qwen2_mixed_sliding": ("qwen2", COMMON | SLIDING | {"use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("qwen3", COMMON | {"head_dim": 16}),
    "qwen3_moe": ("qwen3_moe", COMMON | MOE),
    "llama": ("llama", COMMON),
    "mistral_sliding": ("mistral", COMMON | SLIDING),
    "gemma2": (
        "gemma2",
        COMMON | SLIDING | {"head_dim": 16, "query_pre_attn_scalar": 16, "final_logit_softcapping": 3.0},
    ),
    "gemma3_text": (
        "gemma3_text",
        COMMON
        | SLIDING
        | {
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
    ),
    "llama4_text": (
        "llama4_text",
        COMMON
        | {
            "head_dim": 16,
            "intermediate_size_mlp": 96,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "attention_chunk_size": 24,
            "moe_layers": [1],
            "no_rope_layers": [1, 0],
        },
    ),
    "gpt_oss": ("gpt_oss", COMMON | SLIDING | {"head_dim": 16, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "gpt2": (
        "gpt2",
        {
            "vocab_size": VOCAB_SIZE,
            "n_embd": 64,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 512,
            "initializer_range": 0.15,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "granite": ("granite", COMMON | {"logits_scaling": 3.0}),
    "cohere2": ("cohere2", COMMON | SLIDING | {"logit_scale": 0.5}),
}
REPLAY_MODELS = {
    "lfm2": ("lfm2", COMMON | {"layer_types": ["conv", "full_attention"], "block_ff_dim": 96, "conv_L_cache": 3}),
    "mamba2": (
        "mamba2",
        SMALL
        | {
            "num_hidden_layers": 2,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 16,
            "n_groups": 2,
            "chunk_size": 16,
        },
    ),
    "qwen3_next": (
        "qwen3_next",
        COMMON
        | MOE
        | {
            "shared_expert_intermediate_size": 32,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
    "bloom": ("bloom", SMALL | {"n_layer": 2, "n_head": 4}),
    "mpt": (
        "mpt",
        {
            "vocab_size": VOCAB_SIZE,
            "d_model": 64,
            "n_layers": 2,
            "n_heads": 4,
            "max_seq_len": 512,
            "initializer_range": 0.15,
        },
    ),
    "falcon_alibi": ("falcon", SMALL | {"num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True}),
    "llama_dynamic_rope": (
        "llama",
        COMMON
        | {
            "max_position_embeddings": 64,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
        },
    ),
    "phi3_longrope": (
        "phi3",
        COMMON
        | {
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 8,
                "long_factor": [4.0] * 8,
                "original_max_position_embeddings": 64,
            },
        },
    ),
}


def tiny_model(name: str, attn_implementation: str | None = None, **overrides) -> PreTrainedModel:
    """
    A random float32 model in eval mode, the same on every call.

    Args:
        name (`str`):
            A key of `TREE_MODELS` or `REPLAY_MODELS`.
        attn_implementation (`str`, *optional*):
            If `None`, SDPA where the architecture supports it, else eager attention.
        overrides:
            Further arguments of the configuration.
    """
    model_type, arguments = (TREE_MODELS | REPLAY_MODELS)[name]
    config = AutoConfig.for_model(model_type, **(arguments | overrides))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=attn_implementation, dtype=torch.float32
        ).eval()
    return model


def random_rollouts(seed: int, num_rollouts: int = 3, max_turns: int = 4) -> dict[str, list]:
    """
    Ragged rollouts as arguments of `score_information_gain`: one to `max_turns` turns each, some of them ending with
    an observation. An observation and its masked form share their scaffolding, and one in six is not to be scored.
    """
    rng = random.Random(seed)

    def random_ids(shortest: int, longest: int) -> list[int]:
        return [rng.randrange(3, VOCAB_SIZE) for _ in range(rng.randint(shortest, longest))]

    before, after = random_ids(2, 2), random_ids(2, 2)
    rollouts: dict[str, list] = {"prompt_ids": [], "completion_ids": [], "turns": [], "masked_observations": []}
    for _ in range(num_rollouts):
        completion, action_mask, masked = [], [], []
        for _ in range(rng.randint(1, max_turns)):
            action, observation = random_ids(1, 10), before + random_ids(1, 15) + after
            completion += action + observation
            action_mask += [1] * len(action) + [0] * len(observation)
            masked.append(None if rng.random() < 1 / 6 else before + random_ids(1, 8) + after)
        if rng.random() < 0.7:  # the last observation was never answered in the others
            completion, action_mask = completion[: -len(observation)], action_mask[: -len(observation)]
        turns: list[Turn] = segment_turns(action_mask)
        rollouts["prompt_ids"].append(random_ids(5, 25))
        rollouts["completion_ids"].append(completion)
        rollouts["turns"].append(turns)
        rollouts["masked_observations"].append(masked)
    return rollouts
