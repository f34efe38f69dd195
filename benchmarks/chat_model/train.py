# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""GRPO against InfoPO with a chat model of 135 million parameters and LoRA, on a reduced clarify task.

    python -m benchmarks.chat_model.train                    # train: half an hour a run on one core
    python -m benchmarks.chat_model.train --device cuda      # larger batches, more steps: minutes a run
    python -m benchmarks.chat_model.train --table            # write the page in the docs from the committed results

One run after the other. What is done is not run again. Several of these commands, with different seeds, can run at a
time, also on one GPU.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock
from peft import LoraConfig
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer, TrlParser

from trl_infopo import InfoPOConfig
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import CHAT_TEMPLATE, RESPONSE_TEMPLATE

from ..learning.arms import ARMS
from ..learning.families import QUESTIONS
from ..learning.results import read_seeds, rounded, run_unless_done, versions, write_atomically
from ..learning.run import prepare_process
from ..learning.settings import SHARED_OPTIONS
from ..learning.warm_start import demonstrations
from ..meters import device_name
from .gains import ROOT, load_models
from .reduced import REDUCED
from .training_page import Runs, markdown_page


RESULTS = ROOT / "benchmarks" / "results" / "chat_model_training"
CACHE = RESULTS / ".cache"
DOCS = ROOT / "docs" / "chat_model_training.md"


@dataclass(frozen=True)
class ChatSizes:
    """
    How much of everything. The defaults are those of a CPU.

    Attributes:
        warm_start_steps (`int`, *optional*, defaults to `40`):
            Steps of the supervised warm start, each on 8 dialogues.
        num_demonstrations (`int`, *optional*, defaults to `320`):
            Number of dialogues that the warm start draws from.
        steps (`int`, *optional*, defaults to `10`):
            Steps of reinforcement learning.
        num_prompts (`int`, *optional*, defaults to `4`):
            Groups in a step.
        num_generations (`int`, *optional*, defaults to `4`):
            Rollouts in a group.
        num_held_out (`int`, *optional*, defaults to `64`):
            Held-out tasks.
    """

    warm_start_steps: int = 40
    num_demonstrations: int = 320
    steps: int = 10
    num_prompts: int = 4
    num_generations: int = 4
    num_held_out: int = 64


SIZES = {"cpu": ChatSizes(), "cuda": ChatSizes(steps=14, num_prompts=8, num_generations=8, num_held_out=256)}
NUM_DIALOGUES = 3  # of the held-out tasks, kept in the result
WARM_START_OPTIONS = {
    "per_device_train_batch_size": 8,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "assistant_only_loss": True,
}
LIMITS = {"max_turns": 6, "max_completion_length": 224}
TRAINING_OPTIONS = {
    **LIMITS,
    "generation_kwargs": {"max_new_tokens": 56},  # of one action, a proposal takes 43; the longest delays its batch
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "disable_tqdm": False,  # a step takes seconds on a GPU, a minute and more on a CPU
}
DEVICE_OPTIONS = {  # micro-batches of 8 rollouts take 8 GB of memory
    "cpu": {"use_cpu": True, "gradient_accumulation_steps": 2},
    "cuda": {"use_cpu": False, "gradient_accumulation_steps": 8, "tf32": True},
}
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
LOGGED = {
    "reward": "reward",
    "tied_groups": "frac_reward_zero_std",
    "gate": "infopo/gate/mean",
    "gain": "infopo/information_gain/mean",
    "intrinsic_share": "infopo/intrinsic_share",
    "seconds": "step_time",
}


def run_settings(arm_name: str, seed: int, sizes: ChatSizes, device: str = "cpu") -> dict:
    """All that a result depends on, besides the code. A result with other settings is another result."""
    return {
        "arm": arm_name,
        "seed": seed,
        "device": device,
        "options": {**TRAINING_OPTIONS, **DEVICE_OPTIONS[device], **ARMS[arm_name].options},
        "lora": LORA,
        "sizes": asdict(sizes),
        "warm_start": WARM_START_OPTIONS,
    }


def result_path(device: str, arm_name: str, seed: int, results: Path = RESULTS) -> Path:
    return results / device / arm_name / f"{seed}.json"


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The model's own ChatML with tool calls, which its template lacks."""
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.response_template = RESPONSE_TEMPLATE
    return tokenizer


def warm_start_path(sizes: ChatSizes, cache: Path) -> Path:
    """Where the warm start is kept, with what it reaches."""
    made_of = [WARM_START_OPTIONS, LIMITS, sizes.warm_start_steps, sizes.num_demonstrations]
    return cache / f"warm_start-{sha256(json.dumps(made_of).encode()).hexdigest()[:12]}"


def load_warm_start(
    sizes: ChatSizes, device: str, cache: Path = CACHE
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy that all runs start from: taught the form of the game by a demonstrator who asks at random."""
    path = warm_start_path(sizes, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            make_warm_start(sizes, device, path)
    model = AutoModelForCausalLM.from_pretrained(path).to(device)
    return model, prepare_tokenizer(AutoTokenizer.from_pretrained(path))


def make_warm_start(sizes: ChatSizes, device: str, path: Path) -> None:
    set_seed(0)
    tokenizer, [model] = load_models(device, torch.float32)
    with TemporaryDirectory() as output_dir:
        SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=output_dir,
                max_steps=sizes.warm_start_steps,
                logging_steps=1,
                **{**SHARED_OPTIONS, **WARM_START_OPTIONS, "use_cpu": device == "cpu"},
            ),
            train_dataset=demonstrations(REDUCED, {}, sizes.num_demonstrations, seed=0),
            processing_class=prepare_tokenizer(tokenizer),
        ).train()
    temporary = path.with_suffix(".tmp")
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    temporary.rename(path)


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, num_tasks: int) -> dict:
    """Held-out tasks, each sampled once. The draws are those of the task, so that policies are compared in pairs."""
    tasks = REDUCED.make_dataset("test", num_tasks)
    records = evaluate(
        (model, tokenizer),
        {"user": REDUCED.make_environment},
        tasks,
        temperature=1.0,
        batch_size=num_tasks,
        show_progress=False,
        **LIMITS,
    ).records
    kinds = [
        REDUCED.classify(row, record["messages"][len(row["prompt"]) :])
        for row, record in zip(tasks, records, strict=True)
    ]
    return {
        "success": fmean(record["reward"] == 1.0 for record in records),
        "reward": fmean(record["reward"] for record in records),
        "questions": {kind: fmean(asked.count(kind) for asked in kinds) for kind in QUESTIONS},
        "dialogues": [
            {"reward": record["reward"], "messages": record["messages"]} for record in records[:NUM_DIALOGUES]
        ],
    }


def measure_warm_start(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sizes: ChatSizes, cache: Path
) -> dict:
    """The same for the policy that all runs start from, measured once."""
    path = warm_start_path(sizes, cache) / f"measured-{sizes.num_held_out}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            write_atomically(path, json.dumps(measure(model, tokenizer, sizes.num_held_out)))
    return json.loads(path.read_text())


def train(arm_name: str, seed: int, sizes: ChatSizes, device: str = "cpu", cache: Path = CACHE) -> dict:
    """
    Train, and measure before and after.

    Args:
        arm_name (`str`):
            Key of `ARMS`.
        seed (`int`):
            Seed of tasks, adapters and sampling.
        sizes ([`ChatSizes`]):
            How much of everything.
        device (`str`, *optional*, defaults to `"cpu"`):
            Where to train, `"cpu"` or `"cuda"`.
        cache (`Path`, *optional*):
            Directory for the warm start.

    Returns:
        `dict`: The result, with dialogues before and after.
    """
    settings = run_settings(arm_name, seed, sizes, device)
    model, tokenizer = load_warm_start(sizes, device, cache)
    before = measure_warm_start(model, tokenizer, sizes, cache)
    start = time.perf_counter()
    set_seed(seed)
    with TemporaryDirectory() as output_dir:
        trainer = ARMS[arm_name].trainer(
            model=model,
            args=InfoPOConfig(
                output_dir=output_dir,
                seed=seed,
                max_steps=sizes.steps,
                per_device_train_batch_size=sizes.num_prompts
                * sizes.num_generations
                // settings["options"]["gradient_accumulation_steps"],
                num_generations=sizes.num_generations,
                masked_feedback=REDUCED.placeholder,
                **{**SHARED_OPTIONS, **settings["options"]},
            ),
            train_dataset=REDUCED.make_dataset("train", sizes.num_prompts * sizes.steps, seed),
            environment_factory=REDUCED.make_environment,
            processing_class=tokenizer,
            peft_config=LoraConfig(**LORA),
        )
        trainer.train()
    seconds = time.perf_counter() - start
    log = [{name: entry.get(key) for name, key in LOGGED.items()} for entry in trainer.state.log_history[:-1]]
    return {
        "settings": settings,
        "device": device_name(device),
        "versions": versions(),
        "seconds": round(seconds),
        "log": rounded(log),
        "before": before,
        "after": measure(model, tokenizer, sizes.num_held_out),  # the adapter is in the model's own layers
    }


def read_runs(device: str, results: Path = RESULTS) -> Runs:
    """All whole results of a kind of device, by arm and seed."""
    return {arm: runs for arm in ARMS if (runs := read_seeds(results / device / arm))}


@dataclass
class TrainArguments:
    """
    Arguments of the runs.
    """

    arms: list[str] = field(
        default_factory=lambda: ["grpo", "agreement"], metadata={"help": "Arms.", "choices": list(ARMS)}
    )
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds."})
    device: str = field(
        default="cpu", metadata={"help": "Where to train, which decides how much.", "choices": list(SIZES)}
    )
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})
    table: bool = field(
        default=False,
        metadata={"help": "Train nothing, and write `docs/chat_model_training.md` from the results in place."},
    )


def main(argv: list[str] | None = None) -> None:
    [args] = TrlParser(TrainArguments, prog="python -m benchmarks.chat_model.train").parse_args_and_config(argv)
    if args.table:
        DOCS.write_text(markdown_page([read_runs(device, Path(args.results)) for device in SIZES]))
        print(f"Written to {os.path.relpath(DOCS)}")
        return
    prepare_process()
    sizes = SIZES[args.device]
    for run in tqdm([(arm, seed) for seed in args.seeds for arm in args.arms], unit="run"):
        path = result_path(args.device, *run, Path(args.results))
        settings = run_settings(*run, sizes, args.device)
        run_unless_done(path, settings, partial(train, *run, sizes, args.device))


if __name__ == "__main__":
    main()
