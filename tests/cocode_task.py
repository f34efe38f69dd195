# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A task of `cocode`, and the mark of tests that run submissions."""

import pytest

from trl_infopo.environments.cocode import sandbox_limitation


needs_sandbox = pytest.mark.skipif(sandbox_limitation() is not None, reason=f"no isolation: {sandbox_limitation()}")

ROW = {
    "prompt": [{"role": "user", "content": "I need a Python function `unique(names)`."}],
    "function": "unique",
    "choices": '["are different names", "none of them", "in reverse order"]',
    "seed": 0,
}
