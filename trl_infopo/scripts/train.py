# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Train an agent with InfoPO, on one process or on many: in a built-in environment, or in one of your own.

```bash
trl-infopo train --config examples/recipes/cpu_clarify.yaml
trl-infopo train --environment my_module:MyEnv --dataset tasks.jsonl --model_name_or_path Qwen/Qwen3-0.6B
accelerate launch --config_file examples/accelerate_configs/zero3.yaml -m trl_infopo.scripts.train \
    --config examples/recipes/clarify.yaml
```

All options of `InfoPOConfig` and of TRL's `ModelConfig` (PEFT, quantization) can be given; `--config` reads them from
a file, and the command line has priority over the file.
"""

import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._options import check_fields, check_output_dir
from ..environments import ENVIRONMENTS
from ..users import PERSONAS
from .arguments import parse_arguments
from .help import print_help
from .loading import (
    TRL_REWARDS,
    check_dataset,
    check_factory,
    check_model,
    check_needed,
    configure,
    is_chat_user,
    is_from_elsewhere,
    is_import_path,
    is_on_hub,
    load_callable,
    load_environment,
    load_reward,
    load_rows,
    load_user,
    read_mapping,
)
from .options import read_options


if TYPE_CHECKING:
    from datasets import Dataset

    from ..infopo_config import InfoPOConfig

# Defaults, most of which differ from those of `InfoPOConfig`
DEFAULTS = {
    "output_dir": "infopo-agent",
    "max_turns": 12,
    "num_generations": 8,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 4,
    "max_completion_length": 2048,
    "logging_steps": 1,
}
# Inherited options that `--help` shows; `--help-all` shows the others too
OFTEN_SET = (
    *("model_name_or_path", "output_dir", "max_steps", "num_train_epochs", "learning_rate", "num_generations"),
    *("per_device_train_batch_size", "gradient_accumulation_steps", "max_completion_length", "use_peft", "use_vllm"),
    *("eval_strategy", "report_to", "push_to_hub", "resume_from_checkpoint"),
)
RARELY_SET = (  # which only `--help-all` shows
    *("environment_kwargs", "dataset_kwargs"),
    *("dataset_config", "dataset_train_split", "dataset_test_split", "user_concurrency", "max_traces_per_step"),
    "min_ready_fraction",
    *("info_gain_only", "info_gain_granularity", "info_gain_batch_size"),
)


@dataclass
class TrainArguments:
    """
    Arguments of the training, besides those of the trainer and the model.

    Args:
        environment (`str`, *optional*):
            Environment: a key of `ENVIRONMENTS`, or an import path.
        environment_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the environment, on the command line as JSON.
        user (`str`, *optional*):
            User: name of a persona, `chat:<model>`, or the import path of a `UserFactory`.
        user_base_url (`str`, *optional*):
            OpenAI-compatible endpoint of the user `chat:<model>`.
        tools (`list[str]`, *optional*):
            Import paths of functions that the agent can call.
        reward_funcs (`list[str]`, *optional*):
            Reward functions: import paths, or names of TRL's.
        dataset (`str`, *optional*):
            Tasks: an import path, a file of JSON, or a dataset of the Hub.
        dataset_kwargs (`dict[str, Any]`, *optional*):
            Arguments of a function that makes the tasks, on the command line as JSON.
        eval_dataset (`str`, *optional*):
            Tasks to evaluate on, in the same ways.
        dataset_config (`str`, *optional*):
            Configuration of a dataset of the Hub.
        dataset_train_split (`str`, *optional*, defaults to `"train"`):
            Its split to train on.
        dataset_test_split (`str`, *optional*, defaults to `"test"`):
            Its split to evaluate on.
        num_tasks (`int`, *optional*, defaults to `2000`):
            Number of training tasks of a built-in environment.
        num_eval_tasks (`int`, *optional*, defaults to `64`):
            Number of its tasks to evaluate on.
        dry_run (`bool`, *optional*, defaults to `False`):
            Whether to show what would be trained, without a model.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or there is nothing to train on.
    """

    environment: str | None = field(
        default=None,
        metadata={"help": f"Environment of the agent: my_module:MyEnv, or one of {', '.join(ENVIRONMENTS)}."},
    )
    environment_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "Arguments of what makes the environment, as a JSON object."},
    )
    user: str | None = field(
        default=None,
        metadata={
            "help": f"User instead of the environment's own: {', '.join(PERSONAS)}, a model behind "
            "an endpoint as chat:MODEL, or my_module:make_user."
        },
    )
    user_base_url: str | None = field(
        default=None,
        metadata={
            "help": "OpenAI-compatible endpoint of the user chat:MODEL. If not set, the environment variable "
            "OPENAI_BASE_URL, or else OpenAI's."
        },
    )
    tools: list[str] | None = field(
        default=None,
        metadata={"help": "Functions that the agent can call, besides the environment's tools: my_module:search."},
    )
    reward_funcs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Reward functions, besides the environment's `get_reward`: my_module:my_reward, or TRL's "
            f"{', '.join(TRL_REWARDS)}."
        },
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "The tasks: my_module:rows (a dataset, a list, or a function that makes one), a file of JSON "
            "lines or a dataset of the hub. Built-in environments have their own."
        },
    )
    dataset_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "Arguments of functions that `dataset` and `eval_dataset` name, as a JSON object."},
    )
    eval_dataset: str | None = field(
        default=None, metadata={"help": "The tasks to evaluate on, given in the same way; needs `eval_strategy`."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset of the hub."})
    dataset_train_split: str = field(default="train", metadata={"help": "Split to train on."})
    dataset_test_split: str = field(default="test", metadata={"help": "Split to evaluate on."})
    num_tasks: int = field(default=2000, metadata={"help": "Number of tasks of a built-in environment."})
    num_eval_tasks: int = field(
        default=64, metadata={"help": "Number of tasks of a built-in environment to evaluate on."}
    )
    dry_run: bool = field(
        default=False,
        metadata={"help": "Only show what would be trained: options, environment and tasks, without a model."},
    )

    def __post_init__(self):
        for name in ("environment_kwargs", "dataset_kwargs"):
            setattr(self, name, read_mapping(name, getattr(self, name), '{"domain": "retail"}'))
        check_fields(self, positive=["num_tasks", "num_eval_tasks"])
        if self.environment is None and self.dataset is None:
            raise ValueError(
                "`environment` is missing. Name a built-in one (`trl-infopo env` shows them) or your own, "
                "my_module:MyEnv, with its `dataset`."
            )
        if self.environment is None and self.reward_funcs is None:
            raise ValueError("`reward_funcs` is missing: without an `environment`, nothing else rewards the agent.")
        if self.environment is None and self.user is not None:
            raise ValueError(f"`user` is {self.user!r}, but there is no `environment` to talk in. Set one.")
        datasets = [path for path in (self.dataset, self.eval_dataset) if path is not None]
        from_hub = any(map(is_on_hub, datasets))
        check_needed("environment_kwargs", self.environment_kwargs, self.environment is not None, "an `environment`")
        check_needed("user_base_url", self.user_base_url, is_chat_user(self.user), "a `user` chat:MODEL")
        check_needed("dataset_kwargs", self.dataset_kwargs, bool(datasets), "a `dataset` that a function makes")
        check_needed("dataset_config", self.dataset_config, from_hub, "a `dataset` of the hub")
        if self.dataset is None and self.environment not in ENVIRONMENTS and is_import_path(self.environment):
            raise ValueError(
                f"`dataset` is missing: {self.environment} is not built in and has no tasks of its own. Write "
                "my_module:rows, a file of JSON lines or a dataset of the hub."
            )


def load_task(args: TrainArguments) -> dict[str, Any]:
    """
    Load the environment, the tools and the rewards.

    Args:
        args ([`TrainArguments`]):
            Arguments of the training.

    Returns:
        `dict[str, Any]`: The arguments `environment_factory`, `tools` and `reward_funcs` of the trainer.

    Raises:
        `ImportError`: If a package is missing.
        `ValueError`: If something cannot be found.
    """
    factory = None
    if args.environment is not None:
        factory = configure(load_environment(args.environment), args.environment_kwargs)
        if args.user is not None:
            factory = load_user("user", args.user, factory, args.user_base_url)
        check_factory(args.environment, factory)
    for name in ("dataset", "eval_dataset"):
        if getattr(args, name) is not None:
            check_dataset(name, getattr(args, name))
    return {
        "environment_factory": factory,
        "tools": [load_callable("tools", path) for path in args.tools or []] or None,
        "reward_funcs": [load_reward(path) for path in args.reward_funcs or []] or None,
    }


def load_datasets(args: TrainArguments, training_args: "InfoPOConfig") -> "tuple[Dataset, Dataset | None]":
    """
    Load the tasks.

    Args:
        args ([`TrainArguments`]):
            Arguments of the training.
        training_args ([`InfoPOConfig`]):
            Arguments of the trainer.

    Returns:
        `tuple[Dataset, Dataset]`: Those to train on and, if the training evaluates, those to evaluate on, else `None`.

    Raises:
        `ValueError`: If they are not there, or are no rows.
    """
    family = ENVIRONMENTS.get(args.environment)
    if args.dataset is None:
        train_dataset = family.make_dataset("train", args.num_tasks, seed=training_args.seed)
    else:
        train_dataset = _load_dataset(args, "dataset", args.dataset_train_split)
    evaluates = training_args.eval_strategy != "no"
    check_needed("eval_dataset", args.eval_dataset, evaluates, "`eval_strategy`, for example 'steps'")
    if not evaluates:
        return train_dataset, None
    if args.eval_dataset is not None:
        return train_dataset, _load_dataset(args, "eval_dataset", args.dataset_test_split)
    if args.dataset is None:
        return train_dataset, family.make_dataset(family.validation_split, args.num_eval_tasks, seed=0)
    if not is_on_hub(args.dataset):
        raise ValueError(
            f"`eval_dataset` is missing: `eval_strategy` is {training_args.eval_strategy.value!r}, and `dataset` is "
            f"{args.dataset!r}, which is trained on. Set it, or `eval_strategy` to 'no'."
        )
    return train_dataset, _load_dataset(args, "dataset", args.dataset_test_split)


def _load_dataset(args: TrainArguments, name: str, split: str) -> "Dataset":
    from datasets import Dataset

    path = getattr(args, name)
    rows = load_rows(path, name, split, args.dataset_config, args.dataset_kwargs)
    rows = rows if hasattr(rows, "column_names") else list(rows)
    if rows == []:
        raise ValueError(f"`{name}` is {path!r}, which has no rows. Write a task on each line.")
    if hasattr(rows, "column_names"):
        return rows
    try:
        return Dataset.from_list(rows)
    except (TypeError, AttributeError, ValueError) as error:  # pyarrow's errors are values
        raise ValueError(
            f"`{name}` is {path!r}, of which no table can be made: {error}. Make rows of one shape."
        ) from error


def main(argv: list[str] | None = None) -> None:
    """
    Train an agent.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    argv = list(sys.argv[1:] if argv is None else argv)
    if asked := {"-h", "--help", "--help-all", "--help_all"}.intersection(argv):
        _print_help(everything=bool(asked & {"--help-all", "--help_all"}))
        raise SystemExit(0)

    from trl import ModelConfig, TrlParser

    # Misspelt or missing options are reported before the trainer's configuration is imported, which takes many seconds
    parser = TrlParser((TrainArguments, ModelConfig), prog="trl-infopo train")
    options = read_options("trl_infopo.infopo_config", "InfoPOConfig")
    args, model_args = parse_arguments(parser, argv, required=["model_name_or_path"], others=options)
    try:
        check_model("model_name_or_path", model_args.model_name_or_path)
        task = load_task(args)
    except (ValueError, ImportError) as error:
        parser.error(" ".join(str(error).split()))

    from trl import get_peft_config, get_quantization_config

    from ..infopo_config import InfoPOConfig

    if args.dry_run:
        argv = _without_accelerator(argv)
    parser = TrlParser((TrainArguments, InfoPOConfig, ModelConfig), prog="trl-infopo train")
    parser.set_defaults(**DEFAULTS)
    args, training_args, model_args = parse_arguments(parser, argv, required=["model_name_or_path"])
    try:
        check_output_dir("output_dir", training_args.output_dir)
        train_dataset, eval_dataset = load_datasets(args, training_args)
    except (ValueError, ImportError) as error:
        parser.error(" ".join(str(error).split()))

    if args.dry_run:
        from .dry_run import show_run

        try:
            show_run(args, training_args, model_args, task, train_dataset, eval_dataset)
        except (ValueError, RuntimeError, ImportError) as error:
            parser.error(" ".join(str(error).split()))
        return

    from ..infopo_trainer import InfoPOTrainer

    training_args.model_init_kwargs = {
        "revision": model_args.model_revision,
        "attn_implementation": model_args.attn_implementation,
        "dtype": model_args.dtype,
        **(training_args.model_init_kwargs or {}),
    }
    try:
        trainer = InfoPOTrainer(
            model=model_args.model_name_or_path,
            args=training_args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            quantization_config=get_quantization_config(model_args),
            peft_config=get_peft_config(model_args),
            **task,
        )
    # Options, rows or a model that are not there or do not fit together, an environment that cannot run here
    except (ValueError, OSError, RuntimeError) as error:
        if is_from_elsewhere(error):
            raise
        named = not isinstance(error, OSError)
        subject = "" if named else f"`model_name_or_path` is {model_args.model_name_or_path!r}. "
        parser.error(subject + " ".join(str(error).split()))
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.save_model(training_args.output_dir)
    trainer.save_state()  # the learning curves of `trl-infopo report`
    trainer.accelerator.print(f"model: {training_args.output_dir}")
    if training_args.log_traces:
        trainer.accelerator.print(f"turn by turn: trl-infopo report {training_args.output_dir}")
    if training_args.push_to_hub:
        trainer.push_to_hub(dataset_name=args.dataset if args.dataset and is_on_hub(args.dataset) else None)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _without_accelerator(argv: list[str]) -> list[str]:
    """Add the setting with which a recipe for an accelerator can be checked on a machine without one."""
    import torch

    return argv if torch.accelerator.is_available() else [*argv, "--use_cpu", "true"]


def _print_help(everything: bool) -> None:
    inherited, models = read_options("trl", "GRPOConfig"), read_options("trl", "ModelConfig")
    options = read_options("trl_infopo.infopo_config", "InfoPOConfig") | models
    options = {name: replace(option, default=DEFAULTS.get(name, option.default)) for name, option in options.items()}
    method = [option for name, option in options.items() if name not in inherited | models]
    own = [
        replace(option, help=TrainArguments.__dataclass_fields__[name].metadata["help"])  # some hold lists of names
        for name, option in read_options("trl_infopo.scripts.train", "TrainArguments").items()
    ]
    if everything:
        groups = {
            "what is trained on": own,
            "InfoPO": method,
            "the model: TRL's `ModelConfig`": [options[name] for name in models],
            "the trainer: TRL's `GRPOConfig`": [options[name] for name in inherited],
        }
    else:
        groups = {
            "what is trained on": [option for option in own if option.name not in RARELY_SET],
            "InfoPO": [option for option in method if option.name not in RARELY_SET],
            "often set options of TRL": [options[name] for name in OFTEN_SET],
        }
    print_help(
        "trl-infopo train",
        "Train an agent with InfoPO. `--config recipe.yaml` reads options from a file; the command line has priority "
        "over it. On several processes: accelerate launch -m trl_infopo.scripts.train --config recipe.yaml.",
        groups,
        None if everything else "`--help-all` shows all options, including those of TRL, with their full help.",
        everything,
    )


if __name__ == "__main__":
    main()
