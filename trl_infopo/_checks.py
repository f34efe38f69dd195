# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Checks before training starts, so that it does not fail in the middle."""

import inspect
import random
import warnings
from collections.abc import Callable, Collection
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ._environment import check_placeholder, converses, find_schemas, find_tools, has_schemas, hears_actions, hears_end
from ._options import did_you_mean
from ._show import show
from .infopo_config import InfoPOConfig


class CheckedFactory:
    """
    An environment factory that checks what it makes. The first environment is made immediately, with random numbers of
    its own, and returned first.

    Attributes:
        converses (`bool`):
            Whether the environments need our conversation loop.
        has_reward (`bool`):
            Whether TRL finds a `get_reward`.
        tools (`dict[str, Callable]`):
            The tools of the first environment, by name.
    """

    def __init__(self, factory: Callable[[], Any], seed: int = 42):
        if not callable(factory):
            raise ValueError(
                f"`environment_factory` is a {type(factory).__name__} object, but every rollout needs its own. Pass "
                f"what makes them: the class `{type(factory).__name__}`, or a function without arguments."
            )
        self.factory = factory
        with seeded(seed):
            self.first = self._make()
        self.kind = type(self.first)
        self.reset = inspect.signature(self.first.reset)
        self.converses = converses(self.first)
        self.has_reward = inspect.isfunction(getattr(self.kind, "get_reward", None))
        self.tools = find_tools(self.first)
        self._warn_of_undeclared()

    def __call__(self) -> Any:
        environment, self.first = self.first, None
        if environment is None:
            environment = self._make()
            if find_schemas(environment) != {n: tool for n, tool in self.tools.items() if isinstance(tool, dict)}:
                raise ValueError(
                    f"Two environments of `{self.kind.__name__}` have different `tool_schemas`, but prompts show the "
                    "first's. Give all the same, or pass several factories by name as `environment_factory`."
                )
        return environment

    def _make(self) -> Any:
        environment = self.factory()
        if not callable(getattr(type(environment), "reset", None)):
            raise ValueError(
                f"`environment_factory` made a {type(environment).__name__}, which has no `reset`. Give it a method "
                "`reset(self, **row)` that starts an episode from a row of the dataset."
            )
        own = inspect.getattr_static(environment, "masked_feedback", InfoPOConfig.masked_feedback)
        if not isinstance(own, property):
            check_placeholder(f"{type(environment).__name__}.masked_feedback", own)
        if has_schemas(environment):
            check_call(environment, "call_tool", "name", "arguments")
        if hears_actions(environment):
            check_call(environment, "on_action", "message")
        if hears_end(environment):
            check_call(environment, "on_end", "reason")
        return environment

    def _warn_of_undeclared(self) -> None:
        """Warn of attributes that TRL's loop, which plays this environment, does not read."""
        done = inspect.getattr_static(self.first, "done", None)
        if not self.converses and done is not None and not callable(done):
            warnings.warn(
                f"`{self.kind.__name__}` has a `done` that its class body does not declare: it is the environment's "
                "own, and does not end an episode. If it should, write `done: bool = False` in the class body.",
                stacklevel=1,
            )

        if "on_end" in self.tools:
            warnings.warn(
                f"`{self.kind.__name__}.on_end` is a tool of the agent, as it has the docstring of one. If it should "
                "be told how an episode ended, write `done: bool = False` in the class body.",
                stacklevel=1,
            )
        schemas = inspect.getattr_static(self.first, "tool_schemas", None)
        if isinstance(schemas, list | tuple) and not has_schemas(self.first):
            warnings.warn(
                f"`{self.kind.__name__}` has `tool_schemas` and no `call_tool`: they are the environment's own, and "
                "the agent does not see them. If it should, write a method `call_tool(self, name, arguments)`.",
                stacklevel=1,
            )

    def check_columns(self, name: str, columns: Collection[str]) -> None:
        """
        Raises:
            `ValueError`: If `reset` needs a column that the dataset `name` does not have.
        """
        parameters = self.reset.parameters.values()
        needed = [
            p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        for missing in [column for column in needed if column not in columns]:
            raise ValueError(
                f"`{self.kind.__name__}.reset` needs {missing!r}, but `{name}` has only the columns "
                f"{sorted(columns)}.{did_you_mean(missing, list(columns))} Add the column, or give the argument a "
                "default."
            )
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        unknown = [] if takes_all else sorted(set(columns) - set(self.reset.parameters))
        if unknown:
            raise ValueError(
                f"`{name}` has the column {unknown[0]!r}, which `{self.kind.__name__}.reset` does not take. Every "
                "column is passed to it: add `**row` to its arguments, or remove the column."
            )


@contextmanager
def seeded(seed: int):
    """Random numbers of this seed, while those of the caller wait: what is drawn next is the same as without."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


def check_call(environment: Any, method: str, *arguments: str) -> None:
    """
    Raises:
        `ValueError`: If a method of an environment cannot be called with these arguments, in this order.
    """
    try:
        inspect.signature(getattr(environment, method)).bind(*arguments)
    except TypeError as error:
        name = type(environment).__name__
        raise ValueError(
            f"`{name}.{method}` cannot be called with ({', '.join(arguments)}): {error}. Write it as "
            f"`{method}(self, {', '.join(arguments)})`."
        ) from None


def check_names_of_tools(tools: list[Callable], factories: Collection[CheckedFactory]) -> None:
    """
    Raises:
        `ValueError`: If a tool that comes with a schema has the name of one of `tools`.
    """
    for factory in factories:
        for tool in tools:
            if isinstance(factory.tools.get(tool.__name__), dict):
                raise ValueError(
                    f"`{factory.kind.__name__}.tool_schemas` has a tool {tool.__name__!r}, as `tools` has. Rename one "
                    "of them."
                )


def check_dataset(name: str, dataset: Any, factories: dict[str | None, CheckedFactory], has_turns: bool) -> None:
    """
    Check that the rows of a dataset fit the environments and their conversations.

    Args:
        name (`str`):
            Name of the argument.
        dataset ([`~datasets.Dataset`] or [`~datasets.IterableDataset`] or `dict`, *optional*):
            The dataset, or several by name.
        factories (`dict[str, CheckedFactory]`):
            The factories of the environments by the name that a column `environment` selects them by, which is `None`
            for a single one; empty where there are none.
        has_turns (`bool`):
            Whether actions can get feedback, so that prompts must be conversational.

    Raises:
        `ValueError`: If a column or a conversational prompt is missing.
    """
    if isinstance(dataset, dict):
        for key, part in dataset.items():
            check_dataset(f"{name}[{key!r}]", part, factories, has_turns)
        return
    columns = find_columns(dataset)
    if columns is None:
        return
    used, is_multi = set(factories), None not in factories
    if is_multi and "environment" in columns:
        # A stream, or what a transform makes, would have to be read
        used = set(dataset["environment"]) if isinstance(dataset, Dataset) and not _is_transformed(dataset) else set()
        columns = [column for column in columns if column != "environment"]
    for environment, factory in factories.items():
        if environment in used:
            factory.check_columns(name, columns)
    if has_turns and "prompt" in columns:
        prompt = next((row["prompt"] for row in dataset.take(1)), None)
        if isinstance(prompt, str):
            raise ValueError(
                f"`{name}` has plain text as `prompt` ({prompt[:40]!r}), but turns need messages. Write it as "
                '`[{"role": "user", "content": ...}]`.'
            )


def find_columns(dataset: Any) -> list[str] | None:
    """The columns of a dataset's rows, `None` where there is none or a stream does not know them."""
    if dataset is None or not (columns := dataset.column_names):
        return None
    if isinstance(dataset, Dataset) and _is_transformed(dataset):
        return list(dataset[0]) if len(dataset) else None
    return columns


def _is_transformed(dataset: Dataset) -> bool:
    """Whether a function makes the rows when they are read."""
    return dataset.format["type"] == "custom"


def placeholder_of(environment: Any, default: str) -> Any:
    """The text that masks an environment's feedback: its own `masked_feedback`, or the default."""
    missing = object()
    if inspect.getattr_static(environment, "masked_feedback", missing) is missing:
        return default
    return environment.masked_feedback


def check_options(
    args: InfoPOConfig,
    processing_class=None,
    tools=None,
    environment_factory=None,
    rollout_func=None,
    train_dataset=None,
    **kwargs,
) -> None:
    """
    Raises:
        `ValueError`: If an option cannot work with rollouts of several turns.
    """
    last_action = args.max_turns == 1 or (args.max_turns is None and args.max_tool_calling_iterations == 0)
    if last_action and rollout_func is None and (args.info_gain_coef != 0 or args.log_information_gain):
        name = "max_tool_calling_iterations" if args.max_turns is None else "max_turns"
        warnings.warn(
            f"`{name}` is {getattr(args, name)}, so that no action follows feedback and no turn has a gain. Raise "
            "it to train with InfoPO.",
            stacklevel=1,
        )
    if rollout_func is not None and args.max_turns is not None:
        raise ValueError(
            f"`max_turns` is {show(args.max_turns)}, but `rollout_func` runs its own loop. Limit the turns there, and "
            "leave `max_turns` at None."
        )
    if (tools or environment_factory) and processing_class is not None and processing_class.chat_template is None:
        raise ValueError(
            f"`processing_class` ({type(processing_class).__name__}) has no chat template, but tools speak through "
            "one. Set `processing_class.chat_template`, or take the tokenizer of a chat model."
        )
    conflicts = {
        "loss_type": (args.loss_type == "vespo", "'dapo'"),
        "importance_sampling_level": (args.importance_sampling_level == "sequence", "'token'"),
        "off_policy_mask_threshold": (args.off_policy_mask_threshold is not None, "None"),
    }
    for name, (conflict, way_out) in conflicts.items():
        if conflict and args.info_gain_coef != 0:
            raise ValueError(
                f"`{name}` is {getattr(args, name)!r}, which takes one advantage per rollout, but InfoPO gives each "
                f"turn its own. Set `{name}={way_out}`, or `info_gain_coef=0.0`."
            )
    images = {"image", "images"}.intersection(find_columns(train_dataset) or [])
    if images and (args.info_gain_coef != 0 or args.log_information_gain):
        raise ValueError(
            f"`train_dataset` has the column {images.pop()!r} and `info_gain_coef` is {show(args.info_gain_coef)}, "
            "but InfoPO cannot score rollouts with images. Remove the column, or set `info_gain_coef=0.0` and "
            "`log_information_gain=False`."
        )
