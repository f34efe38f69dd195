# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Where InfoPO learns better than GRPO, and where it does not.

python -m benchmarks.learning run --regime booking --arm group --seed 0
python -m benchmarks.learning grid --regimes booking dense --arms grpo group --seeds 0 1 2
python -m benchmarks.learning shift --arms grpo agreement --seeds 3 4 5
python -m benchmarks.learning table
python -m benchmarks.learning check --rows 3 --seed 0
"""

import os
import sys
from importlib import import_module


COMMANDS = {"run": "run", "grid": "grid", "shift": "shift", "table": "tables", "check": "check"}  # and their modules


def main(argv: list[str]) -> None:
    if not argv or argv[0] not in COMMANDS:
        raise SystemExit(f"{__doc__.strip()}\n\n`--help` after a command lists its options.")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    name, *options = argv
    module = import_module(f".{COMMANDS[name]}", __package__)
    arguments = getattr(module, f"{name.title()}Arguments")
    [args] = TrlParser(arguments, prog=f"python -m benchmarks.learning {name}").parse_args_and_config(options)
    module.main(args)


if __name__ == "__main__":
    main(sys.argv[1:])
