# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What scoring costs, in forward passes over the same trajectories.

Four ways through one batch of random trajectories, in one process, interleaved, the best of several repeats:

- `forward`, the unit: one forward pass without gradients that gives the log-probability of every action token, the
  cheapest sensible one. It runs the decoder over the batch, gathers the hidden states before the action tokens, and
  takes only those through the LM head, a chunk at a time.
- `naive`: the definition as one would write it down. For each turn two forward passes, with the feedback and with it
  masked, over all trajectories cut off after the following action, and a log-softmax over all their logits.
- `replay` and `tree`: the engines of `score_information_gain`.

Times on a CPU are CPU time of one thread (`--threads`), which other programs on the machine hardly disturb; on a GPU
they are wall-clock. Peak memory is what a way adds to what was there before it: resident memory, for which Linux is
needed, or allocated memory on a GPU.

    python benchmarks/scoring.py                    # measure
    python benchmarks/scoring.py --table            # write the table in the docs from the committed results
"""

import json
import os
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from limits import plain_forward, token_limit
from meters import RESULTS, ROOT, Meter, device_name, versions, write_results
from steps import make_model
from tqdm import tqdm
from transformers import LlamaForCausalLM
from trl import TrlParser

from trl_infopo import engines
from trl_infopo.information_gain import score_information_gain
from trl_infopo.turns import segment_turns


DOCS = ROOT / "docs" / "scoring_speed.md"
WAYS = ["forward", "naive", "replay", "tree"]


@dataclass
class ScoringBenchmarkArguments:
    """
    Arguments of the scoring benchmark.
    """

    device: str = field(default="cpu", metadata={"help": "Device to measure on, as in `cpu` or `cuda`."})
    dtype: str = field(
        default="float32", metadata={"help": "Precision of the model.", "choices": ["float32", "bfloat16", "float16"]}
    )
    attn_implementation: str = field(default="sdpa", metadata={"help": "Attention implementation of the model."})
    threads: int = field(
        default=1, metadata={"help": "CPU threads. The CPU time of several includes their waiting for each other."}
    )
    turns: list[int] = field(
        default_factory=lambda: [2, 4, 8, 16],
        metadata={"help": "Numbers of turns to measure, each at least 2. All turns but the last are scored."},
    )
    repeats: int = field(default=3, metadata={"help": "How often everything is measured; the best time counts."})
    num_trajectories: int = field(default=2, metadata={"help": "Trajectories in a batch."})
    prompt_length: int = field(default=128, metadata={"help": "Tokens in the prompt."})
    action_length: int = field(default=48, metadata={"help": "Tokens in an action."})
    observation_length: int = field(default=64, metadata={"help": "Tokens in an observation."})
    placeholder_length: int = field(default=16, metadata={"help": "Tokens in a masked observation."})
    hidden_size: int = field(default=576, metadata={"help": "Width of the Llama model, a multiple of 192."})
    num_hidden_layers: int = field(default=12, metadata={"help": "Depth of the Llama model."})
    vocab_size: int = field(default=16384, metadata={"help": "Vocabulary of the Llama model."})
    output: str | None = field(
        default=None,
        metadata={"help": "Where to write the results. If `None`, `benchmarks/results/scoring_<device>.json`."},
    )
    table: bool = field(
        default=False,
        metadata={
            "help": "Measure nothing, and write the table in `docs/scoring_speed.md` from the results in place."
        },
    )


def make_rollouts(args: ScoringBenchmarkArguments, num_turns: int) -> dict[str, list]:
    """Random trajectories of equal length, as arguments of `score_information_gain`."""
    generator = torch.Generator().manual_seed(num_turns)

    def random_ids(length: int) -> list[int]:
        return torch.randint(args.vocab_size, (length,), generator=generator).tolist()

    action_mask = [1] * args.action_length + ([0] * args.observation_length + [1] * args.action_length) * (
        num_turns - 1
    )
    placeholder = random_ids(args.placeholder_length)
    return {
        "prompt_ids": [random_ids(args.prompt_length) for _ in range(args.num_trajectories)],
        "completion_ids": [random_ids(len(action_mask)) for _ in range(args.num_trajectories)],
        "turns": [segment_turns(action_mask)] * args.num_trajectories,
        "masked_observations": [[placeholder] * num_turns] * args.num_trajectories,
    }


@torch.no_grad()
def naive_replay(model: LlamaForCausalLM, prompt_ids, completion_ids, turns, masked_observations) -> torch.Tensor:
    """Gains, of shape (B, K), from two full forward passes a turn."""
    gains = torch.full((len(turns), len(turns[0])), torch.nan)
    for k, (turn, following) in enumerate(zip(turns[0], turns[0][1:])):

        def mean_logp(observations: list[list[int]], turn=turn, following=following) -> torch.Tensor:
            rows = [
                prompt + completion[: turn.observation.start] + observation + completion[turn.observation.stop :]
                for prompt, completion, observation in zip(prompt_ids, completion_ids, observations)
            ]
            after_action = len(turns[0][-1].action) + turns[0][-1].action.start - following.action.stop
            input_ids = torch.tensor(rows, device=model.device)[:, : len(rows[0]) - after_action]
            logps = model(input_ids, use_cache=False).logits.float().log_softmax(-1)
            labels = input_ids[:, -len(following.action) :, None]
            return logps[:, -len(following.action) - 1 : -1].gather(2, labels)[..., 0].mean(1)

        observations = [completion[turn.observation.start : turn.observation.stop] for completion in completion_ids]
        gains[:, k] = (mean_logp(observations) - mean_logp([masked[k] for masked in masked_observations])).cpu()
    return gains


def run(args: ScoringBenchmarkArguments) -> dict:
    """Measure everything, and return what goes into the JSON file."""
    torch.set_num_threads(args.threads)
    model = make_model(args)
    results = []
    progress = tqdm(total=len(args.turns) * args.repeats * len(WAYS), unit="run")
    for num_turns in args.turns:
        rollouts = make_rollouts(args, num_turns)
        ways = {
            "forward": partial(plain_forward, model, **rollouts),
            "naive": partial(naive_replay, model, **rollouts),
            "replay": partial(score_information_gain, model, **rollouts, engine="replay"),
            "tree": partial(score_information_gain, model, **rollouts, engine="tree"),
        }
        plain_forward(model, **rollouts)  # warm-up
        gains, seconds, peaks = {}, {way: [] for way in WAYS}, {way: [] for way in WAYS}
        for _ in range(args.repeats):
            for way in WAYS:
                progress.set_description(f"{num_turns} turns, {way}")
                meter = Meter(args.device)
                gains[way] = meter.measured(way, ways[way])()
                seconds[way].append(meter.seconds[way])
                peaks[way].append(meter.peak_mib[way])
                progress.update()
        best = {way: min(seconds[way]) for way in WAYS}
        results.append(
            {
                "turns": num_turns,
                "tokens": len(rollouts["prompt_ids"][0]) + len(rollouts["completion_ids"][0]),
                "seconds": {way: round(best[way], 4) for way in WAYS},
                "ratios": {way: round(best[way] / best["forward"], 3) for way in WAYS},
                "limit": round(token_limit(**rollouts), 3),
                "peak_mib": {way: round(max(peaks[way])) for way in WAYS},
                "largest_difference_from_naive": {
                    way: (gains[way] - gains["naive"]).nan_to_num(0.0).abs().max().item() for way in ("replay", "tree")
                },
            }
        )
    progress.close()
    settings = {name: value for name, value in asdict(args).items() if name not in ("output", "table")}
    return {
        "device": device_name(args.device),
        "versions": versions(),
        "settings": settings,
        "branch_tokens": branch_tokens(args.device),
        "num_parameters": model.num_parameters(),
        "results": results,
    }


def branch_tokens(device: str) -> int:
    """How many tokens of branches `tree` runs in a forward pass."""
    return engines.BRANCH_TOKENS if device == "cpu" else engines.BRANCH_TOKENS_ON_GPU


def markdown_table(report: dict) -> str:
    """Times in forwards and peak memory in MiB, a row for each number of turns."""
    lines = [
        "| turns | tokens | naive | `replay` | `tree` | limit | `tree` / limit | naive / `tree` "
        "| MiB: forward | naive | `replay` | `tree` |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for result in report["results"]:
        ratios, peaks = result["ratios"], result["peak_mib"]
        cells = [
            result["turns"],
            result["tokens"],
            *(f"{ratios[way]:.2f}×" for way in ("naive", "replay")),
            f"**{ratios['tree']:.2f}×**",
            f"{result['limit']:.2f}×",
            f"**{ratios['tree'] / result['limit']:.2f}**",
            f"{ratios['naive'] / ratios['tree']:.1f}×",
            *(peaks[way] for way in WAYS),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def markdown_page(reports: list[dict]) -> str:
    sections = [
        "<!-- Written by `python benchmarks/scoring.py --table`; edit the script instead. -->\n\n"
        "# Speed of scoring\n\n"
        "Time of scoring a batch of trajectories, in forward passes over the same trajectories: one without "
        "gradients that gives the log-probability of every action token, and takes only those through the LM head. "
        "The naive replay runs two full forward passes a turn; `replay` and `tree` are the values of "
        "`info_gain_engine`. The limit is that of the tokens, `1 + Σ (|õ| + |a|) / S`: each trajectory of `S` tokens "
        "once, and each "
        "masked observation with the action that follows. Peak memory is what each adds to the model."
    ]
    for report in reports:
        settings = report["settings"]
        cpu = f", CPU time of {settings['threads']} thread(s)" if settings["device"] == "cpu" else ", wall-clock"
        size = f"{report['num_parameters'] / 1e9:.1f} billion" if settings["device"] != "cpu" else ""
        sections.append(f"## {report['device']}{size and f', {size} parameters'}")
        sections.append(markdown_table(report))
        sections.append(
            f"A Llama model of {report['num_parameters'] / 1e6:.0f} M parameters in {settings['dtype']} with "
            f"{settings['attn_implementation']} attention, batches of {settings['num_trajectories']}; "
            f"{settings['prompt_length']} tokens of prompt, "
            f"{settings['action_length']} an action, {settings['observation_length']} an observation, "
            f"{settings['placeholder_length']} a masked one; "
            f"the best of {settings['repeats']} repeats, interleaved{cpu}. "
            f"{', '.join(f'{name} {version}' for name, version in report['versions'].items())}."
        )
    return "\n\n".join(sections) + "\n"


def main() -> None:
    [args] = TrlParser(ScoringBenchmarkArguments).parse_args_and_config()
    if not args.table:
        report = run(args)
        print(f"{markdown_table(report)}\n")
        write_results("scoring", args, report)
    else:
        DOCS.write_text(
            markdown_page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("scoring_*.json"))])
        )
        print(f"Written to {os.path.relpath(DOCS)}")


if __name__ == "__main__":
    main()
