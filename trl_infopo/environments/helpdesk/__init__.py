# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tool decisions: the help desk of a shop, with a policy, a database and customers."""

from .env import HelpdeskEnv
from .oracle import helpdesk_oracle
from .tasks import KINDS, POLICY, helpdesk_dataset


__all__ = ["KINDS", "POLICY", "HelpdeskEnv", "helpdesk_dataset", "helpdesk_oracle"]
