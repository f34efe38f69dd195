# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings about settings under which training runs but learns nothing."""

import warnings

import torch
from accelerate.utils import is_peft_model
from torch import nn


SAMPLED = 1000  # weights of each parameter that are checked
LORA_LEARNING_RATE = 1e-5  # ten times that of full training: TRL's "LoRA Without Regret" and its guide to PEFT


def warn_of_idle_weights(model: nn.Module, learning_rate: float) -> None:
    """
    Warn of a learning rate that is too small for the trained weights.

    AdamW changes a weight by about the learning rate. In bfloat16, with its 8 bits of precision, that is less than the
    distance to the next number for most weights, so that they do not change. Adapters need a larger rate than full
    training.

    Args:
        model ([`~transformers.PreTrainedModel`] or [`~peft.PeftModel`]):
            Model to train.
        learning_rate (`float`):
            Its learning rate.
    """
    if learning_rate == 0:
        return
    if is_peft_model(model):
        if learning_rate < LORA_LEARNING_RATE / 2:
            warnings.warn(
                f"`learning_rate` is {learning_rate:g}, as for full training, but an adapter is trained. Adapters "
                f"need about ten times as much: set `learning_rate={LORA_LEARNING_RATE:g}` or more.",
                stacklevel=2,
            )
        return
    weights = [
        parameter.detach().flatten()[:SAMPLED].abs().cpu() * torch.finfo(parameter.dtype).eps
        for parameter in model.parameters()
        if parameter.requires_grad and parameter.dim() > 1 and parameter.is_floating_point()
    ]
    if not weights:
        return
    moving = (torch.cat([weight.float() for weight in weights]) / 4 < learning_rate).float().mean().item()
    if moving < 0.5:
        dtype = str(next(p.dtype for p in model.parameters() if p.requires_grad)).removeprefix("torch.")
        warnings.warn(
            f"`learning_rate` is {learning_rate:g} and the weights are {dtype}: a step of that size can change only "
            f"{moving:.1%} of them, the rest is rounded to what it was. Load the model in float32 (`dtype: float32`) "
            "and keep `bf16: true`, which computes in bfloat16, or train an adapter.",
            stacklevel=2,
        )
