# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""How trained policies do with users and tasks that they were not trained with."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_policy, build_tokenizer
from trl_infopo.users import PERSONAS

from .arms import ARMS, BASELINE, DEFAULT
from .families import FAMILIES
from .regimes import CONFIRMING_SEEDS, REGIMES, ROOM
from .results import CACHE, RESULTS, policy_path, read_result, rounded, run_unless_done, versions
from .run import prepare_process, train
from .settings import Sizes, run_settings
from .statistics import Results


RESULTS_OF_SHIFT = RESULTS / "shift"

# The regimes whose policies are tested, with the personas of their users
TRAINED_WITH = {regime: [regime] for regime in ("terse", "forgetful", "mistaken")}
TRAINED_WITH = {"booking": ["plain"], **TRAINED_WITH, "mixed": REGIMES["mixed"].environment["persona"]}

# What they are tested with, options of environment and dataset: each persona, and larger tasks
TESTS = {persona: ({"persona": persona}, {}) for persona in PERSONAS} | {"four slots": ({}, {"num_slots": 4})}


def shift_path(regime_name: str, arm_name: str, seed: int, results: Path = RESULTS_OF_SHIFT) -> Path:
    return results / f"{regime_name}-{arm_name}-{seed}.json"


def read_shift(directory: Path = RESULTS_OF_SHIFT) -> Results:
    """All whole results, by regime, arm and seed, in the order in which regimes and arms are listed."""
    results: Results = {}
    for regime in TRAINED_WITH:
        for arm in ARMS:
            prefix = f"{regime}-{arm}-"
            paths = {int(path.stem.removeprefix(prefix)): path for path in directory.glob(f"{prefix}[0-9]*.json")}
            runs = {seed: result for seed in sorted(paths) if (result := read_result(paths[seed])) is not None}
            if runs:
                results.setdefault(regime, {})[arm] = runs
    return results


def load_policy(
    regime_name: str, arm_name: str, seed: int, sizes: Sizes, cache: Path = CACHE
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy at the end of a run, which is trained where it was not, or with other settings."""
    path, settings = policy_path(regime_name, arm_name, seed, cache), run_settings(regime_name, arm_name, seed, sizes)
    if not path.exists() or torch.load(path)["settings"] != settings:
        train(regime_name, arm_name, seed, sizes, cache)
    tokenizer = build_tokenizer(FAMILIES[REGIMES[regime_name].family].phrases)
    model = build_policy(tokenizer)
    model.load_state_dict(torch.load(path)["weights"])
    return model, tokenizer


def shift_settings(regime_name: str, arm_name: str, seed: int, sizes: Sizes) -> dict:
    return {"policy": run_settings(regime_name, arm_name, seed, sizes), "tests": json.loads(json.dumps(TESTS)), **ROOM}


def measure_shift(regime_name: str, arm_name: str, seed: int, sizes: Sizes, cache: Path = CACHE) -> dict:
    """
    Test the policy of a run with all users and tasks, sampled as in training.

    Args:
        regime_name (`str`):
            Key of `TRAINED_WITH`.
        arm_name (`str`):
            Key of `ARMS`.
        seed (`int`):
            Seed of the run, and of the tests.
        sizes ([`Sizes`]):
            How much of everything.
        cache (`Path`, *optional*):
            Directory of the trained policies.

    Returns:
        `dict`: The result: for each test success, and the number of questions.
    """
    policy = load_policy(regime_name, arm_name, seed, sizes, cache)
    family = FAMILIES[REGIMES[regime_name].family]
    tests = {}
    for name, (environment, dataset) in TESTS.items():
        evaluation = evaluate(
            policy,
            {name: partial(family.make_environment, **environment)},
            family.make_dataset("test", sizes.num_held_out, seed, **dataset),
            temperature=1.0,
            seed=seed,
            batch_size=sizes.num_held_out,
            show_progress=False,
            **ROOM,
        )
        records = evaluation.records
        tests[name] = {
            "success": sum(record["success"] for record in records) / len(records),
            "questions": sum(record["num_questions"] for record in records) / len(records),
        }
    return {
        "settings": shift_settings(regime_name, arm_name, seed, sizes),
        "versions": versions(),
        "tests": rounded(tests),
    }


@dataclass
class ShiftArguments:
    """
    Arguments of the tests.
    """

    regimes: list[str] = field(
        default_factory=lambda: list(TRAINED_WITH),
        metadata={"help": "What the policies were trained on.", "choices": list(TRAINED_WITH)},
    )
    arms: list[str] = field(
        default_factory=lambda: [BASELINE, DEFAULT],
        metadata={"help": "How they were trained.", "choices": list(ARMS)},
    )
    seeds: list[int] = field(default_factory=lambda: list(CONFIRMING_SEEDS), metadata={"help": "Seeds."})
    steps: int = field(default=Sizes.steps, metadata={"help": "Steps of reinforcement learning."})
    results: str = field(default=str(RESULTS_OF_SHIFT), metadata={"help": "Directory of the results."})


def main(args: ShiftArguments) -> None:
    prepare_process()
    sizes, results = Sizes(steps=args.steps), Path(args.results)
    runs = [(regime, arm, seed) for seed in args.seeds for regime in args.regimes for arm in args.arms]
    for run in tqdm(runs, unit="policy"):
        run_unless_done(shift_path(*run, results), shift_settings(*run, sizes), partial(measure_shift, *run, sizes))
