# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The environment of `cocode`, its dataset and its oracle."""

import asyncio
import json
import math
import os
import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..._options import check_choice, check_draw
from ...users import NOTHING_TO_ADD, Fact, Scenario, ScriptedUser, UserFactory, UserSimulator
from .sandbox import Limits, SandboxError, SandboxResult, can_isolate, run_code
from .tasks import Function, catalogue, hidden_tests, split_of


if TYPE_CHECKING:
    from datasets import Dataset

INSTRUCTIONS = """\
You are a programmer who writes Python functions for a colleague. The colleague says what is needed, but not in every \
detail. Ask about the details in plain text, one at a time. When you know them, call the tool `submit` with the whole \
source of the function. The first submission counts. It can use the standard library, but no files, no network and no \
other processes."""
PROFILE = """\
You need a Python function `{signature}` that {request} You have asked a programmer for it and told them no more. You \
know how it must behave in detail:
{wishes}"""
RULES = f"""\
Answer in at most two sentences. Answer only what the last message asks, and never tell a detail that you were not \
asked about. Never write code. If the message asks about nothing that you know, or only about what you said before, \
answer exactly: {NOTHING_TO_ADD}"""
SPLITS = ("train", "validation", "test")

CUT_OFF = (
    "The submission was cut off before its result was there, which says nothing about it. Raise `feedback_timeout`: a "
    "submission may run for 5 s, and wait for others before."
)

# How many sandboxes run at once, over all environments
pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cocode")


class CocodeEnv:
    """
    A colleague asks for a Python function and leaves out the details, and the agent asks before it writes the code.

    There are 51 functions, such as splitting a bill or merging intervals, each with two to four details of two to four
    choices: rounding, ties, order, case, separators, bounds, what is missing or empty. A task settles all of them, and
    there are 1064 tasks. The hidden tests are ten calls of the function, the same for all its tasks, and code that
    gets any detail wrong fails each of them.

    - **Observation**: the request names the function, its arguments and what it does. The user tells a detail when
      asked, at most two in a reply. An answer that brings nothing new is always [`NOTHING_TO_ADD`], and so is the
      acknowledgement of code that ran. The agent is told what the sandbox stopped and which exceptions were raised,
      but never the score.
    - **Tools**: `submit` hands in the code. It is async, so that the submissions of a batch run at the same time.
    - **Reward**: the share of the hidden tests that the code passes, 0 without a submission. Values are compared as
      JSON: a tuple is a list, 1 is 1.0, but `True` is not 1.
    - **End**: the first submission ends the episode.

    The code runs in a sandbox of the Linux kernel: see `sandbox.py` and the documentation.

    Args:
        make_user (`UserFactory`, *optional*, defaults to [`ScriptedUser`]):
            Makes the user of each episode from a [`Scenario`] and the row's seed.
        allow_unsafe_execution (`bool`, *optional*, defaults to `False`):
            Whether to run code even if the operating system offers no isolation, with only a limit on time and output
            to protect your machine. It has no effect where there is isolation.

    Raises:
        `RuntimeError`: If the operating system offers no isolation and `allow_unsafe_execution` is not set.

    Example:

    ```python
    >>> import asyncio
    >>> from trl_infopo.environments.cocode import CocodeEnv

    >>> env = CocodeEnv()
    >>> prompt = [{"role": "user", "content": "I need a Python function `unique(names)`."}]
    >>> choices = '["are different names", "none of them", "in reverse order"]'
    >>> env.reset(prompt=prompt, function="unique", choices=choices, seed=0)
    >>> env.user.reply([{"role": "assistant", "content": "Of equal names, which one should I keep?"}])
    'Of duplicates, keep none of them.'
    >>> asyncio.run(env.submit("def unique(names): return [x for x in names[::-1] if names.count(x) == 1]"))
    'I have nothing to add.'
    >>> env.get_reward()
    1.0
    ```
    """

    user: UserSimulator
    done: bool = False
    masked_feedback = NOTHING_TO_ADD
    thread_safe = True

    def __init__(self, make_user: UserFactory = ScriptedUser, allow_unsafe_execution: bool = False):
        self._make_user = make_user
        self._isolated = can_isolate(type(self).__name__, allow_unsafe_execution)

    def reset(self, prompt: list[dict], function: str, choices: str, seed: int, **row) -> None:
        """
        Start an episode with a new user.

        Args:
            prompt (`list[dict]`):
                The conversation so far, the user's request at its end.
            function (`str`):
                Name of the function.
            choices (`str`):
                The choice for each of its details, as a JSON list.
            seed (`int`):
                Seed of the user.
            **row:
                Other columns of the dataset, unused.
        """
        variant = tuple(json.loads(choices))
        self.function = catalogue()[function]
        self.tests = hidden_tests(function, variant)
        self.score = 0.0
        self.done = False
        self._failure = None
        self.user = self._make_user(_scenario(self.function, variant, prompt[-1]["content"]), seed)

    async def submit(self, code: str) -> str:
        """
        Hand in the code, which ends the work.

        Args:
            code: Python source that defines the function, and whatever else it needs.

        Returns:
            What kept the code from running, or an acknowledgement.
        """
        if self.done:
            return NOTHING_TO_ADD
        if not isinstance(code, str):
            raise ValueError("`code` is no text.")
        self.done = True
        self._failure = SandboxError(CUT_OFF)  # until the result is there
        calls = [arguments for arguments, _ in self.tests]
        try:
            result = await asyncio.get_running_loop().run_in_executor(
                pool, run_code, code, self.function.name, calls, Limits(), self._isolated
            )
        except Exception as error:
            # What a tool raises is told to the agent, but this must end the run
            self._failure = error
            return NOTHING_TO_ADD
        self._failure = None
        if result.error:
            return f"The code failed: {result.error}."
        passed = [
            not outcome.error and is_equal(outcome.value, expected)
            for outcome, (_, expected) in zip(result.outcomes, self.tests, strict=True)
        ]
        self.score = sum(passed) / len(passed)
        return _exceptions(result) or NOTHING_TO_ADD

    def get_reward(self) -> float:
        """
        Return the score of the submission.

        Returns:
            `float`: Share of the hidden tests that it passed, 0.0 if there was none.

        Raises:
            [`SandboxError`] or `OSError`: If the sandbox failed, or a `feedback_timeout` cut the submission off, which
                says nothing about it.
        """
        if self._failure is not None:
            raise self._failure
        return self.score


def _scenario(function: Function, variant: tuple[str, ...], request: str) -> Scenario:
    """What the user knows: a fact for each detail."""
    facts = tuple(
        Fact(
            topic=detail.topic,
            value=choice,
            keywords=detail.keywords,
            sentence=detail.sentence,
            alternatives=tuple(other for other in detail.choices if other != choice),
        )
        for detail, choice in zip(function.details, variant, strict=True)
    )
    wishes = "\n".join(f"- {fact.sentence.format(value=fact.value)}" for fact in facts)
    profile = PROFILE.format(signature=function.signature, request=function.request, wishes=wishes)
    return Scenario(request, facts, profile, RULES, max_facts=2)


def _exceptions(result: SandboxResult) -> str:
    """What the calls raised, each exception once."""
    errors = list(dict.fromkeys(outcome.error for outcome in result.outcomes if outcome.error))
    return f"The code raised {'; '.join(errors[:2])}." if errors else ""


def is_equal(value: object, expected: object) -> bool:
    """
    Compare what was returned with a trusted value, which alone decides how deep to go. Numbers of which one is a float
    may differ by rounding; an integer of a thousand digits, which no float can hold, is compared as it is.
    """
    if isinstance(expected, bool) or isinstance(value, bool):
        return value is expected
    if isinstance(expected, int | float):
        if value == expected or not isinstance(value, int | float):
            return value == expected
        has_float = isinstance(value, float) or isinstance(expected, float)
        fits = has_float and abs(value) <= sys.float_info.max and abs(expected) <= sys.float_info.max
        return fits and math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(expected, list | tuple):
        same_shape = isinstance(value, list) and len(value) == len(expected)
        return same_shape and all(is_equal(item, other) for item, other in zip(value, expected, strict=True))
    if isinstance(expected, dict):
        same_shape = isinstance(value, dict) and value.keys() == expected.keys()
        return same_shape and all(is_equal(value[key], other) for key, other in expected.items())
    return value == expected


def cocode_dataset(split: str, num_rows: int, seed: int = 0) -> "Dataset":
    """
    Draw tasks for [`CocodeEnv`].

    A hash of the function's name and of the choices for its details assigns each task to one split, so that no seed
    puts a held-out task into training. The functions are the same in all splits.

    Args:
        split (`str`):
            `"train"` (7 in 10 of the tasks), `"validation"` (1 in 10) or `"test"` (2 in 10).
        num_rows (`int`):
            Number of tasks to draw, with replacement.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the draw.

    Returns:
        [`~datasets.Dataset`]:
            Dataset with the columns `prompt` (conversational), `function`, `choices` (JSON text) and `seed`.

    Raises:
        `ValueError`: If there is no such split, or the number of rows or the seed is not a whole number or is too
            small.
    """
    from datasets import Dataset

    check_choice("split", split, list(SPLITS))
    check_draw(num_rows, seed)
    tasks = {
        name: [variant for variant in function.variants() if split_of(name, variant) == split]
        for name, function in catalogue().items()
    }
    names = [name for name, variants in tasks.items() if variants]
    rng = random.Random(f"{split} {seed}")
    rows = []
    for _ in range(num_rows):
        name = rng.choice(names)
        function = catalogue()[name]
        prompt = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": f"I need a Python function `{function.signature}` that {function.request}"},
        ]
        choices = json.dumps(rng.choice(tasks[name]))
        rows.append({"prompt": prompt, "function": name, "choices": choices, "seed": rng.randrange(2**31)})
    return Dataset.from_list(rows)


def cocode_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Play [`CocodeEnv`] as it should be played: ask about each detail in turn, then submit the code that does it.

    The policy knows the catalogue of functions, and about the task only what the conversation says. What a user said
    last about a detail counts.

    Args:
        messages (`list[dict]`):
            Prompt and conversation so far.
        tools (`list[Callable]`):
            The environment's tools, unused.

    Returns:
        `dict`: The next assistant message.
    """
    request, *answers = [message["content"] for message in messages if message["role"] == "user"]
    function = catalogue()[request.partition("`")[2].partition("(")[0]]
    said = " ".join(answers)
    choices = []
    for detail in function.details:
        choice = max(detail.choices, key=said.rfind)
        if choice not in said:
            return {"role": "assistant", "content": f"What about the {detail.keywords[0]}?"}
        choices.append(choice)
    call = {"name": "submit", "arguments": {"code": function.source(tuple(choices))}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
