# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""InfoPO from nothing, in minutes, on a laptop's CPU: a tiny agent learns to ask before it acts.

A word-level tokenizer and a small transformer are made from nothing, warm-started on noisy demonstrations with TRL's
`SFTTrainer`, and trained with `InfoPOTrainer` with the scripted user of `BookingEnv`. Nothing is downloaded.

```bash
trl-infopo quickstart
trl-infopo quickstart --compare --seed 1
```
"""

import atexit
import json
import math
import os
import shlex
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options import LARGEST_COEF, check_fields, check_number, check_output_dir
from ..environments.booking import NEUTRAL, BookingEnv, booking_dataset
from .arguments import parse_arguments
from .tiny_agent import MAX_TURNS, build_policy, build_tokenizer, demonstrate, play, score_conversation


if TYPE_CHECKING:
    from datasets import Dataset
    from rich.console import Console
    from rich.table import Table
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback

    from trl_infopo import InfoPOTrainer


@dataclass
class QuickstartArguments:
    """
    Arguments of the quick start.

    Args:
        seed (`int`, *optional*, defaults to `0`):
            Seed of the demonstrations, the weights, the users and the sampling.
        compare (`bool`, *optional*, defaults to `False`):
            Whether to train with GRPO too, from the same warm start.
        output_dir (`str`, *optional*, defaults to `"infopo-quickstart"`):
            Directory for the trained policy and its tokenizer, and for the traces of each training.
        warm_start_steps (`int`, *optional*, defaults to `512`):
            Steps of supervised warm start, each on 32 demonstrations.
        steps (`int`, *optional*, defaults to `120`):
            Steps of InfoPO, each on 8 groups of 8 rollouts.
        info_gain_coef (`float`, *optional*, defaults to `0.5`):
            Weight of the information gain.
        num_held_out (`int`, *optional*, defaults to `256`):
            Number of held-out users that the policy is evaluated on.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or the directory cannot be written to.
    """

    seed: int = field(
        default=0,
        metadata={"help": "Seed of the demonstrations, the weights, the users and the sampling."},
    )
    compare: bool = field(
        default=False,
        metadata={
            "help": "Whether to train with GRPO too, from the same warm start, with the same seed and settings: GRPO "
            "is InfoPO with `info_gain_coef` 0."
        },
    )
    output_dir: str = field(
        default="infopo-quickstart",
        metadata={"help": "Directory for the trained policy and its tokenizer; `from_pretrained` loads both."},
    )
    warm_start_steps: int = field(
        default=512,
        metadata={
            "help": "Steps of supervised warm start, each on 32 demonstrations. They teach the format of tool calls "
            "and to copy an answer into the booking, but neither what to ask nor when to stop asking."
        },
    )
    steps: int = field(
        default=120,
        metadata={
            "help": "Steps of InfoPO, each on 8 groups of 8 rollouts. At first, many groups tie, because hardly any "
            "rollout asks enough, and the agent can learn only from the information gain."
        },
    )
    info_gain_coef: float = field(
        default=0.5,
        metadata={"help": "Weight of the information gain. The paper uses 0.5 for user-centric games."},
    )
    num_held_out: int = field(
        default=256,
        metadata={"help": "Number of held-out users for the evaluation. Their goals never occur in training."},
    )

    def __post_init__(self):
        check_fields(self)
        check_number("seed", self.seed, integer=True, at_least=0, at_most=2**32 - 1)
        for name in ("warm_start_steps", "steps", "num_held_out"):
            check_number(name, getattr(self, name), integer=True, at_least=1, at_most=100_000)
        check_number("info_gain_coef", self.info_gain_coef, at_least=0, at_most=LARGEST_COEF)
        check_output_dir("output_dir", self.output_dir)


def main(argv: list[str] | None = None) -> None:
    """
    Run the quick start.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    args = _read_arguments(argv)
    # The libraries take seconds to load, and before them nothing else would show that it has started
    print(f"training a policy in {args.output_dir}, which takes a few minutes", flush=True)
    _load_libraries(args.seed)
    from rich.console import Console

    start = time.perf_counter()
    console = Console()
    tokenizer = build_tokenizer()
    warm_start = _train_warm_start(args, tokenizer, console)
    held_out = booking_dataset("test", args.num_held_out, args.seed)
    coefficients = {"InfoPO": args.info_gain_coef, "GRPO": 0.0} if args.compare else {"InfoPO": args.info_gain_coef}
    policies, success, seconds = {}, {}, {}
    for title, info_gain_coef in coefficients.items():
        policies[title] = build_policy(tokenizer)
        policies[title].load_state_dict(warm_start.state_dict())
        trainer = _make_trainer(title, info_gain_coef, policies[title], args, tokenizer, held_out, console)
        success["warm start"] = trainer.evaluate()["eval_reward"]
        seconds[title] = trainer.train().metrics["train_runtime"]
        success[title] = trainer.evaluate()["eval_reward"]
        trainer.save_state()  # the learning curves of the report
    _save(args, policies["InfoPO"], tokenizer, success, seconds)

    _print_conversations(console, warm_start, policies["InfoPO"], tokenizer, held_out)
    _print_results(console, args, success, seconds)
    console.print(f"time: {time.perf_counter() - start:.0f} s")


def _read_arguments(argv: list[str] | None) -> QuickstartArguments:
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    parser = TrlParser(
        QuickstartArguments,
        prog="trl-infopo quickstart",
        description="Train a tiny agent to ask before it acts, from nothing, on the CPU.",
    )
    (args,) = parse_arguments(parser, argv)
    return args


def _load_libraries(seed: int) -> None:
    """Load the libraries that take seconds, before the clock starts, silence their output, and set the seed."""
    import datasets
    import torch
    import transformers
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    from trl_infopo import InfoPOConfig, InfoPOTrainer  # noqa: F401

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)  # more threads only get into each other's way in a model this small
    transformers.set_seed(seed)


def _make_progress_callback(title: str, metrics: dict[str, str], console: "Console") -> "TrainerCallback":
    """One line of progress for a whole training."""
    from transformers import TrainerCallback

    from trl_infopo._progress import ProgressBar

    class ProgressCallback(TrainerCallback):
        def __init__(self):
            self.bar = None

        def on_train_begin(self, args, state, control, **kwargs):
            self.bar = ProgressBar(f"{title:<10}", state.max_steps, console=console)
            self.bar.start()
            atexit.register(self.bar.stop)  # an error must not leave a terminal without its cursor

        def on_step_end(self, args, state, control, **kwargs):
            self.bar.update(state.global_step)

        def on_log(self, args, state, control, logs, **kwargs):
            values = [f"{name} {logs[key]:.2f}" for name, key in metrics.items() if key in logs]
            if self.bar and values:
                self.bar.update(text=" · ".join(values))

        def on_train_end(self, args, state, control, **kwargs):
            atexit.unregister(self.bar.stop)
            self.bar.stop()
            self.bar = None

    return ProgressCallback()


def _shared_options(args: QuickstartArguments) -> dict[str, Any]:
    """Options that the warm start and the training runs have in common."""
    return {
        "seed": args.seed,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "adam_beta2": 0.99,
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _train_warm_start(
    args: QuickstartArguments, tokenizer: "PreTrainedTokenizerFast", console: "Console"
) -> "PreTrainedModel":
    """A policy that has learnt the format of the game from noisy demonstrations."""
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    policy = build_policy(tokenizer)
    trainer = SFTTrainer(
        model=policy,
        args=SFTConfig(
            **_shared_options(args),
            output_dir=args.output_dir,
            max_steps=args.warm_start_steps,
            per_device_train_batch_size=32,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            assistant_only_loss=True,
        ),
        train_dataset=demonstrate(32 * args.warm_start_steps, args.seed),
        processing_class=tokenizer,
        callbacks=[_make_progress_callback("warm start", {"loss": "loss"}, console)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return policy


def _make_trainer(
    title: str,
    info_gain_coef: float,
    policy: "PreTrainedModel",
    args: QuickstartArguments,
    tokenizer: "PreTrainedTokenizerFast",
    held_out: "Dataset",
    console: "Console",
) -> "InfoPOTrainer":
    """The trainer of a policy that continues from the warm start, evaluated on held-out users."""
    from transformers import PrinterCallback

    from trl_infopo import InfoPOConfig, InfoPOTrainer

    trainer = InfoPOTrainer(
        model=policy,
        args=InfoPOConfig(
            **_shared_options(args),
            output_dir=str(Path(args.output_dir, title)),
            log_traces=True,
            max_steps=args.steps,
            per_device_train_batch_size=64,
            num_generations=8,
            per_device_eval_batch_size=args.num_held_out,
            num_generations_eval=1,
            max_completion_length=160,
            max_turns=MAX_TURNS,
            learning_rate=5e-4,
            lr_scheduler_type="constant",
            info_gain_coef=info_gain_coef,
            # Instead of "No information found.": an answer that says nothing and that the policy has seen before
            masked_feedback=NEUTRAL,
        ),
        train_dataset=booking_dataset("train", 8 * args.steps, args.seed),
        eval_dataset=held_out,
        processing_class=tokenizer,
        environment_factory=BookingEnv,
        callbacks=[
            _make_progress_callback(
                title,
                {"success": "reward", "gain": "infopo/information_gain/mean", "tied": "infopo/tied_groups"},
                console,
            )
        ],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _save(
    args: QuickstartArguments,
    policy: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    success: dict[str, float],
    seconds: dict[str, float],
) -> None:
    policy.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)
    results = {**asdict(args), "success": success, "seconds": seconds}
    (Path(args.output_dir) / "results.json").write_text(json.dumps(results, indent=2) + "\n")


def _print_conversations(
    console: "Console",
    warm_start: "PreTrainedModel",
    policy: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    held_out: "Dataset",
) -> None:
    """Print the conversations of both policies with the same user, with the gain of each turn."""
    # The first held-out user that the warm start, decoded greedily, fails; or the first, if it fails none
    user = next((row for row in held_out if play(warm_start, tokenizer, row)[1] == 0), held_out[0])
    wishes = " ".join(value for value in user["goal"].values() if value)
    console.print(f'\nuser: "{user["prompt"][0]["content"]}" (hidden goal: {wishes})')
    for title, model in (("before", warm_start), ("after", policy)):
        messages, reward = play(model, tokenizer, user)
        console.print(f"\n{title}, reward {reward:.0f}")
        console.print(_make_conversation_table(messages, score_conversation(model, tokenizer, messages)))


def _make_conversation_table(messages: list[dict], information_gain: list[float]) -> "Table":
    from rich.table import Table

    gains = iter(information_gain)
    table = Table("agent", "user", "information gain", min_width=80)
    for message, following in zip(messages, [*messages[1:], None], strict=True):
        if message["role"] != "assistant":
            continue
        calls = [call["function"] for call in message.get("tool_calls", [])]
        action = [f"{call['name']}({', '.join(call['arguments'].values())})" for call in calls]
        gain = next(gains)
        bar = "" if math.isnan(gain) else f"{gain:5.2f} {'█' * round(6 * gain)}"
        table.add_row(" ".join(filter(None, [message["content"], *action])), following and following["content"], bar)
    return table


def _print_results(
    console: "Console", args: QuickstartArguments, success: dict[str, float], seconds: dict[str, float]
) -> None:
    from rich.table import Table

    table = Table(*success)
    table.add_row(*(f"{value:.3f}" for value in success.values()))
    console.print(f"\nsuccess on {args.num_held_out} held-out users, sampled as in training")
    console.print(table)
    console.print(f"\npolicy and tokenizer: {args.output_dir}")
    runs = shlex.join(str(Path(args.output_dir, title)) for title in seconds)
    console.print(f"what the agent learnt, turn by turn: trl-infopo report {runs}", soft_wrap=True)


if __name__ == "__main__":
    main()
