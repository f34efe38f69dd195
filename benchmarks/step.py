# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What a training step costs, InfoPO beside GRPO on the same rollouts, and how scoring grows with the turns.

The steps are those of real trainers, with generation by transformers: `InfoPOTrainer` with `info_gain_coef=0.0`, which
is GRPO to the bit, and with each engine. The policy is random, its actions and the user's replies have fixed lengths,
and the learning rate is 0, so that all of them play the same rollouts (on a GPU, of the same lengths), which is
checked. A step has four parts: generation, reward, scoring (all that InfoPO adds) and update (the rest: loss,
backward, optimizer). All but scoring are the same work in every trainer: the best time of any of them counts.

Then trajectories of equal length and different numbers of turns are scored.

Times on a CPU are CPU time of one thread (`--threads`), which other programs on the machine hardly disturb; on a GPU
they are wall-clock. Peak memory is what a part adds to what was there before it: resident memory, for which Linux is
needed, or allocated memory on a GPU.

    python benchmarks/step.py                    # measure
    python benchmarks/step.py --table            # write the page in the docs from the committed results
"""

import json
import os
from dataclasses import asdict, dataclass, field

import torch
from limits import plain_forward, token_limit
from meters import RESULTS, ROOT, Meter, device_name, versions, write_results
from steps import StepArguments, make_model, measure_step
from tqdm import tqdm
from trl import TrlParser

from trl_infopo.information_gain import score_information_gain
from trl_infopo.turns import Turn, segment_turns


DOCS = ROOT / "docs" / "step_speed.md"
SHARED_PARTS = ["generation", "reward", "update"]


@dataclass
class StepBenchmarkArguments(StepArguments):
    """
    Arguments of the benchmark of a training step.
    """

    turns: list[int] = field(
        default_factory=lambda: [2, 8, 16],
        metadata={"help": "Numbers of turns of the steps. All turns but the last are scored."},
    )
    engines: list[str] = field(default_factory=lambda: ["tree", "replay"], metadata={"help": "Engines to measure."})
    scaling_turns: list[int] = field(
        default_factory=lambda: [4, 16, 64],
        metadata={"help": "Numbers of turns of the trajectories of equal length; none to leave them out."},
    )
    scaling_tokens: int = field(default=8192, metadata={"help": "Their length in tokens."})
    table: bool = field(
        default=False,
        metadata={"help": "Measure nothing, and write `docs/step_speed.md` from the results in place."},
    )


def segment(lengths: list[int]) -> list[Turn]:
    """Turns of a completion of actions and observations in turn, by their lengths."""
    return segment_turns([value for i, length in enumerate(lengths) for value in [(i + 1) % 2] * length])


def forward_seconds(args: StepBenchmarkArguments, rollouts: dict[str, list]) -> float:
    """Seconds of a forward pass without gradients over the rollouts of a step, the best of the repeats."""
    model, meters = make_model(args), [Meter(args.device) for _ in range(args.repeats)]
    plain_forward(model, **rollouts)  # warm-up
    for meter in meters:
        meter.measured("forward", plain_forward)(model, **rollouts)
    return min(meter.seconds["forward"] for meter in meters)


def run_steps(args: StepBenchmarkArguments) -> list[dict]:
    ways, results = ["grpo", *args.engines], []
    progress = tqdm(total=len(args.turns) * args.repeats * len(ways), unit="step")
    measure_step(args, 2, args.engines[0])  # warm-up
    for num_turns in args.turns:
        meters, rollouts = {way: [] for way in ways}, []
        for _ in range(args.repeats):
            for way in ways:
                progress.set_description(f"{num_turns} turns, {way}")
                meter, completions = measure_step(args, num_turns, way)
                rollouts.append(completions)
                meters[way].append(meter)
                progress.update()
        if args.device != "cpu":  # where the same step rounds, and so samples, differently: only lengths stay
            rollouts = [[[0] * len(ids) for ids in completions] for completions in rollouts]
        if any(completions != rollouts[0] for completions in rollouts):
            raise RuntimeError("The trainers played different rollouts, so that their steps cannot be compared.")
        lengths = [args.action_length, args.observation_length] * (num_turns - 1) + [args.action_length]
        trajectories = {
            "prompt_ids": [[3] * args.prompt_length] * len(rollouts[0]),
            "completion_ids": [ids[: sum(lengths)] for ids in rollouts[0]],
            "turns": [segment(lengths)] * len(rollouts[0]),
            "masked_observations": [[[3] * args.placeholder_length] * (num_turns - 1)] * len(rollouts[0]),
        }
        forward, limit = forward_seconds(args, trajectories), token_limit(**trajectories)
        scoring = {way: min(meter.seconds.get("scoring", 0.0) for meter in meters[way]) for way in ways}
        shared = {part: min(meter.seconds[part] for way in ways for meter in meters[way]) for part in SHARED_PARTS}
        grpo = sum(shared.values())
        results.append(
            {
                "turns": num_turns,
                "tokens": args.prompt_length + max(map(len, rollouts[0])),
                "seconds": {way: round(grpo + scoring[way], 3) for way in ways},
                "ratios": {way: round((grpo + scoring[way]) / grpo, 3) for way in ways},
                "forward_seconds": round(forward, 3),
                "limit": round(limit, 3),
                "shared": {part: round(seconds, 3) for part, seconds in shared.items()},
                "scoring": {way: round(seconds, 3) for way, seconds in scoring.items()},
                "peak_mib": {
                    way: {
                        part: round(max(meter.peak_mib.get(part, 0.0) for meter in meters[way]))
                        for part in ("scoring", "update")
                    }
                    for way in ways
                },
            }
        )
    progress.close()
    return results


def run_scaling(args: StepBenchmarkArguments) -> list[dict]:
    """Seconds of scoring one trajectory with the `tree` engine."""
    model, generator = make_model(args), torch.Generator().manual_seed(0)

    def random_ids(length: int) -> list[int]:
        return torch.randint(args.vocab_size, (length,), generator=generator).tolist()

    arguments = {}
    for num_turns in args.scaling_turns:
        # Turns of equal length, actions and observations in the proportion of the steps
        share = args.action_length / (args.action_length + args.observation_length)
        length = args.scaling_tokens - args.prompt_length
        actions = torch.linspace(0, length * share, num_turns + 1).round().diff().int().tolist()
        observations = torch.linspace(0, length - sum(actions), num_turns).round().diff().int().tolist()
        lengths = actions[:1] + [n for pair in zip(observations, actions[1:], strict=True) for n in pair]
        arguments[num_turns] = {
            "prompt_ids": [random_ids(args.prompt_length)],
            "completion_ids": [random_ids(sum(lengths))],
            "turns": [segment(lengths)],
            "masked_observations": [[random_ids(args.placeholder_length)] * num_turns],
        }
    meters = {num_turns: [] for num_turns in arguments}
    for _ in tqdm(range(args.repeats), desc="scaling"):
        for num_turns, rollout in arguments.items():
            meter = Meter(args.device)
            meter.measured("scoring", score_information_gain)(model, **rollout, engine="tree")
            meters[num_turns].append(meter)
    best = {num_turns: min(meter.seconds["scoring"] for meter in meters[num_turns]) for num_turns in arguments}
    return [
        {
            "turns": num_turns,
            "tokens": args.scaling_tokens,
            "seconds": round(best[num_turns], 3),
            "ratio": round(best[num_turns] / best[args.scaling_turns[0]], 3),
            "limit": round(token_limit(**arguments[num_turns]), 3),
            "peak_mib": round(max(meter.peak_mib["scoring"] for meter in meters[num_turns])),
        }
        for num_turns in arguments
    ]


def run(args: StepBenchmarkArguments) -> dict:
    """Measure everything, and return what goes into the JSON file."""
    torch.set_num_threads(args.threads)
    return {
        "device": device_name(args.device),
        "versions": versions(),
        "settings": {name: value for name, value in asdict(args).items() if name not in ("output", "table")},
        "num_parameters": make_model(args).num_parameters(),
        "steps": run_steps(args),
        "scaling": run_scaling(args) if args.scaling_turns else [],
    }


# ------------------------------------------------------------------------------------------------------------- report


def step_table(report: dict) -> str:
    lines = [
        "| turns | tokens | | seconds | against GRPO | generation | update | scoring | scoring / limit | "
        "limit against GRPO | MiB: scoring | update |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result in report["steps"]:
        for way, seconds in result["seconds"].items():
            shared, scoring, peaks = result["shared"], result["scoring"][way], result["peak_mib"][way]
            limit = result["forward_seconds"] * result["limit"]
            of_grpo, of_scoring = [f"{shared[part]:.2f}" for part in ("generation", "update")] + [""], [""] * 2
            if way != "grpo":
                of_grpo = ["", "", f"{scoring:.2f}"]
                of_scoring = [f"{scoring / limit:.2f}", f"{1 + limit / sum(shared.values()):.2f}×"]
            cells = [
                result["turns"],
                result["tokens"],
                "GRPO" if way == "grpo" else f"InfoPO, `{way}`",
                f"{seconds:.2f}",
                f"**{result['ratios'][way]:.2f}×**",
                *of_grpo,
                *of_scoring,
                *(peaks[part] for part in ("scoring", "update")),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def scaling_table(report: dict) -> str:
    lines = [
        "| turns | tokens | seconds | against the first row | limit against the first row | MiB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for result in report["scaling"]:
        limit = result["limit"] / report["scaling"][0]["limit"]
        cells = [result["turns"], result["tokens"], f"{result['seconds']:.2f}"]
        cells += [f"**{result['ratio']:.2f}×**", f"{limit:.2f}×", result["peak_mib"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def markdown_page(reports: list[dict]) -> str:
    sections = [
        "<!-- Written by `python benchmarks/step.py --table`; edit the script instead. -->\n\n"
        "# Speed of a training step\n\n"
        "Steps of real trainers on the same rollouts: GRPO (`info_gain_coef=0.0`) and InfoPO with each engine, with "
        "generation by transformers. Scoring is all that InfoPO adds to a step; update is loss, backward and "
        "optimizer. Generation and update are the same work for all trainers, so that the best time of any of them "
        "counts for all. The limit of scoring is that of its tokens, `1 + Σ (|õ| + |a|) / S` forward passes without "
        "gradients over the same rollouts, measured apart: a row below it, or above its neighbours, shows how noisy "
        "the machine was. Peak memory is what a part adds to what was there before it."
    ]
    for report in reports:
        settings = report["settings"]
        unit = f"CPU time of {settings['threads']} thread(s)" if settings["device"] == "cpu" else "wall-clock"
        sections += [f"## {report['device']}", step_table(report)]
        sections.append(
            f"A Llama model of {report['num_parameters'] / 1e6:.0f} M parameters in {settings['dtype']} with "
            f"{settings['attn_implementation']} attention, {settings['num_generations']} rollouts a step; "
            f"{settings['prompt_length']} tokens of prompt, {settings['action_length']} an action, "
            f"{settings['observation_length']} an observation, {settings['placeholder_length']} a masked one. "
            f"Seconds are {unit}, the best of {settings['repeats']} repeats, interleaved. "
            f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}."
        )
        if report["scaling"]:
            sections += [
                "Scoring one trajectory with `tree`, at the same number of tokens and the same share of actions in "
                "them:",
                scaling_table(report),
            ]
    return "\n\n".join(sections) + "\n"


def main() -> None:
    [args] = TrlParser(StepBenchmarkArguments).parse_args_and_config()
    if args.table:
        DOCS.write_text(markdown_page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("step_*.json"))]))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    report = run(args)
    print(f"{step_table(report)}\n\n{scaling_table(report)}\n")
    write_results("step", args, report)


if __name__ == "__main__":
    main()
