# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of what a factory makes, of how episodes went, and of what was said in them."""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from .._checks import CheckedFactory, placeholder_of
from .._environment import find_tools
from .._show import safe_repr, show
from ..policies import ModelPolicy
from ..rollout import StopReason
from ..turns import MALFORMED_CALL, content_text, feedback_blocks
from .findings import ERROR, WARNING, Checkup, say, shorten
from .player import schema_of
from .playing import Play, Result, Table


# Special tokens of the chat templates of published models
SPECIAL = re.compile(r"<\|[\w-]+\|>|</?(?:s|think|tool_call|tool_response|start_of_turn|end_of_turn)>|\[/?INST\]")
CHARACTERS_PER_TOKEN = 4  # roughly, where there is no tokenizer
PATIENCE = 32  # actions within which an episode must end, where `max_turns` are not enough
USUAL = 0.8  # share of what came from a tool above which a text counts as its acknowledgement


def check_factory(checkup: Checkup, environment_factory: Callable, rows: list[dict]) -> CheckedFactory | None:
    """The factory, or `None` where nothing can be played."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            factory = CheckedFactory(environment_factory)
            others = [factory.factory(), factory.factory()]
        except Exception as error:
            checkup.add(
                "no environment", ERROR, f"making one failed: {say(error)}", "Let the factory make an environment."
            )
            return None
    for warning in caught:
        if "body does not declare" in str(warning.message):
            checkup.add("undeclared `done`", WARNING, str(warning.message), "Declare it, or give it another name.")
    if others[0] is others[1]:
        checkup.add(
            "one environment for all",
            ERROR,
            "the factory returned the same object twice",
            "Make a new environment with each call: the rollouts of a batch are played at the same time.",
        )
        return None
    try:
        for columns in {tuple(row): None for row in rows}:
            factory.check_columns("dataset", columns)
    except ValueError as error:
        seen, _, way_out = str(error).rpartition(". ")
        checkup.add("columns", ERROR, seen, way_out)
        return None
    return factory


def check_offer(checkup: Checkup, factory: CheckedFactory) -> bool:
    """Whether actions can get feedback, and the tools can be described."""
    tools = find_tools(factory.first)
    if not tools and not factory.converses:
        checkup.add(
            "no tools, no user",
            ERROR,
            f"`{factory.kind.__name__}` has no public method besides `reset` and `get_reward`, and no `user`",
            "Give it methods with docstrings as tools, or a `user` that is declared in the class body "
            "(`user: UserSimulator`).",
        )
        return False
    for name, tool in tools.items():
        try:
            schema_of(tool)
        except Exception as error:
            checkup.add(
                "tool without a schema",
                ERROR,
                f"`{name}`: {say(error)}",
                "Give every argument a type and a line in the docstring's `Args:`, or begin the name of a method that "
                "is no tool with an underscore.",
            )
            return False
    return True


def check_ends(checkup: Checkup, table: Table, plays: list[Play]) -> None:
    if plays and all(play.episode.stop_reason == StopReason.MAX_TURNS for play in plays):
        seen = f"all {len(plays)} episodes were still going on after {table.max_turns} actions"
        end = _find_end(table) if table.max_turns < PATIENCE else None
        if end is None:
            checkup.add(
                "episodes do not end",
                ERROR,
                seen if table.max_turns >= PATIENCE else f"{seen}, and the first of them after {PATIENCE} actions",
                "Set `self.done = True` when the task is over, or let `reply` return None. The class body must "
                "declare `done: bool = False`.",
            )
        else:
            checkup.add(
                "episodes do not end",
                WARNING,
                f"{seen}; one ended after {end}",
                "If a policy needs as many, raise `max_turns` here and in the training.",
            )
    over = next((play for play in plays if play.was_done), None)
    if over is not None:
        checkup.add(
            "done from the start",
            ERROR,
            f"{over.episode.name}: `done` was True after `reset`, so that the first action is the last",
            "Set `self.done = False` in `reset`.",
        )


def _find_end(table: Table) -> int | None:
    """Number of actions after which one of the first episodes ends, with more turns; `None` where none does."""
    longer = replace(table, max_turns=PATIENCE)
    for i in range(3):
        try:
            episode = longer.play(table.factory.factory(), i).episode
        except Exception:  # beyond the turns of the training
            continue
        if episode.stop_reason != StopReason.MAX_TURNS:
            return episode.num_actions
    return None


# What belongs to the thread that made it, such as a connection of sqlite3, fails on another
AFFINE = (
    " Because of `feedback_timeout`, the tools ran on threads of their own. If your training has none, check with "
    "`feedback_timeout=None`, on the command line 0."
)


def check_results(checkup: Checkup, plays: list[Play]) -> None:
    by_tool = defaultdict(list)
    for play in plays:
        for result in play.results:
            by_tool[result.tool].append((play, result))
    for tool, calls in by_tool.items():
        for play, result in calls:
            if result.value is ... and result.error is None:
                checkup.add(
                    f"`{tool}` takes too long",
                    ERROR,
                    f"{play.episode.name}: {result} took longer than `feedback_timeout`",
                    "Make it faster, or raise `feedback_timeout` here and in the training.",
                )
            elif result.error is None and not isinstance(result.value, str | list | bool | int | float):
                checkup.add(
                    f"`{tool}` returns no text",
                    ERROR,
                    f"{play.episode.name}: {result} returned {show(result.value)}, a "
                    f"{type(result.value).__name__}, which the agent reads as {shorten(safe_repr(result.value))!r}",
                    "Return text.",
                )
        failures = [(play, result) for play, result in calls if result.error is not None]
        if failures:
            play, result = failures[0]
            checkup.add(
                f"`{tool}` raises",
                ERROR if len(failures) == len(calls) > 2 else WARNING,
                f"{play.episode.name}: {result} raised {type(result.error).__name__}: {say(result.error)} "
                f"({len(failures)} of {len(calls)} calls)",
                "The agent is told so, in a text that is not the placeholder and may be farmed for its gain. Return "
                "the placeholder for a call that brings nothing."
                + (AFFINE if "thread" in safe_repr(result.error).lower() else ""),
            )


def check_special_tokens(checkup: Checkup, plays: list[Play], rows: list[dict], policy: ModelPolicy | None) -> None:
    own = [] if policy is None else [token for token in policy.tokenizer.all_special_tokens if token.strip()]
    pattern = re.compile("|".join([SPECIAL.pattern, *map(re.escape, own)]))
    for play in plays:
        texts = [("the prompt", content_text(message["content"])) for message in play.episode.prompt]
        feedback = [*feedback_blocks(play.episode.completion), play.episode.feedback]
        messages = [message for block in feedback for message in block]
        texts += [(f"what came from {m.get('name', 'user')}", content_text(m["content"])) for m in messages]
        for where, text in texts:
            if found := pattern.search(text):
                around = text[max(0, found.start() - 30) : found.end() + 30]
                checkup.add(
                    "special token",
                    ERROR,
                    f"{play.episode.name}: {found[0]!r} in {where}: {around!r}",
                    "Remove it from the text: to the model it is a turn or a call that nobody made.",
                )


def check_budget(checkup: Checkup, plays: list[Play], max_completion_length: int, policy: ModelPolicy | None) -> None:
    def count(text: str) -> int:
        if policy is None:
            return len(text) // CHARACTERS_PER_TOKEN
        return len(policy.tokenizer.encode(text, add_special_tokens=False))

    about = "about " if policy is None else ""
    for play in plays:
        counts = [(count(text), source, text) for source, text in play.seen_feedback()]
        total = sum(number for number, _, _ in counts)
        if total <= max_completion_length:
            continue
        largest, source, text = max(counts)
        checkup.add(
            "token budget",
            ERROR,
            f"{play.episode.name}: {about}{total} tokens of feedback in {len(counts)} messages, of "
            f"`max_completion_length` {max_completion_length}; the longest, of {about}{largest}, came from "
            f"{source}: {shorten(text)!r}",
            "Say less (cut long results, show one page), raise `max_completion_length`, or lower `max_turns`.",
        )


def check_wording(checkup: Checkup, plays: list[Play], default: str) -> None:
    """Whether feedback that says nothing is the placeholder."""
    said, said_first = defaultdict(list), defaultdict(list)  # texts and rows, by their source
    for play in plays:
        placeholder = placeholder_of(play.episode.environment, default)
        first = {}
        for source, text in play.seen_feedback():
            said[source].append((text, play.row))
            first.setdefault(source, (text, play.row))
        for source, text in first.items():
            said_first[source].append(text)
        exchanges = _exchanges(play.episode.completion)
        for (action, block), following in zip(exchanges, exchanges[1:], strict=False):
            text = content_text(block[0]["content"])
            if (action, block) == following and _may_say_nothing(text, placeholder):
                checkup.add(
                    "repetition is not the placeholder",
                    WARNING,
                    f"{play.episode.name}: {_describe(action)} twice in a row brought {shorten(text)!r} twice",
                    f"The second time says nothing new, and may earn a gain: answer it with {placeholder!r}.",
                )
    if not said:
        return
    everything = [pair for pairs in said.values() for pair in pairs]
    rows_of = {text: {row for other, row in everything if other == text} for text, _ in everything}
    if placeholder not in rows_of:
        common = max(rows_of, key=lambda text: len(rows_of[text]))
        checkup.add(
            "placeholder never said",
            WARNING,
            f"the placeholder {placeholder!r} never came back in {len(everything)} pieces of feedback. The text of "
            f"most tasks was {shorten(common)!r}",
            "Set `masked_feedback`, in the class or as an option, to what tools and users say who have nothing to "
            "say. A placeholder that the policy has never read lowers the likelihood of whatever follows.",
        )
    for source, pairs in said.items():
        for text in dict.fromkeys(text for text, _ in pairs):
            share = sum(other == text for other, _ in pairs) / len(pairs)
            share_first = sum(other == text for other, _ in said_first[source]) / len(said_first[source])
            num_rows = len({row for other, row in pairs if other == text})
            if num_rows >= 3 and min(share, share_first) > USUAL and _may_say_nothing(text, placeholder):
                checkup.add(
                    f"acknowledgement of {source}",
                    WARNING,
                    f"{shorten(text)!r} is {share:.0%} of what came from {source}, in {num_rows} different tasks",
                    f"If it says nothing, say {placeholder!r} instead, or make it `masked_feedback`: its gain is then "
                    "exactly 0, and calling for its own sake is not paid.",
                )


def _may_say_nothing(text: str, placeholder: str) -> bool:
    """Whether a text is neither the placeholder nor an error, for which there is a separate finding."""
    return text not in (placeholder, MALFORMED_CALL) and not text.startswith("{'error'")


def _exchanges(completion: list[dict]) -> list[tuple[dict, list[dict]]]:
    actions = [message for message in completion if message["role"] == "assistant"]
    return list(zip(actions, feedback_blocks(completion), strict=False))


def _describe(action: dict) -> str:
    calls = [call["function"] for call in action.get("tool_calls") or []]
    return ", ".join(str(Result(call["name"], call["arguments"])) for call in calls) or repr(action["content"])
