# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Families of tasks for a tiny policy: words, demonstrations for its warm start, an oracle, and what a question was.

A demonstrator masters the form of a game, but neither what to ask nor when to stop asking.
"""

from .booking import BOOKING
from .clarify import CLARIFY
from .common import QUESTIONS, Family
from .explore import EXPLORE
from .helpdesk import HELPDESK


__all__ = ["FAMILIES", "QUESTIONS", "Family"]

FAMILIES = {"booking": BOOKING, "clarify": CLARIFY, "helpdesk": HELPDESK, "explore": EXPLORE}
