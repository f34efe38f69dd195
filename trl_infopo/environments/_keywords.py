# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""How environments write the keywords of what their users know."""


def words(text: str) -> tuple[str, ...]:
    """Keywords that commas separate, as a [`~trl_infopo.users.Fact`] takes them."""
    return tuple(text.split(", "))
