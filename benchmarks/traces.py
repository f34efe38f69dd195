# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What `log_traces=True` adds to a training step of which all rollouts are written.

The steps are those of `step.py`. What is counted is all that traces add but for a copy of log-probabilities that the
scoring computes anyway: messages become JSON, tokens become text, a Parquet file is written. Times are CPU time of one
thread, the median of the steps after the first.

    python benchmarks/traces.py
"""

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from steps import StepArguments, make_trainer
from transformers import PrinterCallback, TrainerCallback
from trl import TrlParser

from trl_infopo import infopo_trainer


RESULTS = Path(__file__).resolve().parent / "results" / "traces.json"


@dataclass
class TracesBenchmarkArguments(StepArguments):
    """
    Arguments of the benchmark of traces.
    """

    turns: list[int] = field(default_factory=lambda: [2, 8], metadata={"help": "Numbers of turns."})
    steps: int = field(default=4, metadata={"help": "Steps of a run; the first is not counted."})
    num_generations: int = field(default=8, metadata={"help": "Rollouts in a step, one group."})


class Clock(TrainerCallback):
    """Seconds of each step, its log included, and of the functions that it watches."""

    def __init__(self):
        self.start, self.watched, self.steps = None, 0.0, []

    def on_step_begin(self, args, state, control, **kwargs):
        self.start, self.watched = time.process_time(), 0.0

    def on_log(self, args, state, control, **kwargs):
        if self.start is not None:
            self.steps.append((time.process_time() - self.start, self.watched))
        self.start = None

    def watch(self, owner, name: str) -> None:
        function = getattr(owner, name)

        def wrapper(*args, **kwargs):
            start = time.process_time()
            result = function(*args, **kwargs)
            self.watched += time.process_time() - start
            return result

        setattr(owner, name, wrapper)


def measure(args: TracesBenchmarkArguments, num_turns: int) -> dict:
    clock, as_json_text = Clock(), infopo_trainer.as_json_text
    with TemporaryDirectory() as output_dir:
        options = {"log_traces": True, "logging_strategy": "steps", "logging_steps": 1}
        trainer = make_trainer(args, num_turns, "tree", output_dir, **options)
        trainer.args.max_steps = args.steps
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(clock)
        clock.watch(infopo_trainer, "as_json_text")
        clock.watch(trainer, "_scored_rollouts")
        clock.watch(trainer._traces, "on_log")
        trainer.train()
        infopo_trainer.as_json_text = as_json_text
        size = sum(path.stat().st_size for path in Path(output_dir, "traces").iterdir()) / args.steps
    steps = clock.steps[1:]
    return {
        "turns": num_turns,
        "rollouts": args.num_generations,
        "step_seconds": round(statistics.median(seconds for seconds, _ in steps), 3),
        "traces_seconds": round(statistics.median(traces for _, traces in steps), 4),
        "share": round(statistics.median(traces / seconds for seconds, traces in steps), 5),
        "bytes_per_rollout": round(size / args.num_generations),
    }


def main() -> None:
    (args,) = TrlParser(TracesBenchmarkArguments).parse_args_and_config()
    torch.set_num_threads(args.threads)
    results = [measure(args, num_turns) for num_turns in args.turns]
    for result in results:
        print(result)
    Path(args.output or RESULTS).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
