# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Registers `maskless`, a stand-in for FlashAttention, which needs a GPU."""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask


def maskless(module, query, key, value, attention_mask, scaling=None, **kwargs):
    """Causal attention that takes no mask but one of padding."""
    if attention_mask is not None and attention_mask.dim() != 2:
        raise ValueError("Masks of four dimensions are not supported.")
    num_queries, num_keys = query.size(2), key.size(2)
    mask = torch.ones(num_queries, num_keys, dtype=torch.bool).tril(num_keys - num_queries)
    if attention_mask is not None:
        mask = mask & attention_mask[:, None, None, -num_keys:].bool()
        mask = mask | ~mask.any(-1, keepdim=True)  # rows of padding
    output = scaled_dot_product_attention(query, key, value, mask, scale=scaling, enable_gqa=True)
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register("maskless", maskless)
AttentionMaskInterface.register("maskless", flash_attention_mask)
