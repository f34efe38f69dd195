# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What the colocate suite measured: vLLM against the trainer that it samples for, on a CPU.

python benchmarks/vllm_colocate.py            # run tests/vllm_colocate and keep what its runs measured
python benchmarks/vllm_colocate.py --table    # write the table in the docs from the committed results
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from trl import TrlParser


ROOT = Path(__file__).resolve().parents[1]
SUITE = ROOT / "tests" / "vllm_colocate"
RESULTS = ROOT / "benchmarks" / "results" / "vllm_colocate.json"
DOCS = ROOT / "docs" / "vllm_results.md"
DIFFERENCE = "sampling/sampling_logp_difference"
RATIO = "sampling/importance_sampling_ratio"


@dataclass
class VLLMColocateArguments:
    """
    Arguments of the colocate suite's report.
    """

    table: bool = field(
        default=False,
        metadata={"help": "Run nothing, and write the table in `docs/vllm_results.md` from the results."},
    )


def table_row(name: str, run: dict) -> str:
    logs, scorings = run["logs"], run["scorings"]
    syncs = [run["initial_weights"], *run["syncs"]]
    cells = [
        name,
        run["vllm_dtype"],
        run["vllm_max_model_length"],
        max(run["lengths"]),
        f"{sum(log[f'{DIFFERENCE}/mean'] for log in logs) / len(logs):.1e}",
        f"{max(log[f'{DIFFERENCE}/max'] for log in logs):.1e}",
        f"{min(log[f'{RATIO}/min'] for log in logs):.3f}–{max(log[f'{RATIO}/max'] for log in logs):.3f}",
        f"{sum(sync['num_different'] for sync in syncs)} of {sum(sync['num_parameters'] for sync in syncs)}",
        " + ".join(str(len(scoring["gains"])) for scoring in scorings),
        f"`{scorings[0]['engine']}`",
        " + ".join(str(scoring["num_forwards"]) for scoring in scorings),
        " + ".join(str(scoring["num_forwards_without_their_logps"]) for scoring in scorings),
        f"{run['seconds']['start']:.0f} + {run['seconds']['two_steps']:.0f}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def markdown_page(runs: dict[str, dict]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in next(iter(runs.values()))["versions"].items())
    lines = [
        "<!-- Written by `python benchmarks/vllm_colocate.py --table`; edit the script instead. -->",
        "",
        "# Results of the vLLM suite",
        "",
        "Two InfoPO steps each of a tiny Qwen3 policy, trained in float32 on a CPU, with vLLM in colocate mode. "
        "`tools`: an environment with two tools, played by TRL's loop. `user`: an environment with a user and no "
        "tools, played by the package's loop.",
        "",
        "| run | vLLM's dtype | context | longest rollout | log-prob. difference: mean | largest | importance ratios "
        "| parameters that differ after a sync | scored turns | engine | its forwards | without TRL's log-probs. "
        "| seconds |",
        f"|---|---|{'---:|' * 7}---|{'---:|' * 3}",
        *(table_row(name, run) for name, run in runs.items()),
        "",
        "* Log-probability difference: of the sampled tokens, between vLLM, which sampled them, and the trainer, in "
        "nats: TRL's metrics `sampling/sampling_logp_difference/{mean,max}`. Importance ratios are of sequences.",
        "* Parameters: vLLM's against the trainer's, bit for bit in vLLM's dtype: at the start, after the two syncs "
        "of the training, one before each step, and after a third at the end.",
        "* Forwards: through the decoder while a batch of 8 rollouts was scored, step 1 + step 2, and when the same "
        "rollouts were scored again without the log-probabilities that TRL had computed for its importance sampling.",
        "* Seconds: wall-clock, the engine's start + two steps, on two busy cores.",
        "",
        f"{versions}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    [args] = TrlParser(VLLMColocateArguments).parse_args_and_config()
    if args.table:
        DOCS.write_text(markdown_page(json.loads(RESULTS.read_text())))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    command = [sys.executable, "-m", "pytest", str(SUITE), "-m", "slow", "--results", str(RESULTS)]
    subprocess.run(command, check=True, cwd=ROOT)
    print(f"{markdown_page(json.loads(RESULTS.read_text()))}\nWritten to {os.path.relpath(RESULTS)}")


if __name__ == "__main__":
    main()
