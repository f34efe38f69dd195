# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Third-party environments, unmodified, each in a module of its own that imports the package when it is needed."""
