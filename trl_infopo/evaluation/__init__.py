# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of policies: success, reward, turns and questions with each user, and the shift between users."""

from .episodes import NO_PROMPT, check_rows, running_event_loop, start_episode, to_number
from .playing import evaluate
from .statistics import (
    COMPACT,
    CONFIDENCE,
    NUM_RESAMPLES,
    Estimate,
    Evaluation,
    bootstrap_mean,
    pass_hat_k,
    user_shift_table,
)
from .store import RECORD, lock_directory, write_whole


__all__ = [
    "COMPACT",
    "CONFIDENCE",
    "NO_PROMPT",
    "NUM_RESAMPLES",
    "RECORD",
    "Estimate",
    "Evaluation",
    "bootstrap_mean",
    "check_rows",
    "evaluate",
    "lock_directory",
    "pass_hat_k",
    "running_event_loop",
    "start_episode",
    "to_number",
    "user_shift_table",
    "write_whole",
]
