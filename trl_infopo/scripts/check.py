# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
The environment doctor: play an environment before any training, and find what a training would stumble over.

```bash
trl-infopo check my_module:MyEnv --dataset my_module:my_dataset
trl-infopo check my_module:MyEnv --dataset tasks.jsonl --policy Qwen/Qwen3-0.6B
trl-infopo check clarify
```
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._options import LONGEST_WAIT, check_fields, check_number, did_you_mean
from ..environments import ENVIRONMENTS
from ..infopo_config import InfoPOConfig, check_placeholder
from .arguments import parse_arguments


NUM_ROWS = 100  # of a built-in dataset, of which the episodes' rows are drawn


@dataclass
class CheckArguments:
    """
    Arguments of the environment doctor.

    Args:
        environment (`str`):
            Import path of an environment, `module:name`, or a key of `ENVIRONMENTS`.
        dataset (`str`, *optional*):
            Import path of a dataset or of a function that makes one, or a file of JSON lines.
        policy (`str`, *optional*):
            Path or hub id of a model.
        num_episodes (`int`, *optional*, defaults to `16`):
            Number of episodes.
        max_turns (`int`, *optional*, defaults to `32`):
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
            "help": "What makes the environment, by import path: my_module:MyEnv. Or a built-in one: "
            f"{', '.join(ENVIRONMENTS)}."
        },
    )
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "The tasks: my_module:rows (a dataset, a list, or a function that makes one), or a file of JSON "
            "lines, each with `prompt` and what `reset` takes. Built-in environments have theirs."
        },
    )
    policy: str | None = field(
        default=None,
        metadata={
            "help": "Path or hub id of a model that plays as well: what its feedback strings earn is listed, the "
            "largest gain first. An acknowledgement or an error at the top will be farmed."
        },
    )
    num_episodes: int = field(default=16, metadata={"help": "Number of episodes."})
    max_turns: int = field(default=32, metadata={"help": "Largest number of actions in an episode."})
    max_completion_length: int = field(
        default=2048, metadata={"help": "Number of tokens that a completion may have in the training."}
    )
    masked_feedback: str = field(
        default=InfoPOConfig.masked_feedback,
        metadata={"help": "Placeholder of the training, where the environment has none of its own."},
    )
    feedback_timeout: float = field(
        default=60.0, metadata={"help": "Seconds that a tool or a reply of a user may take."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the player."})

    def __post_init__(self):
        check_fields(self, positive=["num_episodes", "max_turns", "max_completion_length"])
        check_number("feedback_timeout", self.feedback_timeout, above=0, at_most=LONGEST_WAIT)
        check_number("seed", self.seed, integer=True, at_least=0)
        check_placeholder("masked_feedback", self.masked_feedback)


def load_object(name: str, path: str) -> Any:
    """
    Import what an option names.

    Args:
        name (`str`):
            Name of the option.
        path (`str`):
            Import path, `module:name`. The working directory is searched as well.

    Returns:
        `Any`: The object.

    Raises:
        `ValueError`: If there is none.
    """
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # it runs the module
        raise ValueError(
            f"`{name}` is {path!r}, whose module cannot be imported: {type(error).__name__}: {error}. Write "
            "module:name, and start where the module is, or install it."
        ) from error
    if not attribute or not hasattr(module, attribute):
        near = did_you_mean(attribute, list(vars(module)))
        raise ValueError(f"`{name}` is {path!r}, but {module_name!r} has no {attribute!r}.{near}")
    return getattr(module, attribute)


def load_environment(path: str) -> Callable[[], Any]:
    """
    Find what makes an environment.

    Args:
        path (`str`):
            Import path, or a key of `ENVIRONMENTS`.

    Returns:
        `Callable[[], Any]`: The class or function.

    Raises:
        `ValueError`: If there is none.
    """
    if path in ENVIRONMENTS:
        return ENVIRONMENTS[path].make_environment
    if ":" not in path:
        near = did_you_mean(path, list(ENVIRONMENTS))
        raise ValueError(
            f"`environment` is {path!r}, write an import path, my_module:MyEnv, or one of {list(ENVIRONMENTS)}.{near}"
        )
    return load_object("environment", path)


def load_rows(path: str | None, environment: str, seed: int) -> Any:
    """
    Find the tasks.

    Args:
        path (`str`, *optional*):
            Import path, or a file of JSON lines. If `None`, the built-in dataset of a built-in environment.
        environment (`str`):
            Import path of the environment, or a key of `ENVIRONMENTS`.
        seed (`int`):
            Seed of a built-in dataset.

    Returns:
        [`~datasets.Dataset`] or `list[dict]` or `None`: The rows; `None` where nothing says what they are.

    Raises:
        `ValueError`: If there are none, or a line is not JSON.
    """
    if path is None:
        return ENVIRONMENTS[environment].make_dataset("train", NUM_ROWS, seed) if environment in ENVIRONMENTS else None
    if ":" in path and not os.path.exists(path):
        rows = load_object("dataset", path)
        return rows() if callable(rows) else rows
    rows = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`dataset` is {path!r}, which cannot be read: {error}. Write an import path, my_module:rows, or a file "
            "of JSON lines."
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"`dataset` is {path!r}, whose line {number} is not JSON: {error}.") from None
    return rows


def main(argv: list[str] | None = None) -> None:
    """
    Check an environment. The exit status is 1 where there is an error.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    parser = TrlParser(
        CheckArguments,
        prog="trl-infopo check",
        description="Play an environment before any training, and find what a training would stumble over: state "
        "that `reset` leaves, episodes without an end, results that are no text, feedback that pays for nothing.",
        epilog="example: trl-infopo check my_module:MyEnv --dataset tasks.jsonl --policy Qwen/Qwen3-0.6B. The exit "
        "status is 1 where there is an error.",
    )
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and not argv[0].startswith("-"):
        argv = ["--environment", *argv]
    (args,) = parse_arguments(parser, argv)
    try:
        factory = load_environment(args.environment)
        rows = load_rows(args.dataset, args.environment, args.seed)
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
            feedback_timeout=args.feedback_timeout,
            seed=args.seed,
        )
    except ValueError as error:
        parser.error(" ".join(str(error).split()))
    Console().print(checkup.report())
    if not checkup.is_healthy:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
