# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""GRPO against InfoPO with a chat model of 135 million parameters and LoRA, on a reduced clarify task.

    python -m benchmarks.chat_model.train --arms grpo agreement --seeds 0 1 2 --device cuda

One run after the other: about ten minutes each on a GPU, more than an hour on a CPU. What is done is not run again.
Several of these commands, with different seeds, can share a GPU.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from filelock import FileLock
from peft import LoraConfig
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, set_seed
from trl import SFTConfig, SFTTrainer, TrlParser

from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import CHAT_TEMPLATE, RESPONSE_TEMPLATE

from ..learning.arms import ARMS
from ..learning.results import run_unless_done, versions
from ..learning.run import prepare_process, train_and_measure
from ..learning.settings import SHARED_OPTIONS, Sizes
from ..learning.warm_start import demonstrations
from ..meters import device_name
from .gains import ROOT, load_models
from .reduced import REDUCED


RESULTS = ROOT / "benchmarks" / "results" / "chat_model_training"
CACHE = RESULTS / ".cache"


SIZES = Sizes(
    warm_start_steps=80,
    num_demonstrations=1280,
    steps=24,
    eval_steps=8,
    num_prompts=4,
    num_generations=8,
    num_held_out=64,
)
NUM_DIALOGUES = 3  # about held-out tasks, before and after
WARM_START_OPTIONS = {
    "per_device_train_batch_size": 16,
    "learning_rate": 1e-4,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 5,
    "assistant_only_loss": True,
}
TRAINING_OPTIONS = {
    "max_turns": 8,
    "max_completion_length": 288,
    "generation_kwargs": {"max_new_tokens": 40},  # of one action; the longest of a batch decides how long all take
    "learning_rate": 5e-4,
    "lr_scheduler_type": "constant",
    "num_generations_eval": 1,
    "log_information_gain": True,
    "disable_tqdm": False,  # a step takes seconds on a GPU, minutes on a CPU
}
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}


def run_settings(arm_name: str, seed: int, sizes: Sizes, device: str = "cpu") -> dict:
    """All that a result depends on, besides the code. A result with other settings is another result."""
    return {
        "arm": arm_name,
        "seed": seed,
        "device": device,
        "options": {**TRAINING_OPTIONS, "use_cpu": device == "cpu", **ARMS[arm_name].options},
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


def load_warm_start(sizes: Sizes, device: str, cache: Path = CACHE) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy that all runs start from: taught the form of the game by a demonstrator who asks at random."""
    made_of = [WARM_START_OPTIONS, sizes.warm_start_steps, sizes.num_demonstrations]
    path = cache / f"warm_start-{sha256(json.dumps(made_of).encode()).hexdigest()[:12]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            make_warm_start(sizes, device, path)
    model = AutoModelForCausalLM.from_pretrained(path).to(device)
    return model, prepare_tokenizer(AutoTokenizer.from_pretrained(path))


def make_warm_start(sizes: Sizes, device: str, path: Path) -> None:
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


def play(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[dict]:
    """Dialogues about the first held-out tasks, decoded greedily."""
    evaluation = evaluate(
        (model, tokenizer),
        {"user": REDUCED.make_environment},
        REDUCED.make_dataset("test", NUM_DIALOGUES),
        max_turns=TRAINING_OPTIONS["max_turns"],
        max_completion_length=TRAINING_OPTIONS["max_completion_length"],
        show_progress=False,
    )
    return [{"reward": record["reward"], "messages": record["messages"]} for record in evaluation.records]


def train(arm_name: str, seed: int, sizes: Sizes, device: str = "cpu", cache: Path = CACHE) -> dict:
    """
    Train, and measure on the way.

    Args:
        arm_name (`str`):
            Key of `ARMS`.
        seed (`int`):
            Seed of tasks, adapters and sampling.
        sizes ([`Sizes`]):
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
    before = play(model, tokenizer)
    measured_values = train_and_measure(
        ARMS[arm_name].trainer,
        REDUCED,
        settings["options"],
        seed,
        sizes,
        model=model,
        processing_class=tokenizer,
        peft_config=LoraConfig(**LORA),
    )
    # The adapter was put into the model's own layers
    after = play(model, tokenizer)
    return {
        "settings": settings,
        "device": device_name(device),
        "versions": versions(),
        **measured_values,
        "before": before,
        "after": after,
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
    steps: int = field(default=SIZES.steps, metadata={"help": "Steps of reinforcement learning."})
    device: str = field(default="cpu", metadata={"help": "Where to train.", "choices": ["cpu", "cuda"]})
    results: str = field(default=str(RESULTS), metadata={"help": "Directory of the results."})


def main(argv: list[str] | None = None) -> None:
    [args] = TrlParser(TrainArguments, prog="python -m benchmarks.chat_model.train").parse_args_and_config(argv)
    prepare_process()
    sizes = replace(SIZES, steps=args.steps)
    for run in tqdm([(arm, seed) for seed in args.seeds for arm in args.arms], unit="run"):
        path = result_path(*run, Path(args.results))
        settings = run_settings(*run, sizes, args.device)
        run_unless_done(path, settings, partial(train, *run, sizes, args.device))


if __name__ == "__main__":
    main()
