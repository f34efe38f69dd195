# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Imports that wait until they are needed, so that collecting tests does not take the seconds of each of them."""

import sys
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType


def lazily(name: str) -> ModuleType:
    """A module that is loaded when something of it is used."""
    spec = find_spec(name)
    spec.loader = LazyLoader(spec.loader)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
