# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Help of commands that have more options than fit on a screen."""

import re
from argparse import ArgumentParser, HelpFormatter
from collections.abc import Mapping, Sequence

from .options import Option


LONGEST_CHOICES = 52  # characters
METAVARS = {"float": "NUMBER", "int": "N", "bool": "true|false", "dict": "JSON", "list": "TEXT ...", "str": "TEXT"}


def print_help(
    prog: str,
    description: str,
    groups: Mapping[str, Sequence[Option]],
    epilog: str | None = None,
    everything: bool = True,
) -> None:
    """
    Print the help of a command.

    Args:
        prog (`str`):
            The command.
        description (`str`):
            What it does.
        groups (`Mapping[str, Sequence[Option]]`):
            Its options, under their headings.
        epilog (`str`, *optional*):
            Text at the end.
        everything (`bool`, *optional*, defaults to `True`):
            Whether to print the whole help of an option, and not only its first sentence.
    """
    parser = ArgumentParser(
        prog=prog,
        usage="%(prog)s [options]",
        description=description,
        epilog=epilog,
        formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32),
        add_help=False,
    )
    parser.add_argument("--config", metavar="FILE", help="Options as YAML.")
    for title, options in groups.items():
        section = parser.add_argument_group(title)
        for option in options:
            text = option.help if everything else re.split(r"(?<=[.])\s", option.help)[0]
            if option.default not in (..., None, False, ""):
                text = f"{text.rstrip('.')} (default: {option.default})"
            section.add_argument(f"--{option.name}", metavar=_metavar(option), help=text.replace("%", "%%"))
    parser.print_help()


def _metavar(option: Option) -> str:
    choices = "|".join(option.choices)
    if choices and len(choices) <= LONGEST_CHOICES:
        return choices
    return next((metavar for kind, metavar in METAVARS.items() if kind in option.kinds), "TEXT")
