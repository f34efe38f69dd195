# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""InfoPO for TRL: credit each turn of an agent by how much its feedback changed what the agent did next."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from ._compat import check_trl_version


check_trl_version()

__version__ = version("trl-infopo")

if TYPE_CHECKING:
    from .doctor import check_environment
    from .evaluation import evaluate
    from .infopo_config import InfoPOConfig
    from .infopo_trainer import InfoPOTrainer
    from .traces import load_traces

_LAZY = {
    "InfoPOConfig": ".infopo_config",
    "InfoPOTrainer": ".infopo_trainer",
    "check_environment": ".doctor",
    "evaluate": ".evaluation",
    "load_traces": ".traces",
}

__all__ = ["InfoPOConfig", "InfoPOTrainer", "check_environment", "evaluate", "load_traces"]


def __getattr__(name: str):
    # TRL loads when a trainer is first asked for, so that `import trl_infopo` stays light
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
