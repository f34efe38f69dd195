# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Show one traced rollout in the terminal: the gain of each turn, and how it changed tokens of the next action.

```bash
trl-infopo inspect infopo-quickstart/InfoPO
trl-infopo inspect infopo-quickstart/InfoPO --step 60 --group 2 --rollout 5
```
"""

import json
from argparse import ArgumentParser


FULL_MOVE = 3.0  # nats at which a token has its full shade
SHADES = {True: (46, 125, 50), False: (173, 20, 87)}  # where the feedback made a token likelier, and less likely
WIDEST_BAR = 24


def main(argv: list[str] | None = None) -> None:
    """
    Run the command.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    parser = ArgumentParser(
        prog="trl-infopo inspect",
        description="Show one traced rollout: the gain of each turn, and how it changed tokens of the next action.",
        usage="%(prog)s run_dir [options]",
        allow_abbrev=False,
    )
    parser.add_argument("run_dir", help="output directory of a run with `log_traces=True`")
    parser.add_argument("--split", choices=["train", "eval"], default="train", help="training or evaluation")
    parser.add_argument("--step", type=int, help="step, by default the last one")
    parser.add_argument("--group", type=int, help="group of the step, by default the first one")
    parser.add_argument("--rollout", type=int, help="rollout of the group, by default the one with the most gain")
    args = parser.parse_args(argv)

    import pyarrow.compute as pc
    from rich.console import Console

    from .._trace_files import read_traces

    try:
        table = read_traces(args.run_dir)
    except (OSError, ValueError) as error:  # what is there may be no Parquet file
        parser.error(str(error))
    for name, wanted in (("split", args.split), ("step", args.step), ("group", args.group)):
        known = pc.unique(table[name]).to_pylist()
        value = known[-1 if name == "step" else 0] if wanted is None else wanted
        if value not in known:
            parser.error(f"there is no {name} {value}, the traces hold {_ranges(known)}.")
        table = table.filter(pc.equal(table[name], value))
    rows = table.to_pylist()
    row = max(rows, key=_total_gain)
    if args.rollout is not None:
        row = next((row for row in rows if row["rollout"] == args.rollout), None)
        if row is None:
            known = _ranges([row["rollout"] for row in rows])
            parser.error(f"there is no rollout {args.rollout}, the traces hold {known}.")
    show(row, rows, Console())


def show(row: dict, group: list[dict], console) -> None:
    """
    Print a rollout.

    Args:
        row (`dict`):
            Row of [`~trl_infopo.load_traces`].
        group (`list[dict]`):
            The rows of its group.
        console ([`~rich.console.Console`]):
            Where to print it.
    """
    from rich.padding import Padding
    from rich.text import Text

    rewards = " ".join(_number(other["reward"]) for other in group)
    gate = "" if row["gate"] is None else f", gate {row['gate']:.2f}"
    console.print(f"{row['split']} step {row['step']}, group {row['group']}: rewards {rewards}{gate}", highlight=False)
    console.print(
        f"rollout {row['rollout']}: reward {_number(row['reward'])}, outcome advantage {row['outcome_advantage']:+.2f}"
        + (f", ended by {row['stop_reason']}" if row["stop_reason"] else ""),
        highlight=False,
        markup=False,
    )
    prompt = json.loads(row["prompt"])
    for message in [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt:
        console.print(Text.assemble((f"\n{message['role']}  ", "bold"), str(message["content"])))
    gains = [turn["information_gain"] for turn in row["turns"]]
    largest = max((abs(gain) for gain in gains if gain is not None), default=0) or 1
    for k, turn in enumerate(row["turns"], start=1):
        console.print(Text.assemble((f"\nturn {k}", "bold"), f"  advantage {turn['advantage']:+.2f}"))
        console.print(Padding(_shaded(turn), (0, 0, 0, 2)))
        if turn["feedback"] is None:
            continue
        console.print(Padding(Text.assemble(("feedback  ", "bold"), turn["feedback"]), (0, 0, 0, 2)))
        if turn["masked_feedback"] is not None:
            masked = Text.assemble(("instead of it  ", "bold dim"), (turn["masked_feedback"], "dim"))
            console.print(Padding(masked, (0, 0, 0, 2)))
        if (gain := turn["information_gain"]) is not None:
            bar = "█" * max(round(WIDEST_BAR * abs(gain) / largest), gain != 0)
            console.print(
                f"  information gain {gain:+.2f} [{'green' if gain > 0 else 'magenta'}]{bar}", highlight=False
            )


def _shaded(turn: dict):
    """The tokens of an action, shaded by how much the feedback before them changed their log-probabilities."""
    from rich.text import Text

    text = Text()
    unknown = [None] * len(turn["tokens"])
    columns = (turn["tokens"], turn["logps"] or unknown, turn["masked_logps"] or unknown)
    for token, logp, masked in zip(*columns, strict=True):
        move = 0.0 if logp is None or masked is None else logp - masked
        strength = min(abs(move) / FULL_MOVE, 1)
        red, green, blue = SHADES[move > 0]
        style = f"white on rgb({red},{green},{blue})" if strength > 0.5 else "bold" if strength > 0.1 else ""
        text.append(token, style)
    return text


def _total_gain(row: dict) -> float:
    return sum(turn["information_gain"] or 0 for turn in row["turns"])


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def _ranges(numbers: list) -> str:
    return ", ".join(map(str, numbers if len(numbers) <= 12 else [*numbers[:5], "…", *numbers[-5:]]))


if __name__ == "__main__":
    main()
