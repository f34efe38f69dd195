# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A scripted policy for textarena's Mastermind."""

import re
from collections.abc import Callable
from itertools import permutations, product

from .common import GAME_OVER


def mastermind_oracle(messages: list[dict], tools: list[Callable]) -> dict:
    """
    Play textarena's Mastermind by elimination: guess a code that all answers so far allow.

    Args:
        messages (`list[dict]`):
            The conversation so far.
        tools (`list[Callable]`):
            Not used, the game is played in plain text.

    Returns:
        `dict`: The next assistant message.
    """
    if messages[-1]["content"] == GAME_OVER:
        return {"role": "assistant", "content": "I have finished."}
    text = "\n".join(message["content"] for message in messages if message["role"] == "user")
    length, highest = map(int, re.search(r"code that is (\d+) digits long, each digit from 1 to (\d+)", text).groups())
    digits = range(1, highest + 1)
    codes = permutations(digits, length) if "no duplicates" in text else product(digits, repeat=length)
    answers = [
        (tuple(map(int, guess.split())), (int(black), int(white)))
        for guess, black, white in re.findall(r"Submitted \[([\d ]+)\]. Feedback: (\d+) black \S+, (\d+) white", text)
    ]
    code = next(code for code in codes if all(_pegs(code, guess) == pegs for guess, pegs in answers))
    return {"role": "assistant", "content": f"[{' '.join(map(str, code))}]"}


def _pegs(code: tuple[int, ...], guess: tuple[int, ...]) -> tuple[int, int]:
    """Black and white pegs of a guess."""
    black = sum(a == b for a, b in zip(code, guess, strict=True))
    common = sum(min(code.count(digit), guess.count(digit)) for digit in set(guess))
    return black, common - black
