# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of others as they are: τ²-bench and more, each in a module of its own that imports its upstream late."""
