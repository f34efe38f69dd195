# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One run: a regime, an arm and a seed, from a warm start to a curve on held-out tasks, as one JSON."""

import json
import os
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
import torch
import transformers
from transformers import PrinterCallback, set_seed

from trl_infopo import InfoPOConfig, InfoPOTrainer

from .arms import ARMS
from .families import FAMILIES, Family
from .measurement import curve, measured
from .regimes import REGIMES
from .results import CACHE, RESULTS, policy_path, result_path, rounded, versions, write_atomically
from .settings import SHARED_OPTIONS, Sizes, run_settings
from .warm_start import load_warm_start


def prepare_process() -> None:
    """Quiet, and one thread: more only get into each other's way in a model this small."""
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)


def train(regime_name: str, arm_name: str, seed: int, sizes: Sizes, cache: Path = CACHE) -> dict:
    """
    Train, and measure on the way.

    Args:
        regime_name (`str`):
            Key of `REGIMES`.
        arm_name (`str`):
            Key of `ARMS`.
        seed (`int`):
            Seed of warm start, tasks and sampling, so that arms of the same seed can be compared in pairs.
        sizes ([`Sizes`]):
            How much of everything.
        cache (`Path`, *optional*):
            Directory for warm starts.

    Returns:
        `dict`: The result.
    """
    regime, arm = REGIMES[regime_name], ARMS[arm_name]
    family = FAMILIES[regime.family]
    settings = run_settings(regime_name, arm_name, seed, sizes)
    model, tokenizer = load_warm_start(settings["warm_start"], cache)
    measured_values = train_and_measure(
        arm.trainer,
        family,
        settings["options"],
        seed,
        sizes,
        environment=regime.environment,
        dataset=regime.dataset,
        model=model,
        processing_class=tokenizer,
    )
    path = policy_path(regime_name, arm_name, seed, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"settings": settings, "weights": model.state_dict()}, path)
    return {"settings": settings, "versions": versions(), **measured_values}


def train_and_measure(
    trainer_class: type[InfoPOTrainer],
    family: Family,
    options: dict,
    seed: int,
    sizes: Sizes,
    environment: dict | None = None,
    dataset: dict | None = None,
    **kwargs,
) -> dict:
    """
    Train a policy on tasks of a family, and measure it on held-out ones.

    Args:
        trainer_class (`type[InfoPOTrainer]`):
            The trainer.
        family ([`Family`]):
            The tasks.
        options (`dict`):
            Options of `InfoPOConfig`, besides those that all runs share.
        seed (`int`):
            Seed of tasks and sampling.
        sizes ([`Sizes`]):
            How much of everything.
        environment (`dict`, *optional*):
            Options of the environment.
        dataset (`dict`, *optional*):
            Options of the dataset.
        **kwargs:
            Further arguments of the trainer: the model, its tokenizer, an adapter.

    Returns:
        `dict`: `seconds` and `curve` of a result.
    """
    start = time.perf_counter(), time.process_time()
    set_seed(seed)
    with TemporaryDirectory() as output_dir:
        trainer = measured(trainer_class)(
            args=make_config(options, family, output_dir, seed, sizes),
            train_dataset=family.make_dataset("train", sizes.num_prompts * sizes.steps, seed, **(dataset or {})),
            eval_dataset=family.make_dataset("test", sizes.num_held_out, seed, **(dataset or {})),
            environment_factory=partial(family.make_environment, **(environment or {})),
            classify=family.classify,
            **kwargs,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    seconds = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    return {
        "seconds": rounded(seconds),
        "curve": rounded(curve(trainer.evaluations, trainer.state.log_history)),
    }


def make_config(options: dict, family: Family, output_dir: str, seed: int, sizes: Sizes) -> InfoPOConfig:
    return InfoPOConfig(
        output_dir=output_dir,
        seed=seed,
        max_steps=sizes.steps,
        per_device_train_batch_size=sizes.num_prompts * sizes.num_generations,
        num_generations=sizes.num_generations,
        per_device_eval_batch_size=sizes.num_held_out,
        eval_strategy="steps",
        eval_steps=sizes.eval_steps,
        eval_on_start=True,
        logging_steps=sizes.eval_steps,
        masked_feedback=family.placeholder,
        **{**SHARED_OPTIONS, **options},
    )


@dataclass
class RunArguments:
    """
    Arguments of one run.
    """

    regime: str = field(metadata={"help": "What to train on.", "choices": list(REGIMES)})
    arm: str = field(metadata={"help": "How to train.", "choices": list(ARMS)})
    seed: int = field(default=0, metadata={"help": "Seed of warm start, tasks and sampling."})
    steps: int = field(default=Sizes.steps, metadata={"help": "Steps of reinforcement learning."})
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})


def main(args: RunArguments) -> None:
    prepare_process()
    result = train(args.regime, args.arm, args.seed, Sizes(steps=args.steps))
    path = result_path(args.regime, args.arm, args.seed, Path(args.results))
    write_atomically(path, json.dumps(result, separators=(",", ":")) + "\n")
    for point in result["curve"]:
        questions = ", ".join(f"{number:.2f} {kind}" for kind, number in point["questions"].items())
        print(f"step {point['step']:4d}: success {point['success']:.3f}, questions: {questions}")
    print(f"{result['seconds']['wall']:.0f} s, written to {os.path.relpath(path)}")
