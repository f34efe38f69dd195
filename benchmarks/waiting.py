# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""
How long a batch waits for its users, tools and rewards, which take a fifth of a second each: phase by phase, without a
policy. In a row, each phase would take `--episodes` times `--seconds`.

    python benchmarks/waiting.py
"""

import asyncio
import time
from dataclasses import dataclass, field

from trl import TrlParser
from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from trl_infopo.rollout import Episode, begin, converse, gather_rewards


@dataclass
class WaitingBenchmarkArguments:
    """
    Arguments of the benchmark of waiting.
    """

    episodes: int = field(default=64, metadata={"help": "Number of episodes of the batch."})
    seconds: float = field(
        default=0.2, metadata={"help": "Seconds that each opening, reply, call, end and reward takes."}
    )
    concurrency: int = field(default=64, metadata={"help": "Largest number that is awaited at once."})


class Desk:
    """An environment and its user, both slow."""

    done = False
    seconds = 0.2
    tool_schemas = [{"type": "function", "function": {"name": "look", "description": "Look."}}]

    def __init__(self):
        self.user = self

    async def opening(self, messages):
        await asyncio.sleep(self.seconds)
        return "hello"

    async def reply(self, messages):
        await asyncio.sleep(self.seconds)
        return "yes"

    async def call_tool(self, name, arguments):
        await asyncio.sleep(self.seconds)
        return "nothing"

    async def on_end(self, reason):
        await asyncio.sleep(self.seconds)

    async def get_reward(self):
        await asyncio.sleep(self.seconds)
        return 1.0


class ThreadedDesk(Desk):
    thread_safe = True

    def opening(self, messages):
        time.sleep(self.seconds)
        return "hello"

    def reply(self, messages):
        time.sleep(self.seconds)
        return "yes"

    def call_tool(self, name, arguments):
        time.sleep(self.seconds)
        return "nothing"

    def on_end(self, reason):
        time.sleep(self.seconds)

    def get_reward(self):
        time.sleep(self.seconds)
        return 1.0


SAYS = {"role": "assistant", "content": "is it so?"}
CALLS = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {}}}],
}


def measure(desk: type, arguments: WaitingBenchmarkArguments) -> dict[str, float]:
    """Seconds of each phase of a batch: an opening, a reply, a call, the end, the reward."""
    thread, event_loop, ready = start_event_loop_in_daemon()
    ready.wait()
    desk.seconds = arguments.seconds
    episodes = [
        Episode([{"role": "user", "content": ""}], desk(), name=f"episode {i}") for i in range(arguments.episodes)
    ]
    times, start = {}, time.perf_counter()

    def stop(phase: str) -> None:
        nonlocal start
        times[phase] = time.perf_counter() - start
        start = time.perf_counter()

    def act(episodes: list[Episode]) -> None:
        phase, message = actions.pop(0)
        if phase is not None:
            stop(phase)
        for episode in episodes:
            episode.act(message)

    begin(episodes, event_loop, concurrency=arguments.concurrency)
    actions = [("openings", SAYS), ("replies", CALLS), ("calls", SAYS)]
    act(episodes)
    converse(episodes, act, event_loop, max_turns=3, concurrency=arguments.concurrency)
    stop("ends")
    rewards = gather_rewards(episodes, event_loop, arguments.concurrency)
    stop("rewards")
    assert rewards == [1.0] * arguments.episodes
    shutdown_event_loop_in_daemon(thread, event_loop)
    return times


if __name__ == "__main__":
    (arguments,) = TrlParser(WaitingBenchmarkArguments).parse_args_and_config()
    print(f"{arguments.episodes} episodes, {arguments.seconds:g} s each")
    for name, desk in (("async", Desk), ("threads", ThreadedDesk)):
        for phase, seconds in measure(desk, arguments).items():
            print(f"{name:>8} {phase:>9} {seconds:6.2f} s")
