# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""
How long a batch takes whose users answer after long-tailed delays, by the share of conversations that must be ready
before the policy acts. The limit is the conversation that waits longest by itself, and the generation of its turns.

    python benchmarks/stragglers.py                                # results/stragglers.json
"""

import asyncio
import json
import math
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from trl import TrlParser
from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from trl_infopo.rollout import Episode, converse


RESULTS = Path(__file__).with_name("results") / "stragglers.json"
SAYS = {"role": "assistant", "content": "is it so?"}


@dataclass
class StragglersBenchmarkArguments:
    """
    Arguments of the benchmark of stragglers.
    """

    episodes: int = field(default=64, metadata={"help": "Number of episodes of the batch."})
    turns: int = field(default=6, metadata={"help": "Actions in an episode."})
    median: float = field(default=0.3, metadata={"help": "Median of the delays, which are log-normal, in seconds."})
    percentile_99: float = field(default=6.0, metadata={"help": "Their 99th percentile, in seconds."})
    generation: float = field(default=0.2, metadata={"help": "Seconds that the policy takes to act, for any batch."})
    fractions: list[float] = field(
        default_factory=lambda: [1.0, 0.5, 0.25, 0.1, 0.05], metadata={"help": "Values of `min_ready_fraction`."}
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds of the delays."})
    output: str = field(default=str(RESULTS), metadata={"help": "File for the results."})


class SlowUser:
    """Answers after delays of its own, and then ends the conversation."""

    def __init__(self, delays: list[float]):
        self.delays = iter(delays)

    async def reply(self, messages: list[dict]) -> str:
        await asyncio.sleep(next(self.delays))
        return "yes"


class Desk:
    user: SlowUser

    def __init__(self, delays: list[float]):
        self.user = SlowUser(delays)


def draw_delays(arguments: StragglersBenchmarkArguments, seed: int) -> list[list[float]]:
    """Seconds of each reply of each episode. The last action ends an episode, and is not answered."""
    sigma = math.log(arguments.percentile_99 / arguments.median) / 2.3263  # quantile of the standard normal at 99 %
    rng = random.Random(seed)
    return [
        [rng.lognormvariate(math.log(arguments.median), sigma) for _ in range(arguments.turns - 1)]
        for _ in range(arguments.episodes)
    ]


def measure(arguments: StragglersBenchmarkArguments, delays: list[list[float]], fraction: float) -> dict[str, float]:
    """Seconds of a batch from its first action on, and how often the policy acted."""
    thread, event_loop, ready = start_event_loop_in_daemon()
    ready.wait()
    episodes = [Episode([{"role": "user", "content": ""}], Desk(own)) for own in delays]
    num_generations = 0

    def act(episodes: list[Episode]) -> None:
        nonlocal num_generations
        num_generations += 1
        time.sleep(arguments.generation)
        for episode in episodes:
            episode.act(SAYS)

    start = time.perf_counter()
    act(episodes)
    converse(
        episodes,
        act,
        event_loop,
        max_turns=arguments.turns,
        concurrency=arguments.episodes,
        min_ready_fraction=fraction,
    )
    seconds = time.perf_counter() - start
    assert all(episode.num_actions == arguments.turns for episode in episodes)
    shutdown_event_loop_in_daemon(thread, event_loop)
    return {"seconds": seconds, "generations": num_generations}


def main(arguments: StragglersBenchmarkArguments) -> None:
    rows = []
    print(f"{'fraction':>8} {'seed':>4} {'seconds':>8} {'limit':>6} {'ratio':>6} {'generations':>11}")
    for fraction in arguments.fractions:
        for seed in arguments.seeds:
            delays = draw_delays(arguments, seed)
            limit = max(map(sum, delays)) + arguments.turns * arguments.generation
            row = {"fraction": fraction, "seed": seed, "limit": limit, **measure(arguments, delays, fraction)}
            row["ratio"] = row["seconds"] / limit
            rows.append({name: round(value, 3) for name, value in row.items()})
            print(
                f"{fraction:8g} {seed:4d} {row['seconds']:8.1f} {limit:6.1f} {row['ratio']:6.2f} "
                f"{row['generations']:11d}"
            )
    settings = {name: value for name, value in vars(arguments).items() if name != "output"}
    Path(arguments.output).write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    (arguments,) = TrlParser(StragglersBenchmarkArguments).parse_args_and_config()
    main(arguments)
