# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Names of parametrized cases."""

import re


def case_name(value: object) -> str:
    """The `repr` of a value without addresses in memory: all processes of pytest-xdist must give a case one name."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
