# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""TRL 1.15's LM head without its Triton kernels, so that its trainers train on a CPU. For tests alone."""

import torch
from torch.nn import functional as F


class PlainLogProbFunction:
    """What TRL's `ChunkedLogProbFunction` computes, written down on the whole logits."""

    @staticmethod
    def apply(hidden, weight, bias, targets, temperature, chunk_size, softcap=None, logit_scale=1.0, outputs=()):
        logits = F.linear(hidden, weight.to(hidden.dtype), bias).float() * logit_scale
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        logps = (logits / temperature).log_softmax(dim=-1)
        optional = {
            "entropy": -(logps.exp() * logps).sum(dim=-1),
            "log_sum_sq_probs": (2 * logps).logsumexp(dim=-1).detach(),
            "mean_logits": (logits / temperature).mean(dim=-1).detach(),
            "is_top1": logps.argmax(dim=-1) == targets,
        }
        return (
            logps.gather(-1, targets[:, None]).squeeze(-1),
            *(value if name in outputs else None for name, value in optional.items()),
        )


def install() -> None:
    """Take the place of the kernels where they could not be imported."""
    from trl.trainer import utils

    if utils._ChunkedLogProbFunction is None:
        utils._ChunkedLogProbFunction = PlainLogProbFunction
