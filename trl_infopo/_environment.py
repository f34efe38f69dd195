# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The tools, the user and the end that an environment has. Before `reset`, only the property `tool_schemas` is run."""

import inspect
import sys
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

import numpy as np

from ._schemas import SchemaTool, read_schemas
from ._show import show
from .users import ScriptedUser, UserSimulator
from .users.base import encodable


# Those of the trainers' tables of completions
TABLE_COLUMNS = ("step", "prompt", "completion", "advantage", "information_gain", "gate", "turn_advantages")


def find_tools(environment: Any) -> dict[str, Callable]:
    """
    The tools of an environment by name: the methods that TRL finds, without those that we call ourselves, and the
    tools that come with a schema.

    Raises:
        `ValueError`: If its schemas are wrong, or one has the name of a method.
    """
    ours = ("reset", "get_reward", *hooks(environment))
    methods = [
        getattr(environment, name)
        for name, _ in inspect.getmembers(type(environment), inspect.isfunction)
        if name not in ours and not name.startswith("_")
    ]
    tools = {method.__name__: method for method in methods}
    for name, schema in find_schemas(environment).items():
        if name in tools:
            raise ValueError(
                f"`{type(environment).__name__}.tool_schemas` has a tool {name!r}, which is a method of the class as "
                "well. Rename one of them, or let the name of the method begin with `_`."
            )
        tools[name] = SchemaTool(schema, environment)
    return tools


def hooks(environment: Any) -> list[str]:
    """Methods of an environment that TRL would treat as tools, and that we call ourselves."""
    found = {"call_tool": has_schemas, "on_action": hears_actions, "on_end": hears_end}
    return [name for name, is_ours in found.items() if is_ours(environment)]


def hears_end(environment: Any) -> bool:
    """
    Whether an environment has an `on_end` that is told how its episode ended. Where nothing else asks for our
    conversation loop, an `on_end` that TRL can describe to an agent is a tool.
    """
    if not inspect.isfunction(getattr(type(environment), "on_end", None)):
        return False
    return asks_otherwise(environment) or not is_tool(environment.on_end)


def hears_actions(environment: Any) -> bool:
    """Whether an environment that asks for our loop has an `on_action` that is told what the agent does."""
    return inspect.isfunction(getattr(type(environment), "on_action", None)) and asks_otherwise(environment)


def is_tool(method: Callable) -> bool:
    """Whether TRL can describe a method to an agent: by its docstring and its type hints."""
    from transformers.utils import get_json_schema

    try:
        get_json_schema(method)
    except Exception:  # of several types, and says what is missing
        return False
    return True


def has_schemas(environment: Any) -> bool:
    """Whether an environment has tools that come with a schema: `tool_schemas` together with a `call_tool`."""
    missing = object()
    if not callable(inspect.getattr_static(environment, "call_tool", None)):
        return False
    if inspect.getattr_static(environment, "tool_schemas", missing) is not missing:
        return True
    return any("tool_schemas" in inspect.get_annotations(cls) for cls in type(environment).__mro__)


def find_schemas(environment: Any) -> dict[str, dict]:
    """
    The schemas of the tools that an environment's `call_tool` runs, by name; none where it has none.

    Raises:
        `ValueError`: If they are wrong, or cannot be read before `reset`.
    """
    if not has_schemas(environment):
        return {}
    name = type(environment).__name__
    try:
        schemas = environment.tool_schemas
    except Exception as error:
        raise ValueError(
            f"`{name}.tool_schemas` cannot be read once the environment is made: {error!r}. Prompts are written with "
            "it, so let it be there before `reset`."
        ) from error
    return read_schemas(name, schemas)


def find_user(environment: Any) -> UserSimulator | None:
    """The `user` of an environment after its `reset`, `None` where it has none that can `reply`."""
    if declares_user(environment):
        user = getattr(environment, "user", None)
    else:  # an undeclared property is the environment's own, and is not evaluated
        user = inspect.getattr_static(environment, "user", None)
    return user if _can_reply(user) else None


def converses(environment: Any) -> bool:
    """
    Whether an environment asks for our conversation loop. TRL's own loop plays all others, and environments written
    for it may keep a `done` or a `user` of their own.

    An environment asks for our loop by a `user` that can `reply`, annotated in the class (`user: UserSimulator`) or
    set in `__init__`, by a `done` in the class body (`done: bool = False`), by `tool_schemas` together with a
    `call_tool`, or by an `on_end` that TRL cannot use as a tool.
    """
    return asks_otherwise(environment) or hears_end(environment)


def asks_otherwise(environment: Any) -> bool:
    """Whether an environment asks for our conversation loop by more than an `on_end`."""
    return declares_user(environment) or declares_done(environment) or has_schemas(environment)


def declares_user(environment: Any) -> bool:
    """Whether an environment says before its `reset` that it has a `user` that can `reply`."""
    if _can_reply(inspect.getattr_static(environment, "user", None)):
        return True
    return any(_can_reply(kind) for kind in _kinds(environment, "user"))


def declares_done(environment: Any) -> bool:
    """Whether the class body of an environment says that the environment can be `done`."""
    if any(kind in (bool, np.bool_) for kind in _kinds(environment, "done")):
        return True
    return any(isinstance(vars(cls).get("done"), bool) for cls in type(environment).__mro__)


def is_done(environment: Any) -> bool:
    """
    Whether an environment has ended its episode. Its `done` is read only if it has a user or declares `done`; a method
    of that name is a tool.

    Raises:
        `ValueError`: If `done` is neither `True` nor `False`.
    """
    if not (declares_done(environment) or find_user(environment)):
        return False
    done = getattr(environment, "done", False)
    if inspect.ismethod(done):
        return False
    if not isinstance(done, bool | np.bool_):
        raise ValueError(
            f"`{type(environment).__name__}.done` is {show(done)}, set it to True or False: whether the "
            "episode is over."
        )
    return bool(done)


def is_thread_safe(environment: Any) -> bool:
    """Whether an environment says that it may be called in other threads, concurrently with others."""
    return inspect.getattr_static(environment, "thread_safe", False) is True


def find_metrics(environment: Any) -> dict[str, float]:
    """
    What an environment measured in its episode: its `metrics`, a dict of numbers by name, where it asks for our loop.
    Anything else of that name is the environment's own.

    Raises:
        `ValueError`: If a number is not finite, or a name is that of a column of the completions table.
    """
    metrics = inspect.getattr_static(environment, "metrics", None)
    if not isinstance(metrics, dict) or not all(map(_is_measure, metrics.items())) or not converses(environment):
        return {}
    for name, value in metrics.items():
        if name in TABLE_COLUMNS:
            raise ValueError(
                f"`{type(environment).__name__}.metrics` has {name!r}, which is a column of the completions table. "
                "Choose another name."
            )
        if not np.isfinite(float(value)):
            raise ValueError(
                f"`{type(environment).__name__}.metrics` has {show(value)} for {name!r}. Set finite numbers, and "
                "leave a metric out where it is not known."
            )
    return {name: float(value) for name, value in metrics.items()}


def check_users(environments: list[Any]) -> None:
    """
    Check the users of a batch of environments, after their `reset` and before anybody has spoken.

    Raises:
        `ValueError`: If a declared user is missing, cannot reply, or has already talked in another episode.
    """
    owners: dict[int, Any] = {}
    for environment in environments:
        name, user = type(environment).__name__, find_user(environment)
        if user is None and declares_user(environment) and not _may_be_none(environment):
            found = show(getattr(environment, "user", "not set"))
            raise ValueError(
                f"`{name}` declares a `user`, but after `reset` it is {found}, which cannot reply. Set `self.user` in "
                f"`{name}.reset` to an object with a method `reply(messages) -> str | None`, such as a ScriptedUser "
                "or a ChatUser."
            )
        is_shared = owners.setdefault(id(user), environment) is not environment
        if isinstance(user, ScriptedUser) and (is_shared or user.num_replies):
            raise ValueError(
                f"`{name}.user` is a ScriptedUser that has another conversation, and remembers what it said there. "
                f"Make a new one in `{name}.reset`."
            )


def check_placeholder(name: str, placeholder) -> None:
    """
    Raises:
        `ValueError`: If a placeholder is not text, is empty, or cannot be encoded.
    """
    if not isinstance(placeholder, str) or not placeholder.strip():
        raise ValueError(
            f"`{name}` is {show(placeholder)}, which leaves the counterfactual without feedback. Set it to a text "
            "that says nothing, such as 'No information found.'."
        )
    if encodable(placeholder) != placeholder:
        raise ValueError(
            f"`{name}` is {show(placeholder)}, with half a surrogate pair in it, which no tokenizer takes. Set it to "
            "a text that UTF-8 can encode."
        )


def _is_measure(item: tuple[Any, Any]) -> bool:
    name, value = item
    return isinstance(name, str) and bool(name) and isinstance(value, int | float | np.number | np.bool_)


def _can_reply(user: Any) -> bool:
    return callable(getattr(user, "reply", None))


def _kinds(environment: Any, name: str) -> list[Any]:
    """The types that the class of an environment gives an attribute; none where it gives none that can be resolved."""
    for cls in type(environment).__mro__:
        annotation = inspect.get_annotations(cls).get(name)
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, vars(sys.modules[cls.__module__]), dict(vars(cls)))
            except (NameError, AttributeError, TypeError, SyntaxError):  # imported for type checkers only
                return []
        if annotation is not None:
            return _alternatives(annotation)
    return []


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, without what qualifies them."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return [kind for member in get_args(annotation) for kind in _alternatives(member)]
    if origin in (Annotated, ClassVar):
        return _alternatives(get_args(annotation)[0])
    return [annotation]


def _may_be_none(environment: Any) -> bool:
    return type(None) in _kinds(environment, "user") and getattr(environment, "user", None) is None
