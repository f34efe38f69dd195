# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Where InfoPO learns better than GRPO, and where it does not.

python -m benchmarks.learning run --regime booking --arm group --seed 0
python -m benchmarks.learning grid --regimes booking dense --arms grpo group --seeds 0 1 2
python -m benchmarks.learning shift --arms grpo agreement --seeds 3 4 5
python -m benchmarks.learning table
"""

import os
import sys


COMMANDS = ("run", "grid", "shift", "table")


def main(argv: list[str]) -> None:
    if not argv or argv[0] not in COMMANDS:
        raise SystemExit(f"{__doc__.strip()}\n\n`--help` after a command lists its options.")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    if argv[0] == "run":
        from .run import RunArguments as Arguments
        from .run import main as command
    elif argv[0] == "grid":
        from .grid import GridArguments as Arguments
        from .grid import main as command
    elif argv[0] == "shift":
        from .shift import ShiftArguments as Arguments
        from .shift import main as command
    else:
        from .tables import TableArguments as Arguments
        from .tables import main as command
    [args] = TrlParser(Arguments, prog=f"python -m benchmarks.learning {argv[0]}").parse_args_and_config(argv[1:])
    command(args)


if __name__ == "__main__":
    main(sys.argv[1:])
