# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Finds faults of an environment by playing it before training."""

from .checks import CHARACTERS_PER_TOKEN, SPECIAL, USUAL
from .examination import check_environment
from .findings import ERROR, SHOWN_GAINS, WARNING, Checkup, FeedbackGain, Finding
from .gains import PAYS
from .player import GOODBYE, QUESTIONS


__all__ = [
    "CHARACTERS_PER_TOKEN",
    "ERROR",
    "GOODBYE",
    "PAYS",
    "QUESTIONS",
    "SHOWN_GAINS",
    "SPECIAL",
    "USUAL",
    "WARNING",
    "Checkup",
    "FeedbackGain",
    "Finding",
    "check_environment",
]
