# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The figures in docs/cocode.md: rewards of policies, the best score without a question, the cost of the sandbox.

python benchmarks/cocode.py
"""

import asyncio
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from trl_infopo.environments.cocode import CocodeEnv, cocode_dataset, cocode_oracle, run_code
from trl_infopo.environments.cocode.tasks import Function, catalogue, hidden_calls, split_of


RESULTS = Path(__file__).with_name("results") / "cocode.json"
NUM_TASKS = 100
NUM_SUBMISSIONS = 50


def requested(messages: list[dict]) -> Function:
    [request, *_] = [message["content"] for message in messages if message["role"] == "user"]
    return catalogue()[request.partition("`")[2].partition("(")[0]]


def submission(function: Function, variant: tuple[str, ...]) -> dict:
    call = {"name": "submit", "arguments": {"code": function.source(variant)}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}


def never_asking_policy(messages: list[dict], tools: list[Callable]) -> dict:
    function = requested(messages)
    return submission(function, function.variants()[0])


class RandomPolicy:
    def __init__(self):
        self.rng = random.Random(0)

    def __call__(self, messages: list[dict], tools: list[Callable]) -> dict:
        function = requested(messages)
        if self.rng.random() < 0.5:
            return {"role": "assistant", "content": f"And the {self.rng.choice(function.details).keywords[0]}?"}
        return submission(function, self.rng.choice(function.variants()))


def play(policy: Callable, row: dict) -> float:
    env = CocodeEnv()
    env.reset(**row)
    messages = list(row["prompt"])
    while not env.done:
        message = policy(messages, [env.submit])
        messages.append(message)
        for call in message.get("tool_calls", []):
            asyncio.run(env.submit(**call["function"]["arguments"]))
        if not env.done:
            messages.append({"role": "user", "content": env.user.reply([message])})
    return env.get_reward()


def returned(name: str, calls: list[list]) -> dict[tuple[str, ...], list[str]]:
    """What every variant of a function returns for calls."""
    function = catalogue()[name]
    runs = {variant: function.load(variant) for variant in function.variants()}
    return {variant: [json.dumps(run(*call), sort_keys=True) for call in calls] for variant, run in runs.items()}


def chosen_for_each_task(name: str) -> dict[tuple[str, ...], list[tuple[int, str]]]:
    """The former way: for each variant, those ten of sixty calls that wrong ones fail most."""
    rng = random.Random(name)
    values = returned(name, [catalogue()[name].draw_call(rng) for _ in range(60)])
    chosen = {}
    for variant, expected in values.items():
        others = [value for other, value in values.items() if other != variant]
        calls, total = [], [0] * len(others)
        for _ in range(10):
            totals = {
                call: [before + (value[call] == expected[call]) for before, value in zip(total, others, strict=True)]
                for call in range(60)
                if call not in calls
            }
            best = min(totals, key=lambda call: sorted(totals[call], reverse=True))
            calls.append(best)
            total = totals[best]
        chosen[variant] = [(call, expected[call]) for call in calls]
    return chosen


def chosen_for_each_function(name: str) -> dict[tuple[str, ...], list[tuple[int, str]]]:
    return {variant: list(enumerate(values)) for variant, values in returned(name, hidden_calls(name)).items()}


def blind_score(tests: dict[tuple[str, ...], list[tuple[int, str]]]) -> float:
    """
    The mean score of the best submission that asks nothing: it sees all the inputs, and gives for each of them the
    answer that is right for most of the variants which have just these inputs.
    """
    groups = {}
    for test in tests.values():
        groups.setdefault(tuple(call for call, _ in test), []).append([value for _, value in test])
    passed = [max(Counter(values).values()) for group in groups.values() for values in zip(*group, strict=True)]
    return sum(passed) / 10 / len(tests)


def blind_scores(choose: Callable, split: str | None = None) -> dict:
    scores = {}
    for name in catalogue():
        tests = choose(name)
        scores[name] = blind_score({v: test for v, test in tests.items() if split in (None, split_of(name, v))})
    highest = sorted(scores, key=scores.get, reverse=True)[:3]
    return {"mean": statistics.mean(scores.values()), "highest": {name: scores[name] for name in highest}}


def cost(run: Callable) -> dict:
    """CPU time of the processes that are started, and the least wall-clock time, in milliseconds."""
    walls = []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(NUM_SUBMISSIONS):
        started = time.perf_counter()
        run()
        walls.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_ms": 1000 * cpu / NUM_SUBMISSIONS, "least_wall_ms": 1000 * min(walls)}


def main() -> None:
    rows = cocode_dataset("test", NUM_TASKS)
    policies = {"oracle": cocode_oracle, "never asks": never_asking_policy, "random": RandomPolicy()}
    code = "def f(x): return x"
    results = {
        "versions": {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()},
        "num_functions": len(catalogue()),
        "num_tasks": sum(len(function.variants()) for function in catalogue().values()),
        "mean_reward": {name: statistics.mean(play(policy, row) for row in rows) for name, policy in policies.items()},
        "best_blind_submission": {
            "inputs chosen for each function": blind_scores(chosen_for_each_function),
            "inputs chosen for each function, training split": blind_scores(chosen_for_each_function, "train"),
            "inputs chosen for each task": blind_scores(chosen_for_each_task),
        },
        "submission": cost(lambda: run_code(code, "f", [[1]] * 10)),
        "submission_of_one_call": cost(lambda: run_code(code, "f", [[1]])),
        "starting_python": cost(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], env={})),
    }
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
