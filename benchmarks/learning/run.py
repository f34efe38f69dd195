# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One run: a regime, an arm and a seed, from a warm start to a curve on held-out tasks, as one JSON."""

import json
import os
import platform
import random
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import torch
import transformers
import trl
from filelock import FileLock
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer

import trl_infopo
from trl_infopo import InfoPOConfig, InfoPOTrainer
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_policy, build_tokenizer

from .arms import ARMS
from .families import FAMILIES, QUESTIONS, Family
from .regimes import REGIMES, Regime


ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "learning"
CACHE = RESULTS / ".cache"  # warm starts, trained policies and logs, not committed

# Averages over the steps since the last evaluation, by their names in the log
TRAINING_METRICS = {
    "reward": "reward",
    "entropy": "entropy",
    "tied_groups": "infopo/tied_groups",
    "tied_with_signal": "infopo/tied_groups_with_signal",
    "gate": "infopo/gate/mean",
    "agreement": "infopo/gate/agreement",
    "scale": "infopo/scale",
    "intrinsic_share": "infopo/intrinsic_share",
    "gain": "infopo/information_gain/mean",
    "gain_outcome_corr": "infopo/gain_outcome_corr",
    "turns": "infopo/turns/mean",
    "silent": "infopo/questions/silent_frac",
}


@dataclass(frozen=True)
class Sizes:
    """
    How much of everything. The defaults are those of all committed results.

    Attributes:
        warm_start_steps (`int`, *optional*, defaults to `512`):
            Steps of the supervised warm start, each on 32 conversations.
        num_demonstrations (`int`, *optional*, defaults to `4096`):
            Number of conversations that the warm start draws from.
        steps (`int`, *optional*, defaults to `100`):
            Steps of reinforcement learning.
        eval_steps (`int`, *optional*, defaults to `20`):
            Steps between two evaluations.
        num_prompts (`int`, *optional*, defaults to `8`):
            Groups in a step.
        num_generations (`int`, *optional*, defaults to `8`):
            Rollouts in a group.
        num_held_out (`int`, *optional*, defaults to `256`):
            Held-out tasks.
    """

    warm_start_steps: int = 512
    num_demonstrations: int = 4096
    steps: int = 100
    eval_steps: int = 20
    num_prompts: int = 8
    num_generations: int = 8
    num_held_out: int = 256


SHARED_OPTIONS = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "adam_beta2": 0.99,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
WARM_START_OPTIONS = {
    "per_device_train_batch_size": 32,
    "learning_rate": 5e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 20,
    "assistant_only_loss": True,
}
TRAINING_OPTIONS = {
    "max_turns": 8,
    "max_completion_length": 160,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant",
    "num_generations_eval": 1,
    "log_information_gain": True,  # GRPO's gains are worth looking at, and tell its tied groups
}


def warm_start_settings(regime: Regime, seed: int, sizes: Sizes) -> dict:
    return {
        "family": regime.family,
        "habits": regime.habits,
        "seed": seed,
        "steps": sizes.warm_start_steps,
        "num_demonstrations": sizes.num_demonstrations,
        "options": WARM_START_OPTIONS,
    }


def run_settings(regime_name: str, arm_name: str, seed: int, sizes: Sizes) -> dict:
    """All that a result depends on, besides the code. A result with other settings is another result."""
    regime, arm = REGIMES[regime_name], ARMS[arm_name]
    return {
        "regime": regime_name,
        "arm": arm_name,
        "seed": seed,
        "environment": regime.environment,
        "dataset": regime.dataset,
        "options": {**TRAINING_OPTIONS, **regime.options, **arm.options},
        "trainer": arm.trainer.__name__,
        "sizes": asdict(sizes),
        "warm_start": warm_start_settings(regime, seed, sizes),
    }


def result_path(regime_name: str, arm_name: str, seed: int, results: Path = RESULTS) -> Path:
    return results / regime_name / arm_name / f"{seed}.json"


def versions() -> dict[str, str]:
    return {
        "trl_infopo": trl_infopo.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def policy_path(regime_name: str, arm_name: str, seed: int, cache: Path = CACHE) -> Path:
    """Where the weights at the end of a run are kept, for tests with other users and tasks."""
    return cache / "policies" / f"{regime_name}-{arm_name}-{seed}.pt"


def read_result(path: Path) -> dict | None:
    """A result, `None` where there is none or only the beginning of one."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_atomically(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def run_unless_done(path: Path, settings: dict, make: Callable[[], dict]) -> None:
    """Make and write a result, unless it is there, whole and of these settings."""
    result = read_result(path)
    if result is None or result["settings"] != settings:
        write_atomically(path, json.dumps(make(), separators=(",", ":")) + "\n")


def prepare_process() -> None:
    """Quiet, and one thread: more only get into each other's way in a model this small."""
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)


def demonstrations(family: Family, habits: dict, num_rows: int, seed: int) -> datasets.Dataset:
    """Conversations of the demonstrator on training tasks, with each kind of user in turn."""
    rng = random.Random(seed)

    def demonstrator(messages: list[dict], tools: list[Callable]) -> dict:
        return family.demonstrate(messages, rng, **habits)

    num_tasks = -(-num_rows // (len(family.tasks) * len(family.users)))
    tasks = [row for options in family.tasks for row in family.make_dataset("train", num_tasks, seed, **options)]
    users = {name: partial(family.make_environment, **options) for name, options in family.users.items()}
    evaluation = evaluate(demonstrator, users, tasks, max_turns=20, show_progress=False)
    rows = []
    for record in evaluation.records:
        for message in record["messages"]:
            for call in message.get("tool_calls") or []:
                # As JSON text: a dataset fills the missing keys of a dict with None
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
        rows.append({"messages": record["messages"]})
    return datasets.Dataset.from_list(rows)


def load_warm_start(settings: dict, cache: Path = CACHE) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy that all arms of a seed start from, made once and kept for as long as its demonstrations last."""
    family = FAMILIES[settings["family"]]
    tokenizer = build_tokenizer(family.phrases)
    # Where the code of a family changes, so do its demonstrations. A sample of them tells, and is quick to make
    sample = demonstrations(family, settings["habits"], min(256, settings["num_demonstrations"]), settings["seed"])
    content = json.dumps([settings, family.phrases, sample["messages"][:]], sort_keys=True)
    key = sha256(content.encode()).hexdigest()[:12]
    path = cache / "warm_starts" / f"{settings['family']}-{settings['seed']}-{key}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            model = make_warm_start(family, tokenizer, settings)
            temporary = path.with_suffix(".tmp")
            torch.save(model.state_dict(), temporary)
            temporary.replace(path)
    model = build_policy(tokenizer)
    model.load_state_dict(torch.load(path))
    return model, tokenizer


def make_warm_start(family: Family, tokenizer: PreTrainedTokenizerBase, settings: dict) -> PreTrainedModel:
    set_seed(settings["seed"])
    model = build_policy(tokenizer)
    with TemporaryDirectory() as output_dir:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=output_dir,
                seed=settings["seed"],
                max_steps=settings["steps"],
                logging_steps=100,
                **SHARED_OPTIONS,
                **settings["options"],
            ),
            train_dataset=demonstrations(family, settings["habits"], settings["num_demonstrations"], settings["seed"]),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model


class Measurement:
    """
    What a trainer does in this benchmark beside training: it evaluates with random numbers of its own, and counts the
    questions of the held-out tasks.
    """

    def __init__(self, *args, classify: Callable[[dict, list[dict]], list[str | None]], **kwargs):
        self.classify = classify
        self.evaluations = []
        super().__init__(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        with torch.random.fork_rng():
            torch.manual_seed(1_000_000 * (self.args.seed + 1) + self.state.global_step)
            return super().evaluate(*args, **kwargs)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if not self.model.training:
            rollouts = zip(inputs, completions, strict=True)
            self._classified = [self.classify(row, completion) for row, completion in rollouts]
        return super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)

    def _fuse(self, outcome_advantages, rewards, turns, num_questions, information_gain):
        if not self.model.training:
            asked, gains = dict.fromkeys(QUESTIONS, 0), defaultdict(list)
            for kinds, values in zip(self._classified, information_gain.tolist(), strict=True):
                for kind, gain in zip(kinds, values, strict=False):
                    if kind is not None:
                        asked[kind] += 1
                        if gain == gain:
                            gains[kind].append(gain)
            self.evaluations.append(
                {
                    "step": self.state.global_step,
                    "success": (rewards > 1 - 1e-6).float().mean().item(),
                    "reward": rewards.nansum().item() / len(rewards),
                    "questions": {kind: number / len(rewards) for kind, number in asked.items()},
                    "gains": {kind: sum(values) / len(values) for kind, values in sorted(gains.items())},
                }
            )
        return super()._fuse(outcome_advantages, rewards, turns, num_questions, information_gain)


def measured(trainer: type[InfoPOTrainer]) -> type:
    return type(f"Measured{trainer.__name__}", (Measurement, trainer), {})


def curve(evaluations: list[dict], log_history: list[dict]) -> list[dict]:
    """Evaluations with how their episodes ended, and with the training since the one before."""
    ends, training = {}, {}
    for entry in log_history:
        stops = {key.split("stop/")[1]: value for key, value in entry.items() if key.startswith("eval_infopo/stop/")}
        if stops:
            ends[entry["step"]] = {name: share for name, share in stops.items() if share}
        elif "reward" in entry:
            training[entry["step"]] = {
                name: entry[key] for name, key in TRAINING_METRICS.items() if entry.get(key) is not None
            }
    return [
        {**evaluation, "stop": ends[evaluation["step"]], "training": training.get(evaluation["step"], {})}
        for evaluation in evaluations
    ]


def rounded(value: Any) -> Any:
    """Floats with four significant digits, which is more than a run is worth, and keeps results small."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


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
