# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Success of the quick start on held-out users, InfoPO beside GRPO, one fresh process per seed.

python benchmarks/quickstart.py            # train and measure
python benchmarks/quickstart.py --table    # write the table in the docs from the committed results
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
import trl
from tqdm import tqdm
from trl import TrlParser


ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quickstart.json"
DOCS = ROOT / "docs" / "quickstart_results.md"


@dataclass
class QuickstartBenchmarkArguments:
    """
    Arguments of the quick start's benchmark.
    """

    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds to run."})
    table: bool = field(
        default=False,
        metadata={"help": "Train nothing, and write the table in `docs/quickstart_results.md` from the results."},
    )


def run(seed: int) -> dict:
    with TemporaryDirectory() as output_dir:
        command = [sys.executable, "-m", "trl_infopo.cli", "quickstart", "--compare", "--seed", str(seed)]
        subprocess.run([*command, "--output_dir", output_dir], check=True, stdout=subprocess.DEVNULL)
        return json.loads((Path(output_dir) / "results.json").read_text())


def markdown_page(report: dict) -> str:
    runs = report["runs"]
    lines = [
        "<!-- Written by `python benchmarks/quickstart.py --table`; edit the script instead. -->",
        "",
        "# Results of the quick start",
        "",
        "Success on held-out users, sampled as in training, of `trl-infopo quickstart --compare` with the settings it "
        "ships: before the reinforcement learning, and after it with InfoPO and with GRPO, from the same warm start "
        "and with the same seed. Seconds are wall-clock, the warm start and the evaluations apart.",
        "",
        "| seed | warm start | InfoPO | GRPO | seconds: InfoPO | GRPO |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for result in runs:
        success, seconds = result["success"], result["seconds"]
        cells = [f"{success[name]:.3f}" for name in ("warm start", "InfoPO", "GRPO")]
        cells += [f"{seconds[name]:.0f}" for name in ("InfoPO", "GRPO")]
        lines.append(f"| {result['seed']} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines += [
        "",
        f"{runs[0]['num_held_out']} held-out users, {runs[0]['steps']} steps of 8 groups of 8 rollouts. {versions}.",
        "",
        "One game, one tiny policy, three seeds, and settings chosen while looking at InfoPO: a demonstration, not a "
        "comparison of methods.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    [args] = TrlParser(QuickstartBenchmarkArguments).parse_args_and_config()
    if args.table:
        DOCS.write_text(markdown_page(json.loads(RESULTS.read_text())))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    report = {
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
        },
        "runs": [run(seed) for seed in tqdm(args.seeds, unit="seed")],
    }
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{markdown_page(report)}\nWritten to {os.path.relpath(RESULTS)}")


if __name__ == "__main__":
    main()
