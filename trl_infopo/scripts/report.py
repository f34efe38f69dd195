# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Make one HTML file of runs with traces: learning curves side by side, and dialogues turn by turn.

```bash
trl-infopo report infopo-quickstart/InfoPO infopo-quickstart/GRPO
```
"""

import importlib.util
from argparse import ArgumentParser
from pathlib import Path

from .._options import check_number


def main(argv: list[str] | None = None) -> None:
    """
    Run the command.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    parser = ArgumentParser(
        prog="trl-infopo report",
        description="Make one HTML file of runs with traces: learning curves side by side, dialogues turn by turn. "
        "Needs plotly: pip install 'trl-infopo[report]'.",
        usage="%(prog)s run_dir [run_dir ...] [options]",
        allow_abbrev=False,
    )
    parser.add_argument("run_dirs", nargs="+", metavar="run_dir", help="output directory of a run with traces")
    parser.add_argument("--output", default="infopo-report.html", help="the HTML file, by default %(default)s")
    parser.add_argument(
        "--max_rollouts",
        type=int,
        default=4000,
        help="most rollouts in the report, by default %(default)s; of more, whole groups at even distances are shown",
    )
    args = parser.parse_args(argv)
    if importlib.util.find_spec("plotly") is None:
        parser.error("plotly is not installed, which draws the curves: pip install 'trl-infopo[report]'.")

    from ..report import build_report

    try:
        check_number("max_rollouts", args.max_rollouts, integer=True, at_least=1)
        num_rollouts = build_report(args.run_dirs, args.output, args.max_rollouts)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{num_rollouts} rollouts in {Path(args.output).absolute()}: open it in a browser")


if __name__ == "__main__":
    main()
