# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluate policies with users that they were trained with, and with others: the user shift.

```bash
trl-infopo eval --policies plain=infopo-quickstart --environment booking --users plain terse chatty forgetful evasive
trl-infopo eval --policies Qwen/Qwen3-0.6B --environment clarify --baseline none ask react
trl-infopo eval --policies my-agent --environment my_module:MyEnv --dataset tasks.jsonl
trl-infopo eval --policies Qwen/Qwen3-8B --base_url http://localhost:8000/v1 --environment clarify --users chat:gpt-4o
```
"""

import gc
import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from .._options import LONGEST_WAIT, check_fields, check_number, check_output_dir, check_temperature
from ..environments import ENVIRONMENTS, EnvironmentFamily
from ..users import PERSONAS
from .arguments import parse_arguments
from .loading import (
    check_factory,
    check_needed,
    configure,
    find_user_argument,
    is_chat_user,
    is_from_elsewhere,
    is_import_path,
    load_environment,
    load_rows,
    load_user,
    read_mapping,
)


ASK_PROMPT = """\
Ask before you act. The user's request leaves out things that you need to know. Find out what is missing before you \
do anything that cannot be undone: ask the user short questions, with a tool if there is one for it, else in a \
message. Do not ask for what you know already, and do not guess. Act as soon as nothing is missing."""
REACT_PROMPT = """\
Work in steps of thought and action. Before every action, think between <think> and </think>, where the user does not \
read: what do you know, what is missing, and which action brings it? After </think> act: call one tool, or write one \
message to the user. What comes back is an observation for your next thought. When nothing is missing, do what the \
user wants."""
MAX_TASKS = 1_000_000  # all are drawn before the first is played
RESERVED = ("user_shift.json", ".lock")  # files beside the directories of the policies
TASK_SETTINGS = (  # of an evaluation, besides those of its users: rows of one matrix have the same
    *("environment", "dataset", "num_tasks", "temperature", "max_turns", "max_completion_length"),
    *("feedback_timeout", "success_threshold", "seed"),
)
BASELINES = {"none": None, "ask": ASK_PROMPT, "react": REACT_PROMPT}


@dataclass
class EvalArguments:
    """
    Arguments of the evaluation.

    Args:
        policies (`list[str]`):
            Policies as `name=path`, or as a path alone.
        environment (`str`, *optional*, defaults to `"booking"`):
            Environment: a key of `ENVIRONMENTS`, or an import path.
        environment_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the environment, on the command line as JSON.
        users (`list[str]`, *optional*, defaults to `["plain"]`):
            Users: names of personas, `chat:<model>`, or import paths.
        dataset (`str`, *optional*):
            Tasks: an import path, a file of JSON, or a dataset of the Hub.
        dataset_kwargs (`dict[str, Any]`, *optional*):
            Arguments of a function that makes the tasks, on the command line as JSON.
        split (`str`, *optional*, defaults to `"test"`):
            Split of the environment's tasks, or of a dataset of the Hub.
        num_tasks (`int`, *optional*, defaults to `100`):
            Number of tasks; of a dataset, the largest number.
        num_runs (`int`, *optional*, defaults to `1`):
            Number of episodes for each task and user.
        temperature (`float`, *optional*, defaults to `0.0`):
            Sampling temperature of the policies.
        max_turns (`int`, *optional*, defaults to `16`):
            Largest number of actions in an episode.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Largest number of tokens of a conversation after its prompt.
        baseline (`list[str]`, *optional*, defaults to `["none"]`):
            System prompts, keys of `BASELINES`.
        chat_template_kwargs (`dict[str, Any]`, *optional*):
            Arguments of the chat template, on the command line as JSON.
        base_url (`str`, *optional*):
            OpenAI-compatible endpoint of the policies.
        user_base_url (`str`, *optional*):
            OpenAI-compatible endpoint of the users `chat:<model>`.
        batch_size (`int`, *optional*, defaults to `32`):
            Number of episodes that are played at the same time.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool, a user, an `on_action`, an `on_end` or a `get_reward` may take.
        output_dir (`str`, *optional*, defaults to `"infopo-eval"`):
            Directory for the results.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the tasks, the sampling and the bootstrap.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or one of the `..._kwargs` is not a JSON
            object.
    """

    policies: list[str] = field(
        metadata={
            "help": "Policies, each a path or hub id, or with a name of its own: name=path. One that has a user's "
            "name counts as trained with that user. With `--base_url`, names of models at the endpoint."
        },
    )
    environment: str = field(
        default="booking",
        metadata={
            "help": f"Environment that the policies act in: my_module:MyEnv, or one of {', '.join(ENVIRONMENTS)}."
        },
    )
    environment_kwargs: dict | str | None = field(
        default=None,
        metadata={"help": "Arguments of what makes the environment, as a JSON object."},
    )
    users: list[str] = field(
        default_factory=lambda: ["plain"],
        metadata={
            "help": f"Users to test with. Scripted ones: {', '.join(PERSONAS)}. `chat:MODEL` is a user played by a "
            "model behind an endpoint, my_module:make_user one of your own. Environments that take neither "
            "`make_user` nor `persona` ignore this option."
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
        metadata={"help": "Arguments of the function that `dataset` names, as a JSON object."},
    )
    split: str = field(
        default="test",
        metadata={"help": "Split of the environment's tasks. Test policies that were trained on 'train' on 'test'."},
    )
    num_tasks: int = field(
        default=100,
        metadata={
            "help": "Number of tasks, at most. A success rate near 0.5 has an interval of about ± 1/sqrt(num_tasks)."
        },
    )
    num_runs: int = field(
        default=1,
        metadata={
            "help": "Number of episodes for each task and user. More than 1 makes sense if something is sampled."
        },
    )
    temperature: float = field(
        default=0.0,
        metadata={"help": "Sampling temperature of the policies. 0 decodes greedily, training samples at 1."},
    )
    max_turns: int = field(
        default=16,
        metadata={"help": "Largest number of actions of a policy in an episode."},
    )
    max_completion_length: int = field(
        default=2048,
        metadata={
            "help": "Largest number of tokens of a conversation after its prompt, feedback included, as in training. "
            "With `--base_url`, of one message."
        },
    )
    baseline: list[str] = field(
        default_factory=lambda: ["none"],
        metadata={
            "help": "Prompting baselines: each policy is evaluated once for each, with nothing added ('none'), with a "
            "system prompt to ask before it acts ('ask'), and with one to think before each action ('react').",
            "choices": list(BASELINES),
        },
    )
    chat_template_kwargs: dict | str | None = field(
        default=None,
        metadata={
            "help": "Arguments of the chat template as a JSON object, the same as in training: "
            "'{\"enable_thinking\": false}'. With `--base_url`, they are sent to the endpoint."
        },
    )
    base_url: str | None = field(
        default=None,
        metadata={
            "help": "OpenAI-compatible endpoint of the policies, such as http://localhost:8000/v1. The key comes from "
            "the environment variable OPENAI_API_KEY."
        },
    )
    user_base_url: str | None = field(
        default=None,
        metadata={
            "help": "OpenAI-compatible endpoint of the users `chat:MODEL`. If not set, the environment variable "
            "OPENAI_BASE_URL, or else OpenAI's."
        },
    )
    batch_size: int = field(
        default=32,
        metadata={
            "help": "Number of episodes that are played at the same time. In float32, it does not change what is "
            "sampled; in bfloat16, it may if two tokens are almost equally likely."
        },
    )
    feedback_timeout: float | None = field(
        default=None,
        metadata={
            "help": "Seconds that a tool, a user or another call of an environment may take. A tool that takes longer "
            "fails, and the agent is told so; anything else that takes longer ends the evaluation with an error. If "
            "not set, there is no limit."
        },
    )
    output_dir: str = field(
        default="infopo-eval",
        metadata={
            "help": "Directory for the results: for each policy its episodes and a summary, and `user_shift.json`. An "
            "interrupted evaluation continues from there when it is started again."
        },
    )
    seed: int = field(
        default=0,
        metadata={"help": "Seed of the tasks, the sampling and the bootstrap."},
    )

    def __post_init__(self):
        self.chat_template_kwargs = read_mapping(
            "chat_template_kwargs", self.chat_template_kwargs, '{"enable_thinking": false}'
        )
        for name in ("environment_kwargs", "dataset_kwargs"):
            setattr(self, name, read_mapping(name, getattr(self, name), '{"domain": "retail"}'))
        check_fields(self, positive=["num_runs", "max_turns", "max_completion_length", "batch_size"])
        if self.dataset is None and self.environment not in ENVIRONMENTS and is_import_path(self.environment):
            raise ValueError(
                f"`dataset` is missing: {self.environment} is not built in and has no tasks of its own. Write "
                "my_module:rows, a file of JSON lines or a dataset of the hub."
            )
        talks_to_a_model = any(map(is_chat_user, self.users))
        check_needed("user_base_url", self.user_base_url, talks_to_a_model, "chat:MODEL among the `users`")
        check_needed("dataset_kwargs", self.dataset_kwargs, self.dataset is not None, "a `dataset`")
        check_number("num_tasks", self.num_tasks, integer=True, at_least=1, at_most=MAX_TASKS)
        check_number("seed", self.seed, integer=True, at_least=0)
        check_temperature("temperature", self.temperature)
        if self.feedback_timeout is not None:
            check_number("feedback_timeout", self.feedback_timeout, above=0, at_most=LONGEST_WAIT)


def make_factories(
    environment: EnvironmentFamily | Callable[..., Any], users: list[str], user_base_url: str | None = None
) -> dict[str, Callable[[], Any]]:
    """
    Make a factory of environments for each user.

    Args:
        environment ([`~trl_infopo.environments.EnvironmentFamily`] or `Callable`):
            A built-in environment, or a class or function that makes one of your own.
        users (`list[str]`):
            Names of personas, `chat:<model>`, or import paths.
        user_base_url (`str`, *optional*):
            Endpoint of the users `chat:<model>`.

    Returns:
        `dict[str, Callable]`: Factories by the users' names, or one by the environment's if it has no users to choose.

    Raises:
        `ImportError`: If a `chat:<model>` is asked for and `openai` is not installed.
        `ValueError`: If there is no such user, or no key or no proper address for a `chat:<model>`.
    """
    factory = environment.make_environment if isinstance(environment, EnvironmentFamily) else environment
    if find_user_argument(factory) is None:
        return {getattr(factory, "__name__", type(factory).__name__): factory}
    return {user: load_user("users", user, factory, user_base_url) for user in users}


def write_matrix(
    path: Path, environment: str, split: str, settings: dict[str, Any], summaries: dict[str, dict]
) -> bool:
    """
    Write the statistics of policies into the file of the matrix, which keeps those of other policies.

    Args:
        path (`Path`):
            The file. If there is one about other tasks or users, from other settings or of another form, it is
            replaced.
        environment (`str`):
            Name of the environment.
        split (`str`):
            Split of its tasks.
        settings (`dict[str, Any]`):
            Settings of the evaluation, of which those of a policy do not count.
        summaries (`dict[str, dict]`):
            Statistics by policy.

    Returns:
        `bool`: Whether it has replaced another one.
    """
    from ..evaluation import write_whole

    users = settings["users"]
    task = {"environment": environment, "split": split, "settings": {name: settings[name] for name in TASK_SETTINGS}}
    before, is_there = _read_matrix(path), path.exists()
    goes_on = before is not None and all(before[name] == value for name, value in task.items())
    goes_on = goes_on and all(before["users"][user] == users[user] for user in users.keys() & before["users"])
    if goes_on:
        users, summaries = before["users"] | users, before["policies"] | summaries
    write_whole(path, json.dumps(task | {"users": users, "policies": summaries}, indent=2) + "\n")
    return is_there and not goes_on


def _read_matrix(path: Path) -> dict | None:
    """The file of the matrix, `None` where there is none or it is something else."""
    try:
        matrix = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    is_one = isinstance(matrix, dict) and {"environment", "split", "settings", "users", "policies"} <= matrix.keys()
    return matrix if is_one else None


def name_policies(policies: list[str]) -> dict[str, str]:
    """
    Name the policies.

    Args:
        policies (`list[str]`):
            Policies as `name=path`, or as a path, whose last part is then the name.

    Returns:
        `dict[str, str]`: Paths by name.

    Raises:
        `ValueError`: If two policies have the same name, or a name cannot be that of a directory.
    """
    named = {}
    for policy in policies:
        name, separator, path = policy.partition("=")
        if not separator or os.path.exists(policy):
            name, path = Path(os.path.abspath(policy)).name, policy
        if name in named:
            raise ValueError(f"`policies` has two policies of the name {name!r}. Name them apart: name=path.")
        if not path or not name or Path(name).name != name or name == "..":
            raise ValueError(f"`policies` has {policy!r}. Write a path, or name=path with a name without slashes.")
        if name in RESERVED:
            raise ValueError(f"`policies` has the name {name!r}, which a file of the results has. Take another name.")
        named[name] = path
    return named


def name_rows(policies: Iterable[str], baselines: Iterable[str]) -> dict[str, tuple[str, str]]:
    """
    Name the rows of the evaluation, policies with baselines. The names are also those of directories.

    Args:
        policies (`Iterable[str]`):
            Names of policies.
        baselines (`Iterable[str]`):
            Keys of `BASELINES`.

    Returns:
        `dict[str, tuple[str, str]]`: Policies and baselines, by name.

    Raises:
        `ValueError`: If two names are the same, or differ only in case, which some file systems ignore.
    """
    rows, seen = {}, {}
    for name in policies:
        for baseline in dict.fromkeys(baselines):
            row = name if baseline == "none" else f"{name}+{baseline}"
            if row.casefold() in seen:
                raise ValueError(
                    f"`policies` leads to the names {seen[row.casefold()]!r} and {row!r}, which would share a "
                    "directory where case makes no difference. Name them apart: name=path."
                )
            seen[row.casefold()] = row
            rows[row] = (name, baseline)
    return rows


def main(argv: list[str] | None = None) -> None:
    """
    Evaluate policies.

    Args:
        argv (`list[str]`, *optional*):
            Command-line arguments. If `None`, those of the process.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from trl import TrlParser

    parser = TrlParser(
        EvalArguments,
        prog="trl-infopo eval",
        description="Evaluate policies with users that they were trained with, and with others: success with "
        "confidence intervals, reward, turns, questions and stop reasons per user, and the matrix of the user shift.",
        epilog="example: trl-infopo eval --policies plain=infopo-quickstart --environment booking --users plain terse "
        "chatty forgetful evasive. `--config eval.yaml` reads options from a file.",
    )
    (args,) = parse_arguments(parser, argv)
    try:
        policies = name_policies(args.policies)
        rows = name_rows(policies, args.baseline)
        for row in rows:
            check_output_dir("output_dir", Path(args.output_dir, row))
        environment = configure(load_environment(args.environment), args.environment_kwargs)
        users = make_factories(environment, args.users, args.user_base_url)
        for factory in users.values():
            check_factory(args.environment, factory)
        if args.dataset is None:
            dataset = ENVIRONMENTS[args.environment].make_dataset(args.split, args.num_tasks, args.seed)
        else:
            tasks = load_rows(args.dataset, split=args.split, options=args.dataset_kwargs)
            dataset = list(islice(tasks, args.num_tasks))
    except (ValueError, ImportError) as error:
        parser.error(str(error))

    import transformers
    from rich.console import Console

    from ..evaluation import evaluate, lock_directory, user_shift_table
    from ..evaluation.episodes import check_columns, check_reward, check_rows
    from ..policies import ChatPolicy, PolicyError, load_policy
    from ..users import UserSimulatorError

    def load(make: Callable[[str], Any], path: str) -> Any:
        try:
            return make(path)
        except (OSError, ValueError, ImportError) as error:
            parser.error(f"`policies` has {path!r}, which cannot be loaded: {error}")

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    console = Console()
    if args.users != ["plain"] and not users.keys() & args.users:
        console.print(
            f"{args.environment} takes neither `make_user` nor `persona`: `--users` changes nothing.", markup=False
        )
    try:
        environment = next(iter(users.values()))()
        check_reward(environment)
        check_columns(check_rows(dataset), environment)
    except (ValueError, RuntimeError) as error:
        if is_from_elsewhere(error):
            raise
        parser.error(str(error))
    output_dir = Path(args.output_dir)
    make_policy = load_policy if args.base_url is None else partial(ChatPolicy, base_url=args.base_url)
    # A typo in the last path shows now, not after the evaluation of those before
    check = transformers.AutoTokenizer.from_pretrained if args.base_url is None else make_policy
    for path in policies.values():
        load(check, path)

    def play(*arguments, **options) -> Any:
        try:
            return evaluate(*arguments, **options)
        except ValueError as error:  # a directory of other settings, a template that cannot call tools
            if is_from_elsewhere(error):
                raise
            parser.error(str(error))
        except (PolicyError, UserSimulatorError) as error:  # an endpoint fails
            if is_from_elsewhere(error):
                raise
            raise SystemExit(" ".join([f"{parser.prog}: {error}", *getattr(error, "__notes__", [])])) from error

    with ExitStack() as stack:
        try:
            stack.enter_context(lock_directory(output_dir))
        except ValueError as error:
            parser.error(str(error))
        evaluations, policy, policy_name = {}, None, None
        for row, (name, baseline) in rows.items():
            if name != policy_name:
                # Never two models at once. Reference cycles hold the memory of the last one until it is collected
                policy, policy_name = None, name
                gc.collect()
                policy = load(make_policy, policies[name])
            tasks = f"of the split {args.split!r}" if args.dataset is None else f"of {args.dataset}"
            title = f"\n{row} in {args.environment}, {len(dataset)} tasks {tasks}"
            console.print(title, markup=False)
            evaluations[row] = play(
                policy,
                users,
                dataset,
                num_runs=args.num_runs,
                temperature=args.temperature,
                max_turns=args.max_turns,
                max_completion_length=args.max_completion_length,
                system_prompt=BASELINES[baseline],
                chat_template_kwargs=args.chat_template_kwargs,
                seed=args.seed,
                batch_size=args.batch_size,
                feedback_timeout=args.feedback_timeout,
                output_dir=output_dir / row,
                console=console,
            )
            console.print(evaluations[row].table())
        summaries = {row: evaluation.summary() for row, evaluation in evaluations.items()}
        settings = next(iter(evaluations.values())).settings
        if write_matrix(output_dir / "user_shift.json", args.environment, args.split, settings, summaries):
            console.print(
                "\nuser_shift.json was about other tasks, users or settings, or not whole, and is replaced. What it "
                "was made of is still in the directories of its policies.",
                markup=False,
            )

    console.print()
    console.print(user_shift_table(evaluations))
    console.print(f"\nresults: {output_dir}", markup=False)


if __name__ == "__main__":
    main()
