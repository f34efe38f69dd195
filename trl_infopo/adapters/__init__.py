# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of others as they are, each in a module of its own that imports its upstream when it is needed."""
