# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Shows what a training run would do, without a model."""

from typing import TYPE_CHECKING, Any

from .._checks import CheckedFactory, check_dataset, check_names_of_tools, check_options


if TYPE_CHECKING:
    from datasets import Dataset
    from trl import ModelConfig

    from ..infopo_config import InfoPOConfig
    from .train import TrainArguments


def show_run(
    args: "TrainArguments",
    training_args: "InfoPOConfig",
    model_args: "ModelConfig",
    task: dict[str, Any],
    train_dataset: "Dataset",
    eval_dataset: "Dataset | None",
) -> None:
    """
    Check what can be checked without a model, and print what would be trained.

    Args:
        args ([`TrainArguments`]):
            Arguments of the training.
        training_args ([`InfoPOConfig`]):
            Arguments of the trainer.
        model_args ([`~trl.ModelConfig`]):
            Arguments of the model.
        task (`dict[str, Any]`):
            The environment, tools and rewards, as [`load_task`] loads them.
        train_dataset ([`~datasets.Dataset`]):
            Tasks to train on.
        eval_dataset ([`~datasets.Dataset`], *optional*):
            Tasks to evaluate on.

    Raises:
        `ImportError`: If a package is missing.
        `RuntimeError`: If the environment cannot work on this machine.
        `ValueError`: If something does not fit together.
    """
    from rich.console import Console
    from rich.table import Table

    from ..evaluation import start_episode
    from .env import print_messages

    check_options(training_args, train_dataset=train_dataset, **task)
    factory = task["environment_factory"]
    factories = {} if factory is None else {None: CheckedFactory(factory, training_args.seed)}
    tools = task["tools"] or []
    check_names_of_tools(tools, factories.values())
    has_turns = bool(tools) or any(factory.converses or factory.tools for factory in factories.values())
    for name, dataset in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
        check_dataset(name, dataset, factories, has_turns)
    rewards = [reward.__name__ for reward in task["reward_funcs"] or []]
    rewards += ["get_reward" for factory in factories.values() if factory.has_reward]
    if not rewards:
        raise ValueError(f"`reward_funcs` is missing: {args.environment} has no `get_reward`, so nothing rewards.")

    batch, group = training_args.generation_batch_size, training_args.num_generations
    uses = (
        training_args.steps_per_generation * training_args.num_iterations / training_args.gradient_accumulation_steps
    )
    steps = "step of the optimizer" if uses == 1 else "steps of the optimizer"
    length = f"{training_args.num_train_epochs:g} epochs"
    rows = {
        "environment": args.environment or "none",
        "user": args.user or "the environment's own",
        "tools": ", ".join([tool.__name__ for tool in tools] + [name for f in factories.values() for name in f.tools])
        or "none",
        "rewards": ", ".join(rewards),
        "tasks": f"{_count(train_dataset)}, columns {', '.join(train_dataset.column_names or ['unknown'])}",
        "evaluation": f"{_count(eval_dataset)}, by {training_args.eval_strategy.value}" if eval_dataset else "none",
        "model": f"{model_args.model_name_or_path}, {_method(model_args)}, {model_args.dtype or 'its own dtype'}",
        "processes": f"{training_args.world_size}",
        "rollouts": f"{batch} at a time, {batch // group} tasks x {group}, for {uses:g} {steps}",
        "turns": f"up to {training_args.max_turns or 'any number'}, in {training_args.max_completion_length} tokens",
        "length": f"{training_args.max_steps} steps" if training_args.max_steps > 0 else length,
        "InfoPO": f"coefficient {training_args.info_gain_coef:g}, gate {training_args.gate} at "
        f"{training_args.gate_temperature:g}, normalization {training_args.info_gain_normalization}",
        "learning rate": f"{training_args.learning_rate:g}",
        "generation": f"vLLM, {training_args.vllm_mode}" if training_args.use_vllm else "transformers",
        "output": training_args.output_dir,
    }
    console = Console(highlight=False, quiet=training_args.process_index != 0)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    if factories:
        row = next(iter(train_dataset.take(1)))
        episode = start_episode(factories[None](), row, None, "the first task", f"{training_args.seed}")
        console.print("\nthe first task", style="bold")
        print_messages(episode.prompt, console)
    console.print("\nNothing was loaded or written. `trl-infopo check` plays the environment.", style="dim")


def _count(dataset: "Dataset") -> str:
    return f"{len(dataset)}" if hasattr(dataset, "__len__") else "a stream"


def _method(model_args: "ModelConfig") -> str:
    base = "4-bit" if model_args.load_in_4bit else "8-bit" if model_args.load_in_8bit else ""
    if not model_args.use_peft:
        return base or "all weights"
    targets = model_args.lora_target_modules or "default modules"
    targets = ", ".join(targets) if isinstance(targets, list) else targets
    return f"{base} LoRA of rank {model_args.lora_r} on {targets}".strip()
