# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""All that a run depends on besides the code: how much of everything, and the options of its trainers."""

from dataclasses import asdict, dataclass

from .arms import ARMS
from .regimes import REGIMES, Regime


@dataclass(frozen=True)
class Sizes:
    """
    How much of everything. The defaults are those of all committed results.

    Attributes:
        warm_start_steps (`int`, *optional*, defaults to `512`):
            Steps of the supervised warm start, each on 32 conversations.
        num_demonstrations (`int`, *optional*, defaults to `4096`):
            Number of conversations that the warm start draws from.
        steps (`int`, *optional*, defaults to `100`):
            Steps of reinforcement learning.
        eval_steps (`int`, *optional*, defaults to `20`):
            Steps between two evaluations.
        num_prompts (`int`, *optional*, defaults to `8`):
            Groups in a step.
        num_generations (`int`, *optional*, defaults to `8`):
            Rollouts in a group.
        num_held_out (`int`, *optional*, defaults to `256`):
            Held-out tasks.
    """

    warm_start_steps: int = 512
    num_demonstrations: int = 4096
    steps: int = 100
    eval_steps: int = 20
    num_prompts: int = 8
    num_generations: int = 8
    num_held_out: int = 256


SHARED_OPTIONS = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "adam_beta2": 0.99,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
WARM_START_OPTIONS = {
    "per_device_train_batch_size": 32,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 20,
    "assistant_only_loss": True,
}
TRAINING_OPTIONS = {
    "max_turns": 8,
    "max_completion_length": 160,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant",
    "num_generations_eval": 1,
    "log_information_gain": True,  # GRPO's gains are worth looking at, and tell its tied groups
}


def warm_start_settings(regime: Regime, seed: int, sizes: Sizes) -> dict:
    return {
        "family": regime.family,
        "habits": regime.habits,
        "seed": seed,
        "steps": sizes.warm_start_steps,
        "num_demonstrations": sizes.num_demonstrations,
        "options": WARM_START_OPTIONS,
    }


def run_settings(regime_name: str, arm_name: str, seed: int, sizes: Sizes) -> dict:
    """All that a result depends on, besides the code. A result with other settings is another result."""
    regime, arm = REGIMES[regime_name], ARMS[arm_name]
    return {
        "regime": regime_name,
        "arm": arm_name,
        "seed": seed,
        "environment": regime.environment,
        "dataset": regime.dataset,
        "options": {**TRAINING_OPTIONS, **regime.options, **arm.options},
        "trainer": arm.trainer.__name__,
        "sizes": asdict(sizes),
        "warm_start": warm_start_settings(regime, seed, sizes),
    }
