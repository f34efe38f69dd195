# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Four tasks in the form of ColBench's backend tasks, made up here."""

import json


TIP = '''
def tip(amount, share=0.1):
    """Rounded up to the next half."""
    import math
    return math.ceil(amount * share * 2) / 2
'''
GROUPS = """
from collections import defaultdict

def group_by_length(words):
    groups = defaultdict(set)
    for word in words:
        groups[len(word)].add(word.lower())
    return dict(groups)
"""
SHARE = """
def share(total, people):
    return divmod(total, people)
"""
FRAME = """
import pandas as pd

def frame(rows):
    return pd.DataFrame(rows)
"""


def task(problem, truth, calls):
    return {
        "problem_description": problem,
        "ground_truth": truth.strip(),
        "test_cases": {f"test{i}": call for i, call in enumerate(calls, start=1)},
    }


TASKS = [
    task("I need a function tip(amount, share=0.1).", TIP, [f"tip({n}.3, share=0.{n})" for n in range(1, 11)]),
    task(
        "I need a function group_by_length(words).",
        GROUPS,
        [f"group_by_length(['Tea', 'tea', 'Milk'][:{n % 4}] + ['x' * {n}])" for n in range(10)],
    ),
    task("I need a function share(total, people).", SHARE, [f"share(10, {n})" for n in range(10)]),
    task("I need a table.", FRAME, ["frame([1])"]),
]


def write_tasks(path, lines=True):
    text = "\n".join(map(json.dumps, TASKS)) if lines else json.dumps(TASKS)
    path.write_text(text, encoding="utf-8")
    return str(path)
