# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The page of every option of a training, written from `InfoPOConfig` when the site is built."""

import inspect
import re
from dataclasses import MISSING, Field, fields

from docstrings import ITEM, REFERENCE
from trl import GRPOConfig

from trl_infopo import InfoPOConfig


INTRODUCTION = """\
# Options

Every option of `InfoPOConfig`, written from the code when this page was built. How those of InfoPO work together is
told in [the algorithm](algorithm.md) and in [the guide](guide.md), and which of them answers what goes wrong in
[troubleshooting](troubleshooting.md).
"""


def options_page() -> str:
    """
    Returns:
        `str`: The page, in Markdown.
    """
    own, trl, rest = [], [], []
    inherited = {option.name for option in fields(GRPOConfig)}
    for option in fields(InfoPOConfig):
        is_of_trl = option.name in GRPOConfig.__annotations__
        (own if option.name not in inherited else trl if is_of_trl else rest).append(option)
    descriptions = describe_parameters(InfoPOConfig)
    lines = [INTRODUCTION, "## InfoPO", ""]
    for option in own:
        note, text = descriptions[option.name]
        kind = f"`{_type(option)}`, by default `{_default(option)}`."
        lines += [note, f"### `{option.name}`", "", kind, "", text, ""]
    lines += ["## GRPO", "", "Those of TRL's `GRPOConfig`, as it is installed here.", "", *map(_entry, trl), ""]
    lines += ["## Trainer", "", "Those of transformers' `TrainingArguments`.", "", *map(_entry, rest), ""]
    return "\n".join(lines)


def describe_parameters(cls: type) -> dict[str, tuple[str, str]]:
    """
    Args:
        cls (`type`):
            A class whose docstring has a section `Parameters`.

    Returns:
        `dict[str, tuple[str, str]]`: By the name of a parameter, the note that stands before it, if any, and what is
        said about it.
    """
    section = inspect.cleandoc(cls.__doc__).partition("Parameters:\n")[2]
    notes, texts, note = {}, {}, []
    for line in section.splitlines():
        if item := ITEM.match(line[4:]):
            name = item["names"]
            notes[name], texts[name], note = note, [], []
        elif line.startswith(" " * 8):
            texts[name].append(line.strip())
        else:
            note.append(line.strip())

    def to_text(lines: list[str]) -> str:
        return REFERENCE.sub(lambda match: f"`{match['path'].rpartition('.')[2]}`", "\n".join(lines))

    return {name: (to_text(notes[name]), to_text(lines)) for name, lines in texts.items()}


def _entry(option: Field) -> str:
    text = re.sub(r"\s+", " ", option.metadata["help"]).replace("%%", "%")  # which `argparse` wants doubled
    return f"- **`{option.name}`** (`{_type(option)}`, by default `{_default(option)}`): {text}"


def _type(option: Field) -> str:
    return inspect.formatannotation(option.type).replace("typing.", "").replace("NoneType", "None")


def _default(option: Field) -> str:
    return repr(option.default if option.default_factory is MISSING else option.default_factory())
