# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Parsing of command lines and files of options, which reports mistakes in one line."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from .._options import check_fields, did_you_mean
from .options import Option


if TYPE_CHECKING:
    from trl import TrlParser

__all__ = ["check_fields", "parse_arguments"]


def parse_arguments(
    parser: "TrlParser",
    argv: list[str] | None = None,
    required: Sequence[str] = (),
    others: Mapping[str, Option] = MappingProxyType({}),
) -> tuple[Any, ...]:
    """
    Parse a command line, and the file of options that its `--config` names. A mistake in them ends the program with
    one line and exit status 2.

    Args:
        parser ([`~trl.TrlParser`]):
            Parser of dataclasses.
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
        required (`Sequence[str]`, *optional*, defaults to `()`):
            Options that must be given although their dataclasses have defaults, such as `"model_name_or_path"`.
        others (`Mapping[str, Option]`, *optional*, defaults to `{}`):
            Options that are not the parser's. They may be given as well, and their types are checked.

    Returns:
        `tuple`: An instance of each of the parser's dataclasses.
    """
    for action in parser._actions:
        action.required = action.required or action.dest in required
    parser.allow_abbrev = False
    parser.usage = "%(prog)s [options]"  # the help lists all of them; here they would hide what is wrong
    argv = list(sys.argv[1:] if argv is None else argv)
    known = [*parser._option_string_actions, *(flag for option in others.values() for flag in option.flags)]
    options = [name.removeprefix("--") for name in known]
    if argv and not argv[0].startswith("-"):
        hint = f" Write --config {argv[0]}." if argv[0].endswith((".yaml", ".yml")) else ""
        parser.error(f"{argv[0]!r} belongs to no option.{hint}")
    for name in (argument.partition("=")[0] for argument in argv if argument.startswith("--")):
        if name == "--config" and (argv[-1] == name or name not in argv):
            parser.error("--config is missing its file: write --config FILE.")
        if name not in (*known, "--config"):
            parser.error(f"there is no option {name}.{did_you_mean(name, known)}")
    try:
        if "--config" in argv:
            path = argv[argv.index("--config") + 1]
            with open(path, encoding="utf-8") as file:
                config = yaml.safe_load(file)
            # Before a missing option is reported: it may be the one that is misspelt
            for name in config if isinstance(config, dict) else ():
                if f"--{name}" not in (*known, "--env"):
                    parser.error(f"there is no option {name!r}, in {path}.{did_you_mean(name, options)}")
                if name in others:
                    others[name].check(config[name])
        for name, value in _given(argv):
            if name in others:
                others[name].check(value)
        outputs = parser.parse_args_and_config(argv, return_remaining_strings=True)
    except OSError as error:
        _fail(parser, f"--config cannot be read: {error}.")
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        _fail(parser, f"--config is not YAML: {error}")
    except (ValueError, TypeError) as error:
        hint = " That is: --use_cpu true --bf16 false." if "bf16/gpu" in str(error) else ""  # transformers' words
        _fail(parser, f"{error}{hint}")
    if (rest := outputs[-1]) and not others:
        parser.error(f"{rest[0]!r} belongs to no option.")
    outputs = outputs[: len(parser.dataclass_types)]
    for name in required:
        if not any(getattr(output, name, None) for output in outputs):
            parser.error(f"--{name} is missing.")
    return outputs


def _given(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options of a command line that have a value, each with the first of its values."""
    for argument, following in zip(argv, [*argv[1:], "--"]):
        name, separator, value = argument.partition("=")
        if name.startswith("--") and (separator or not following.startswith("--")):
            yield name.removeprefix("--").replace("-", "_"), value if separator else following


def _fail(parser: "TrlParser", message: str) -> NoReturn:
    parser.error(" ".join(message.split()))
