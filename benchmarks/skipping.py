# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What `info_gain_min_weight` saves: steps over groups of which some tie and some do not, with and without it.

    python benchmarks/skipping.py                # results/skipping_cpu.json

With the temperature that the paper has for tool decisions (0.05), information has next to no weight in a group whose
rewards differ. The steps are those of `benchmarks/step.py`: all ways play the same rollouts, and times are measured
as there.
"""

import json
from dataclasses import dataclass, field

import torch
from meters import device_name, versions, write_results
from steps import StepArguments, measure_step
from tqdm import tqdm
from trl import TrlParser


TEMPERATURE = 0.05
WAYS = {
    "grpo": {},
    "all scored": {"gate": "variance", "gate_temperature": TEMPERATURE},
    "skipping": {"gate": "variance", "gate_temperature": TEMPERATURE, "info_gain_min_weight": 0.001},
}


@dataclass
class SkippingBenchmarkArguments(StepArguments):
    """
    Arguments of the benchmark of groups that need no scoring.
    """

    turns: int = field(default=8, metadata={"help": "Number of turns of the steps."})
    num_groups: int = field(default=5, metadata={"help": "Groups in a step."})
    num_tied: list[int] = field(
        default_factory=lambda: [1, 4], metadata={"help": "How many of the groups tie, one row for each number."}
    )


def run(args: SkippingBenchmarkArguments) -> dict:
    torch.set_num_threads(args.threads)
    rows = []
    progress = tqdm(total=len(args.num_tied) * args.repeats * len(WAYS), unit="step")
    for num_tied in args.num_tied:
        ties = tuple(i < num_tied for i in range(args.num_groups))
        meters, rollouts = {way: [] for way in WAYS}, []
        for _ in range(args.repeats):
            for way, options in WAYS.items():
                progress.set_description(f"{num_tied} of {args.num_groups} tie, {way}")
                engine = "grpo" if way == "grpo" else "tree"
                meter, completions = measure_step(args, args.turns, engine, ties=ties, **options)
                meters[way].append(meter)
                rollouts.append(completions)
                progress.update()
        if any(completions != rollouts[0] for completions in rollouts):
            raise RuntimeError("The trainers played different rollouts, so that their steps cannot be compared.")
        best = {way: min(sum(meter.seconds.values()) for meter in meters[way]) for way in WAYS}
        scoring = {way: min(meter.seconds.get("scoring", 0.0) for meter in meters[way]) for way in WAYS}
        rows.append(
            {
                "tied_share": num_tied / args.num_groups,
                "seconds": {way: round(best[way], 3) for way in WAYS},
                "scoring_seconds": {way: round(scoring[way], 3) for way in WAYS},
                "ratios": {way: round(best[way] / best["grpo"], 3) for way in WAYS},
            }
        )
    progress.close()
    return {
        "device": device_name(args.device),
        "versions": versions(),
        "turns": args.turns,
        "num_groups": args.num_groups,
        "num_generations": args.num_generations,
        "gate_temperature": TEMPERATURE,
        "info_gain_min_weight": WAYS["skipping"]["info_gain_min_weight"],
        "rows": rows,
    }


def main() -> None:
    [args] = TrlParser(SkippingBenchmarkArguments).parse_args_and_config()
    report = run(args)
    print(json.dumps(report, indent=2))
    write_results("skipping", args, report)


if __name__ == "__main__":
    main()
