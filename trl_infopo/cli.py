# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The command `trl-infopo`, which hands over to the modules of `trl_infopo.scripts`."""

import sys
from argparse import ArgumentParser
from importlib import import_module

from . import __version__
from ._options import did_you_mean


# Name of a module in `trl_infopo.scripts`, whose `main(argv)` parses the rest, and what `--help` says about it
COMMANDS = {
    "quickstart": "train a tiny agent to ask before it acts, from nothing, on the CPU (minutes)",
    "train": "train an agent, in a built-in environment or in one of your own",
    "env": "list the built-in environments, each with a dialogue",
    "check": "play an environment before training, and report its faults",
    "eval": "evaluate policies with users that they were trained with, and with others",
    "report": "make one HTML file of runs with traces: curves, and dialogues turn by turn",
    "inspect": "show one traced rollout in the terminal",
}


def main(argv: list[str] | None = None) -> int:
    """
    Run the `trl-infopo` command line.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.

    Returns:
        `int`: Exit status.
    """
    parser = ArgumentParser(
        prog="trl-infopo",
        description="InfoPO for TRL: credit each turn of an agent by how much its feedback changed what it did next.",
        epilog="`trl-infopo <command> --help` explains a command and its options.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trl-infopo {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="<command>")
    for command, help_text in COMMANDS.items():
        subparsers.add_parser(command, help=help_text, add_help=False)

    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv:
        parser.print_help()
        return 0
    command, *options = argv
    if command not in COMMANDS:
        what = "option" if command.startswith("-") else "command"
        if what == "option":
            parser.parse_known_args([command])  # --help and --version end here
        known = ["--help", "--version"] if what == "option" else list(COMMANDS)
        parser.error(f"there is no {what} {command!r}, choose one of {known}.{did_you_mean(command, known)}")
    import_module(f".scripts.{command}", __package__).main(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
