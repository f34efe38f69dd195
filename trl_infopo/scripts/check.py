# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The environment doctor: play an environment before training, and report its faults.

```bash
trl-infopo check my_module:MyEnv --dataset my_module:my_dataset
trl-infopo check my_module:MyEnv --dataset tasks.jsonl --policy Qwen/Qwen3-0.6B
trl-infopo check clarify
```
"""

import os
import sys
from dataclasses import dataclass, field

from .._environment import check_placeholder
from .._options import LONGEST_WAIT, check_fields, check_number
from ..environments import ENVIRONMENTS
from .arguments import parse_arguments
from .loading import NUM_ROWS, check_needed, configure, load_environment, load_rows, read_mapping
from .options import read_options
from .train import DEFAULTS


@dataclass
class CheckArguments:
    """
    Arguments of the environment doctor.

    Args:
        environment (`str`):
            Import path of an environment, `module:name`, or a key of `ENVIRONMENTS`.
        environment_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the environment, on the command line as JSON.
        dataset (`str`, *optional*):
            Import path of a dataset or of a function that makes one, a file of JSON lines, or a dataset of the Hub.
        dataset_kwargs (`dict[str, Any]`, *optional*):
            Arguments of a function that makes the tasks, on the command line as JSON.
        policy (`str`, *optional*):
            Path or Hub id of a model.
        num_episodes (`int`, *optional*, defaults to `16`):
            Number of episodes.
        max_turns (`int`, *optional*, defaults to `12`):
            Largest number of actions in an episode.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Number of tokens that a completion may have.
        masked_feedback (`str`, *optional*, defaults to `"No information found."`):
            Placeholder of environments without one of their own.
        feedback_timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that a tool or a reply of a user may take.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the player.

    Raises:
        `ValueError`: If an argument is of another type or out of range.
    """

    environment: str = field(
        metadata={
            "help": "Class or function that makes the environment, as my_module:MyEnv, or a built-in one: "
            f"{', '.join(ENVIRONMENTS)}."
        },
    )
    environment_kwargs: dict | str | None = field(
        default=None, metadata={"help": "Arguments of what makes the environment, as a JSON object."}
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "The tasks: my_module:rows (a dataset, a list, or a function that makes one), a file of JSON "
            "lines, each with `prompt` and what `reset` takes, or a dataset of the hub. Built-in environments have "
            "their own."
        },
    )
    dataset_kwargs: dict | str | None = field(
        default=None, metadata={"help": "Arguments of the function that `dataset` names, as a JSON object."}
    )
    policy: str | None = field(
        default=None,
        metadata={
            "help": "Path or hub id of a model that plays as well: its feedback strings are listed with their gains, "
            "the largest first. A policy will learn to farm an acknowledgement or an error at the top."
        },
    )
    num_episodes: int = field(default=16, metadata={"help": "Number of episodes."})
    max_turns: int = field(
        default=DEFAULTS["max_turns"], metadata={"help": "Largest number of actions in an episode."}
    )
    max_completion_length: int = field(
        default=DEFAULTS["max_completion_length"],
        metadata={"help": "Number of tokens that a completion may have in training."},
    )
    masked_feedback: str = field(
        default=read_options("trl_infopo.infopo_config", "InfoPOConfig")["masked_feedback"].default,
        metadata={"help": "Placeholder of the training, if the environment has none of its own."},
    )
    feedback_timeout: float = field(
        default=60.0,
        metadata={
            "help": "Seconds that a tool or a reply of a user may take; 0 for no limit, with which tools are not run "
            "on threads of their own."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the player."})

    def __post_init__(self):
        for name in ("environment_kwargs", "dataset_kwargs"):
            setattr(self, name, read_mapping(name, getattr(self, name), '{"domain": "retail"}'))
        check_needed("dataset_kwargs", self.dataset_kwargs, self.dataset is not None, "a `dataset`")
        check_fields(self, positive=["num_episodes", "max_turns", "max_completion_length"])
        check_number("feedback_timeout", self.feedback_timeout, at_least=0, at_most=LONGEST_WAIT)
        check_number("seed", self.seed, integer=True, at_least=0)
        check_placeholder("masked_feedback", self.masked_feedback)


def main(argv: list[str] | None = None) -> None:
    """
    Check an environment. The exit status is 1 if there is an error.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    parser = TrlParser(
        CheckArguments,
        prog="trl-infopo check",
        description="Play an environment before training, and report its faults: state that `reset` leaves, episodes "
        "without an end, results that are not text, feedback that has a gain and says nothing.",
        epilog="example: trl-infopo check my_module:MyEnv --dataset tasks.jsonl --policy Qwen/Qwen3-0.6B. The exit "
        "status is 1 if there is an error.",
    )
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and not argv[0].startswith("-"):
        argv = ["--environment", *argv]
    (args,) = parse_arguments(parser, argv)
    try:
        factory = configure(load_environment(args.environment), args.environment_kwargs)
        rows = None
        if args.dataset is not None:
            rows = load_rows(args.dataset, options=args.dataset_kwargs)
        elif args.environment in ENVIRONMENTS:
            rows = ENVIRONMENTS[args.environment].make_dataset("train", NUM_ROWS, args.seed)
    except (ValueError, ImportError) as error:
        parser.error(" ".join(str(error).split()))

    import transformers
    from rich.console import Console

    from ..doctor import check_environment
    from ..policies import load_policy

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        policy = None if args.policy is None else load_policy(args.policy)
    except (OSError, ValueError, ImportError) as error:
        parser.error(f"`policy` is {args.policy!r}, which cannot be loaded: {error}")
    try:
        checkup = check_environment(
            factory,
            rows,
            policy=policy,
            num_episodes=args.num_episodes,
            max_turns=args.max_turns,
            max_completion_length=args.max_completion_length,
            masked_feedback=args.masked_feedback,
            feedback_timeout=args.feedback_timeout or None,
            seed=args.seed,
        )
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    console = Console()
    console.print(checkup.report())
    if rows is None:
        console.print("\nThe only task was a greeting: `--dataset` names those of the training.", highlight=False)
    if not checkup.is_healthy:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
