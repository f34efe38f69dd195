# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of others, as TRL's trainers take them. Each module loads what it needs when it is used."""
