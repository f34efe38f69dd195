# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters to environments of others, one module each. Each needs its upstream, which it says how to install."""
