# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of `trl-infopo`."""
