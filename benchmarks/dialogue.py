# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""
A dialogue with its gains, for the README: from the first traced group of a training whose rewards are all 0, so that
GRPO learns nothing from it, the rollout with the most gain of those that booked something.

```bash
trl-infopo quickstart
python benchmarks/dialogue.py infopo-quickstart/InfoPO
```
"""

import argparse
import json
from itertools import groupby
from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "dialogue.json"
README = ROOT / "README.md"
BEGIN = "<!-- Written by `python benchmarks/dialogue.py`; edit the script instead. -->\n"
END = "<!-- End of what the script writes. -->\n"
WIDEST_BAR = 6


def find_dialogue(rows: list[dict]) -> dict:
    """
    Args:
        rows (`list[dict]`):
            Traces of a training, as [`~trl_infopo.load_traces`] gives them.

    Returns:
        `dict`: What is shown of the rollout.
    """
    rows = [row for row in rows if row["split"] == "train"]
    for (step, number), group in groupby(rows, key=lambda row: (row["step"], row["group"])):
        group = list(group)
        num_rollouts = len(group)
        if any(row["reward"] != 0 for row in group):
            continue
        group = [row for row in group if has_booked(row)]
        if not group:
            continue
        row = max(group, key=lambda row: sum(turn["information_gain"] or 0 for turn in row["turns"]))
        actions = [message for message in json.loads(row["completion"]) if message["role"] == "assistant"]
        turns = [
            {"action": to_text(action)} | {name: turn[name] for name in ("feedback", "information_gain", "advantage")}
            for action, turn in zip(actions, row["turns"], strict=True)
        ]
        request = json.loads(row["prompt"])[-1]["content"]
        return {
            "step": step,
            "group": number,
            "rollout": row["rollout"],
            "rollouts": num_rollouts,
            "outcome_advantage": row["outcome_advantage"],
            "placeholder": next(turn["masked_feedback"] for turn in row["turns"] if turn["masked_feedback"]),
            "request": request,
            "turns": turns,
        }
    raise SystemExit("The traces hold no group whose rewards are all 0 and in which something was booked.")


def has_booked(row: dict) -> bool:
    calls = [call for message in json.loads(row["completion"]) for call in message.get("tool_calls") or []]
    return any(call["function"]["name"] == "book" for call in calls)


def to_text(action: dict) -> str:
    """An action in words: what it says and what it calls."""
    calls = []
    for call in action.get("tool_calls") or []:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        calls.append(f"{name}({', '.join(map(str, arguments.values()))})")
    return " ".join(filter(None, [action.get("content"), *calls]))


def markdown(dialogue: dict) -> str:
    """The dialogue as it stands in the README."""
    gains = [turn["information_gain"] or 0 for turn in dialogue["turns"]]
    lines = [
        f"> *{dialogue['request']}*",
        "",
        "| the agent | what came back | information gain | advantage |",
        "|---|---|---|---:|",
    ]
    for turn, gain in zip(dialogue["turns"], gains, strict=True):
        bar = "█" * round(WIDEST_BAR * gain / max(gains))
        shown = "" if turn["information_gain"] is None else f"{gain:.2f} {bar}".strip()
        cells = [turn["action"], turn["feedback"] or "", shown, f"{turn['advantage']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"Step {dialogue['step']} of `trl-infopo quickstart`, from its traces. All {dialogue['rollouts']} rollouts of "
        f"this request failed, with a reward of 0: with GRPO, each turn has the advantage "
        f"{dialogue['outcome_advantage']:.2f}, and nothing is learnt. With InfoPO, a turn with more gain "
        "than the group's average gets a positive advantage, and one with less a negative one. What was answered by "
        f"*{dialogue['placeholder']}*, the placeholder, has a gain of exactly 0.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", help="output directory of a training with traces")
    args = parser.parse_args()

    from trl_infopo import load_traces

    dialogue = find_dialogue(load_traces(args.run_dir).to_list())
    RESULTS.write_text(json.dumps(dialogue, indent=2) + "\n", encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(before + BEGIN + markdown(dialogue) + END + rest.partition(END)[2], encoding="utf-8")
    print(markdown(dialogue))


if __name__ == "__main__":
    main()
