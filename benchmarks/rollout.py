# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a batch of conversations costs to sample, and how much of a step goes into reading again what was read before.

    python benchmarks/rollout.py                                   # results/rollout_cpu.json
    python benchmarks/rollout.py --device cuda --dtype bfloat16    # results/rollout_cuda.json

transformers keeps no keys and values from one `generate` to the next: each action begins with a forward pass over the
whole conversation so far. Steps, rollouts and times are those of `benchmarks/step.py`. Of the time of these passes,
the share of the tokens that had been read before is what a cache that lives from turn to turn could save at most.
"""

import json
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import torch
from meters import Meter, device_name, versions, write_results
from steps import StepArguments, make_trainer
from tqdm import tqdm
from transformers import PrinterCallback
from trl import TrlParser


@dataclass
class RolloutBenchmarkArguments(StepArguments):
    """
    Arguments of the benchmark of rollouts.
    """

    turns: list[int] = field(default_factory=lambda: [8, 16], metadata={"help": "Numbers of turns."})


def measure(args: RolloutBenchmarkArguments, num_turns: int) -> dict:
    """Seconds of one step, and what of them is generation, reading, and reading again."""
    meter, widths = Meter(args.device), []
    with TemporaryDirectory() as output_dir:
        trainer = make_trainer(args, num_turns, "tree", output_dir)
        trainer.remove_callback(PrinterCallback)
        model = trainer.model
        forward = model.forward
        reading = meter.measured("reading", forward)

        def timed(*positional, **kwargs):
            width = kwargs["input_ids"].size(1) if "input_ids" in kwargs else 1
            if not trainer.is_generating or width == 1:
                return forward(*positional, **kwargs)
            widths.append(width)
            return reading(*positional, **kwargs)

        def generate(*positional, **kwargs):
            trainer.is_generating = True
            output = sample(*positional, **kwargs)
            trainer.is_generating = False
            return output

        trainer.is_generating, sample = False, trainer._generate_single_turn
        model.forward = timed
        trainer._generate_single_turn = meter.measured("generation", generate)
        meter.measured("step", trainer.train)()
    num_new = widths[0] + args.observation_length * (len(widths) - 1)
    again = 1 - num_new / sum(widths)
    seconds = meter.seconds
    return {
        "turns": num_turns,
        "tokens": args.prompt_length + num_turns * (args.action_length + args.observation_length),
        "seconds": {part: round(seconds[part], 3) for part in ("step", "generation", "reading")},
        "read_again_share_of_step": round(again * seconds["reading"] / seconds["step"], 4),
    }


def run(args: RolloutBenchmarkArguments) -> dict:
    torch.set_num_threads(args.threads)
    measure(args, 2)  # warm-up
    runs = [measure(args, num_turns) for num_turns in tqdm(args.turns * args.repeats, unit="step")]
    best = [
        min((run for run in runs if run["turns"] == n), key=lambda run: run["seconds"]["step"]) for n in args.turns
    ]
    return {
        "device": device_name(args.device),
        "versions": versions(),
        "num_generations": args.num_generations,
        "action_length": args.action_length,
        "observation_length": args.observation_length,
        "rows": best,
    }


def main() -> None:
    [args] = TrlParser(RolloutBenchmarkArguments).parse_args_and_config()
    report = run(args)
    print(json.dumps(report, indent=2))
    write_results("rollout", args, report)


if __name__ == "__main__":
    main()
