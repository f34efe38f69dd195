# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""ColBench's backend tasks from its data file, with our own sandbox and prompts: none of its code is used."""

import ast
import asyncio
import json
import re
import sys
import warnings
from collections.abc import Awaitable
from functools import lru_cache
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options import check_number
from .._show import show
from ..environments.cocode.env import CUT_OFF, is_equal, pool
from ..environments.cocode.sandbox import Limits, Outcome, SandboxError, SandboxResult, can_isolate, run_code
from ..users import Scenario, Usage, UserFactory, UserSimulator


if TYPE_CHECKING:
    from datasets import Dataset

INSTRUCTIONS = """\
You are a programmer who writes Python functions for a colleague. What the colleague says leaves details open. Ask \
about them in plain text, in short questions. As soon as you know enough, and with your tenth message at the latest, \
call the tool `submit` with the whole source of the function, under the name and with the arguments that were asked \
for. The first submission counts."""
PROFILE = """\
You need a Python function and have asked a programmer for it. It shall do exactly what the following one does. You \
know it well, and the programmer cannot see it:

"""
RULES = """\
Answer in at most two sentences, in words. Answer what the last message asks, as far as the function settles it, and \
nothing else. Never quote or write code. Where the function settles nothing, say that you do not mind."""
ACKNOWLEDGEMENT = "The code was handed in."
MAX_SENTENCES, MAX_CHARACTERS = 2, 400
COLUMNS = ("problem_description", "ground_truth", "test_cases")
# Appended to a submission: makes a call, given as text, and returns its result in JSON types. What JSON lacks is told
# apart by its `repr`
CALLER = """


def _colbench_call(_call):
    def plain(value):
        if isinstance(value, (set, frozenset)):
            return ["set", *sorted(repr(plain(item)) for item in value)]
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {key if isinstance(key, str) else repr(key): plain(item) for key, item in value.items()}
        if value is None or isinstance(value, (bool, int, str)) or isinstance(value, float) and value - value == 0:
            return value
        return repr(value)

    return plain(eval(_call, globals()))
"""


class ColbenchEnv:
    """
    A backend task of ColBench: a colleague needs a Python function that they cannot describe in full, and answers
    questions about it in at most two sentences and 400 characters.

    - **Observation**: the colleague's answers.
    - **Tools**: `submit` hands in the code.
    - **Reward**: the share of the task's calls whose result equals that of the ground truth, 0 without a submission.
      Results are compared as JSON: a tuple is a list, 1 is 1.0, but `True` is not 1. Two exceptions of one type are
      equal.
    - **End**: the first submission. ColBench gives an agent ten messages: set `max_turns=10`.

    The code, and the ground truth, run in the sandbox of the coding environment.

    Args:
        make_user (`UserFactory`):
            Makes the colleague of each episode from a [`~trl_infopo.users.Scenario`], which holds the ground truth,
            and the row's seed: a [`~trl_infopo.users.ChatUser`] or [`~trl_infopo.users.ModelUser`].
        allow_unsafe_execution (`bool`, *optional*, defaults to `False`):
            Whether to run code where the operating system offers no isolation.

    Raises:
        `RuntimeError`: If the operating system offers no isolation and `allow_unsafe_execution` is not set.
    """

    user: UserSimulator
    done: bool = False
    masked_feedback = "I do not mind."
    thread_safe = True

    def __init__(self, make_user: UserFactory, allow_unsafe_execution: bool = False):
        self._make_user = make_user
        self._isolated = can_isolate(type(self).__name__, allow_unsafe_execution)

    def reset(self, problem_description: str, ground_truth: str, test_cases: str, seed: int = 0, **row) -> None:
        """
        Start an episode with a new user.

        Args:
            problem_description (`str`):
                What the colleague says first.
            ground_truth (`str`):
                Source of the function that they need.
            test_cases (`str`):
                Calls of it, as a JSON list of text.
            seed (`int`, *optional*, defaults to `0`):
                Seed of the user.
            **row:
                Other columns of the dataset, unused.
        """
        self._truth, self._calls = ground_truth, tuple(json.loads(test_cases))
        self.score, self.done, self._failure = 0.0, False, None
        scenario = Scenario(problem_description, (), PROFILE + ground_truth, RULES)
        self.user = BriefUser(self._make_user(scenario, seed))

    async def submit(self, code: str) -> str:
        """
        Hand in the code, which ends the work.

        Args:
            code: Python source that defines the function, and whatever else it needs.

        Returns:
            An acknowledgement.
        """
        if self.done:
            return ACKNOWLEDGEMENT
        if not isinstance(code, str):
            raise ValueError("`code` is no text.")
        self.done = True
        self._failure = SandboxError(CUT_OFF)  # until the score is there
        try:
            self.score = await asyncio.get_running_loop().run_in_executor(pool, self._compare, code)
            self._failure = None
        except Exception as error:
            # What a tool raises is told to the agent, but this must end the run
            self._failure = error
        return ACKNOWLEDGEMENT

    def get_reward(self) -> float:
        """
        Return the score of the submission.

        Returns:
            `float`: Share of the calls with the right result, 0.0 if there was no submission.

        Raises:
            [`~trl_infopo.environments.cocode.SandboxError`] or `OSError`: If the sandbox failed, or a
                `feedback_timeout` cut the submission off.
            `ValueError`: If the task's ground truth does not run.
        """
        if self._failure is not None:
            raise self._failure
        return self.score

    def _compare(self, code: str) -> float:
        expected = run_truth(self._truth, self._calls, self._isolated)
        found = run_calls(code, self._calls, self._isolated)
        return sum(map(_is_same, found.outcomes, expected)) / len(expected)


class BriefUser:
    """
    A user who says no more than two sentences and 400 characters, like ColBench's.

    Args:
        user ([`~trl_infopo.users.UserSimulator`]):
            The user whose replies are cut.
    """

    def __init__(self, user: UserSimulator):
        self._user = user
        self.usage = getattr(user, "usage", Usage())

    def reply(self, messages: list[dict]) -> str | None | Awaitable[str | None]:
        reply = self._user.reply(messages)
        return self._later(reply) if isawaitable(reply) else shorten(reply)

    async def _later(self, reply: Awaitable[str | None]) -> str | None:
        return shorten(await reply)


def shorten(text: str | None) -> str | None:
    """
    Cut a reply to two sentences and 400 characters.

    Args:
        text (`str`, *optional*):
            The reply. What is no text, such as the `None` that ends a conversation, stays as it is.

    Returns:
        `str`, *optional*: What is left of it.
    """
    if not isinstance(text, str):
        return text
    ends = [match.end() for match in re.finditer(r"[.!?]+(?=\s|$)", text.strip())]
    text = text.strip()[: ends[MAX_SENTENCES - 1]] if len(ends) >= MAX_SENTENCES else text.strip()
    return text[:MAX_CHARACTERS].rstrip()


def run_calls(code: str, calls: tuple[str, ...], isolated: bool) -> SandboxResult:
    """Run calls, written as Python, of a function that code defines."""
    return run_code(code + CALLER, "_colbench_call", [[call] for call in calls], Limits(), isolated)


@lru_cache(maxsize=4096)
def run_truth(code: str, calls: tuple[str, ...], isolated: bool) -> tuple[Outcome, ...]:
    """
    What the calls of a task give with its ground truth.

    Raises:
        `ValueError`: If the ground truth does not run.
    """
    result = run_calls(code, calls, isolated)
    if result.error:
        raise ValueError(f"The ground truth of a task {result.error}: {show(code)}. Leave this task out.")
    return result.outcomes


def _is_same(found: Outcome, expected: Outcome) -> bool:
    if found.error or expected.error:  # the exception's type, and what it says
        return found.error.partition(":")[0] == expected.error.partition(":")[0]
    return is_equal(found.value, expected.value)


def colbench_dataset(path: str, num_tasks: int | None = None) -> "Dataset":
    """
    The backend tasks of ColBench, from a file of its dataset `facebook/collaborative_agent_bench`, which you download
    yourself, under its own terms. Tasks whose ground truth needs more than Python's standard library are left out,
    with a warning: the sandbox has nothing else.

    Args:
        path (`str`):
            File of JSON, or of JSON lines, of rows with `problem_description`, `ground_truth` and `test_cases`.
        num_tasks (`int`, *optional*):
            Number of tasks, the first ones. If `None`, all.

    Returns:
        [`~datasets.Dataset`]: Rows with `prompt`, `problem_description`, `ground_truth`, `test_cases` and `seed`.

    Raises:
        `ValueError`: If the file cannot be read, or a row is not a task. It names the row.
    """
    from datasets import Dataset

    if num_tasks is not None:
        check_number("num_tasks", num_tasks, integer=True, at_least=1)
    rows, missing = [], {}
    for i, row in enumerate(_read(path)):
        problem, truth, calls = _check_row(path, i, row)
        if modules := _needed(truth):
            missing[i] = modules
            continue
        messages = [("system", INSTRUCTIONS), ("user", problem)]
        rows.append(
            {
                "prompt": [{"role": role, "content": content} for role, content in messages],
                "problem_description": problem,
                "ground_truth": truth,
                "test_cases": json.dumps(calls),
                "seed": i,
            }
        )
        if len(rows) == num_tasks:
            break
    if missing:
        names = sorted(set().union(*missing.values()))
        warnings.warn(
            f"{len(missing)} tasks of {path} were left out: their ground truth imports {', '.join(names)}, which the "
            "sandbox does not have.",
            stacklevel=2,
        )
    if not rows:
        raise ValueError(f"`path` is {path!r}, which holds no task that can be scored here.")
    return Dataset.from_list(rows)


def _read(path: str) -> list[Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
        if text.lstrip().startswith("["):
            return json.loads(text)
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`path` is {show(path)}, which cannot be read as JSON or JSON lines: {error}. Download the dataset "
            "`facebook/collaborative_agent_bench`, and write the path of a file of its backend tasks."
        ) from None


def _check_row(path: str, i: int, row: Any) -> tuple[str, str, list[str]]:
    values = [row.get(column) for column in COLUMNS] if isinstance(row, dict) else [None]
    problem, truth, calls = values if len(values) == len(COLUMNS) else (None, None, None)
    if isinstance(calls, str):
        try:
            calls = json.loads(calls)
        except ValueError:
            calls = None
    calls = list(calls.values()) if isinstance(calls, dict) else calls
    is_task = isinstance(problem, str) and isinstance(truth, str) and isinstance(calls, list) and bool(calls)
    if not is_task or not all(isinstance(call, str) for call in calls):
        raise ValueError(
            f"Row {i} of {path} is {show(row)}, which is no backend task: it needs `problem_description` and "
            "`ground_truth` as text, and `test_cases` with calls as text, by name or in a list."
        )
    return problem, truth, calls


def _needed(code: str) -> set[str]:
    """Modules beyond the standard library that code imports; none of code that is no Python, which shows later."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {""}
