# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""`cocode`: collaborative coding with a user who knows the details, and a sandbox for the code."""

from .env import CocodeEnv, cocode_dataset, cocode_oracle
from .sandbox import Limits, Outcome, SandboxError, SandboxResult, run_code, sandbox_limitation


__all__ = [
    "CocodeEnv",
    "Limits",
    "Outcome",
    "SandboxError",
    "SandboxResult",
    "cocode_dataset",
    "cocode_oracle",
    "run_code",
    "sandbox_limitation",
]
