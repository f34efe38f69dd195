# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""List the built-in environments, each with a dialogue that its scripted oracle plays at that moment.

```bash
trl-infopo env
trl-infopo env helpdesk --seed 3
```
"""

import inspect
import os
import re
import warnings
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from .._options import check_number, did_you_mean
from ..environments import ENVIRONMENTS


if TYPE_CHECKING:
    from rich.console import Console

MAX_TURNS = 32
MOST_LINES = 9  # of a dialogue in the list
FIRST_LINES = 6  # of a longer one, before the last two
ROLE_WIDTH = 8
ROLES = {"system": "system", "user": "user", "assistant": "agent", "tool": "tool"}


def main(argv: list[str] | None = None) -> None:
    """
    Run the command.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    parser = ArgumentParser(
        prog="trl-infopo env",
        description="List the built-in environments, each with a dialogue that its scripted oracle plays: a policy "
        "that sees only the messages. With a name, show one in full.",
        usage="%(prog)s [name] [options]",
        epilog="train in one: trl-infopo train --environment NAME --model_name_or_path MODEL",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help=f"one of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--seed", type=int, default=0, help="seed of the task, by default %(default)s")
    args = parser.parse_args(argv)
    if args.name is not None and args.name not in ENVIRONMENTS:
        near = did_you_mean(args.name, list(ENVIRONMENTS))
        parser.error(f"there is no environment {args.name!r}, choose one of {list(ENVIRONMENTS)}.{near}")
    try:
        check_number("seed", args.seed, integer=True, at_least=0)
    except ValueError as error:
        parser.error(str(error))

    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    from rich.console import Console

    console = Console(highlight=False)
    for name in [args.name] if args.name else ENVIRONMENTS:
        try:
            show_environment(name, args.seed, console, in_full=args.name is not None)
        except (ImportError, RuntimeError) as error:  # what it needs is not here
            if args.name is not None:
                parser.error(" ".join(str(error).split()))
            console.print(f"  {error}\n", style="dim", markup=False)


def show_environment(name: str, seed: int, console: "Console", in_full: bool = True) -> None:
    """
    Print an environment and a dialogue in it.

    Args:
        name (`str`):
            Key of `ENVIRONMENTS`.
        seed (`int`):
            Seed of the task.
        console ([`~rich.console.Console`]):
            Where to print it.
        in_full (`bool`, *optional*, defaults to `True`):
            Whether to print whole messages and the full description of the environment.

    Raises:
        `ImportError`: If a package is missing.
        `RuntimeError`: If the environment cannot work on this machine.
    """
    from rich.markdown import Markdown
    from rich.padding import Padding
    from rich.text import Text

    from .._environment import find_tools
    from ..evaluation import evaluate

    family = ENVIRONMENTS[name]
    console.print(Text.assemble((name, "bold"), f"  {family.environment}: {family.summary}"))
    environment = family.make_environment()
    tools = ", ".join(find_tools(environment)) or "none, it speaks"
    user = "a persona, chat:MODEL or my_module:make_user" if family.user_argument == "make_user" else "a persona"
    console.print(f"  tools: {tools}", markup=False)
    if family.user_argument:
        console.print(f"  user: {user}, by default plain", markup=False)
    if in_full:
        description = re.split(r"\n(?:Args|Raises|Example):", inspect.cleandoc(family.make_environment.__doc__))[0]
        description = re.sub(r"\[`~?(?:\w+\.)*(\w+)`\]", r"`\1`", description)  # a reference is a name here
        console.print(Padding(Markdown(description), (1, 2)))
    evaluation = evaluate(
        family.play,
        {name: family.make_environment},
        family.make_dataset("test", 1, seed),
        max_turns=MAX_TURNS,
        show_progress=False,
    )
    (record,) = evaluation.records
    print_messages(record["messages"], console, in_full)
    console.print(f"  reward {record['reward']:g}, ended by {record['stop_reason']}\n", style="dim", markup=False)


def print_messages(messages: list[dict], console: "Console", in_full: bool = True) -> None:
    """
    Print a dialogue.

    Args:
        messages (`list[dict]`):
            Its messages.
        console ([`~rich.console.Console`]):
            Where to print it.
        in_full (`bool`, *optional*, defaults to `True`):
            Whether to print all of them in full; otherwise a line for each, and only the first and last ones if there
            are many.
    """
    from rich.table import Table
    from rich.text import Text

    lines = [(ROLES.get(message["role"], message["role"]), _text(message)) for message in messages]
    if not in_full and len(lines) > MOST_LINES:
        lines = [*lines[:FIRST_LINES], ("", f"… {len(lines) - FIRST_LINES - 2} more"), *lines[-2:]]
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", min_width=ROLE_WIDTH)
    table.add_column(overflow="fold")
    for role, text in lines:
        text = Text(text if in_full else " ".join(text.split()))
        if not in_full:
            text.truncate(console.width - ROLE_WIDTH - 4, overflow="ellipsis")
        table.add_row(Text(role, "bold cyan" if role == "agent" else "bold"), text)
    console.print(table)


def _text(message: dict) -> str:
    from ..turns import content_text

    parts = [content_text(message.get("content"))]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        arguments = function["arguments"]  # as JSON text where a dataset has calls of several tools
        if isinstance(arguments, dict):
            arguments = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        parts.append(f"{function['name']}({arguments})")
    return "\n".join(filter(None, parts))


if __name__ == "__main__":
    main()
