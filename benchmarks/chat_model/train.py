# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""GRPO against InfoPO with a chat model of 135 million parameters and LoRA, on a reduced clarify task.

    python -m benchmarks.chat_model.train --arms grpo agreement --seeds 0 1 2

One run after the other, each about an hour on one core. What is done is not run again.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock
from peft import LoraConfig
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer, TrlParser

from trl_infopo import InfoPOConfig
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import CHAT_TEMPLATE, RESPONSE_TEMPLATE

from ..learning.arms import ARMS
from ..learning.run import (
    SHARED_OPTIONS,
    curve,
    demonstrations,
    measured,
    prepare_process,
    read_result,
    rounded,
    versions,
    write_atomically,
)
from .gains import ROOT
from .reduced import REDUCED


RESULTS = ROOT / "benchmarks" / "results" / "chat_model_training"
CACHE = RESULTS / ".cache"


@dataclass(frozen=True)
class Sizes:
    """
    How much of everything. The defaults are those of all committed results.

    Attributes:
        warm_start_steps (`int`, *optional*, defaults to `40`):
            Steps of the supervised warm start, each on 8 conversations.
        steps (`int`, *optional*, defaults to `30`):
            Steps of reinforcement learning.
        eval_steps (`int`, *optional*, defaults to `10`):
            Steps between two evaluations.
        num_prompts (`int`, *optional*, defaults to `3`):
            Groups in a step.
        num_generations (`int`, *optional*, defaults to `6`):
            Rollouts in a group.
        num_held_out (`int`, *optional*, defaults to `48`):
            Held-out tasks.
        num_dialogues (`int`, *optional*, defaults to `3`):
            Of the held-out tasks, how many are kept as dialogues.
    """

    warm_start_steps: int = 40
    steps: int = 30
    eval_steps: int = 10
    num_prompts: int = 3
    num_generations: int = 6
    num_held_out: int = 48
    num_dialogues: int = 3


WARM_START_OPTIONS = {
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "assistant_only_loss": True,
}
TRAINING_OPTIONS = {
    "max_turns": 8,
    "max_completion_length": 224,
    "learning_rate": 2e-4,
    "lr_scheduler_type": "constant",
    "num_generations_eval": 1,
    "log_information_gain": True,
}
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def run_settings(arm_name: str, seed: int, sizes: Sizes) -> dict:
    """All that a result depends on, besides the code. A result with other settings is another result."""
    return {
        "arm": arm_name,
        "seed": seed,
        "options": {**TRAINING_OPTIONS, **ARMS[arm_name].options},
        "lora": LORA,
        "sizes": asdict(sizes),
        "warm_start": WARM_START_OPTIONS,
    }


def result_path(arm_name: str, seed: int, results: Path = RESULTS) -> Path:
    return results / arm_name / f"{seed}.json"


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The model's own ChatML with tool calls, which its template lacks."""
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.response_template = RESPONSE_TEMPLATE
    return tokenizer


def load_warm_start(sizes: Sizes, cache: Path = CACHE) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy that all runs start from: taught the form of the game by a demonstrator who asks at random."""
    path = cache / f"warm_start-{sizes.warm_start_steps}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            make_warm_start(sizes, path)
    return AutoModelForCausalLM.from_pretrained(path), prepare_tokenizer(AutoTokenizer.from_pretrained(path))


def make_warm_start(sizes: Sizes, path: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from smollm2 import save_smollm2

    set_seed(0)
    with TemporaryDirectory() as folder:
        save_smollm2(Path(folder))
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = prepare_tokenizer(AutoTokenizer.from_pretrained(folder))
        num_rows = WARM_START_OPTIONS["per_device_train_batch_size"] * sizes.warm_start_steps
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=sizes.warm_start_steps,
                logging_steps=1,
                **SHARED_OPTIONS,
                **WARM_START_OPTIONS,
            ),
            train_dataset=demonstrations(REDUCED, {}, num_rows, seed=0),
            processing_class=tokenizer,
        )
        trainer.train()
        temporary = path.with_suffix(".tmp")
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    temporary.rename(path)


def play(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sizes: Sizes) -> list[dict]:
    """Dialogues about the first held-out tasks, decoded greedily."""
    evaluation = evaluate(
        (model, tokenizer),
        {"user": REDUCED.make_environment},
        REDUCED.make_dataset("test", sizes.num_dialogues),
        max_turns=TRAINING_OPTIONS["max_turns"],
        max_completion_length=TRAINING_OPTIONS["max_completion_length"],
        show_progress=False,
    )
    return [{"reward": record["reward"], "messages": record["messages"]} for record in evaluation.records]


def train(arm_name: str, seed: int, sizes: Sizes, cache: Path = CACHE) -> dict:
    """
    Train, and measure on the way.

    Args:
        arm_name (`str`):
            Key of `ARMS`.
        seed (`int`):
            Seed of tasks, adapters and sampling.
        sizes ([`Sizes`]):
            How much of everything.
        cache (`Path`, *optional*):
            Directory for the warm start.

    Returns:
        `dict`: The result, with dialogues before and after.
    """
    arm = ARMS[arm_name]
    model, tokenizer = load_warm_start(sizes, cache)
    before = play(model, tokenizer, sizes)
    start = time.perf_counter(), time.process_time()
    set_seed(seed)
    with TemporaryDirectory() as output_dir:
        trainer = measured(arm.trainer)(
            model=model,
            args=InfoPOConfig(
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
                masked_feedback=REDUCED.placeholder,
                **{**SHARED_OPTIONS, "disable_tqdm": False},
                **{**TRAINING_OPTIONS, **arm.options},
            ),
            train_dataset=REDUCED.make_dataset("train", sizes.num_prompts * sizes.steps, seed),
            eval_dataset=REDUCED.make_dataset("test", sizes.num_held_out, seed),
            processing_class=tokenizer,
            peft_config=LoraConfig(**LORA),
            environment_factory=REDUCED.make_environment,
            classify=REDUCED.classify,
        )
        trainer.train()
    seconds = {"wall": time.perf_counter() - start[0], "cpu": time.process_time() - start[1]}
    return {
        "settings": run_settings(arm_name, seed, sizes),
        "versions": versions(),
        "seconds": rounded(seconds),
        "curve": rounded(curve(trainer.evaluations, trainer.state.log_history)),
        "before": before,
        "after": play(trainer.model, tokenizer, sizes),
    }


@dataclass
class TrainArguments:
    """
    Arguments of the runs.
    """

    arms: list[str] = field(
        default_factory=lambda: ["grpo", "agreement"], metadata={"help": "Arms.", "choices": list(ARMS)}
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds."})
    steps: int = field(default=Sizes.steps, metadata={"help": "Steps of reinforcement learning."})
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})


def main(argv: list[str] | None = None) -> None:
    [args] = TrlParser(TrainArguments, prog="python -m benchmarks.chat_model.train").parse_args_and_config(argv)
    prepare_process()
    sizes = Sizes(steps=args.steps)
    for arm, seed in tqdm([(arm, seed) for seed in args.seeds for arm in args.arms], unit="run"):
        path = result_path(arm, seed, Path(args.results))
        done = read_result(path)
        if done is None or done["settings"] != run_settings(arm, seed, sizes):
            write_atomically(path, json.dumps(train(arm, seed, sizes), indent=1) + "\n")


if __name__ == "__main__":
    main()
