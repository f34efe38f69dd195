# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Loads what command lines name: environments, users, reward functions, tools and datasets."""

import importlib
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._options import did_you_mean
from .._show import show
from ..environments import ENVIRONMENTS
from ..users import PERSONAS, ChatUser, Scenario, ScriptedUser


if TYPE_CHECKING:
    from datasets import Dataset

CHAT_USER = "chat:"  # and the name of a model
NUM_ROWS = 100  # of a built-in dataset, if no number is given
LINES, FILES = (".jsonl", ".ndjson"), (".json",)
# TRL's reward functions that need only completions, and a factory of one, with the settings of TRL's scripts
TRL_REWARDS = {
    "accuracy_reward": None,
    "reasoning_accuracy_reward": None,
    "think_format_reward": None,
    "get_soft_overlong_punishment": {"max_completion_len": 1280, "soft_punish_cache": 256},
}


def is_import_path(text: str) -> bool:
    """Whether a text is `module:name`, and neither a plain name nor an existing path."""
    module, separator, _ = text.partition(":")
    return bool(separator) and all(part.isidentifier() for part in module.split(".")) and not os.path.exists(text)


def is_on_hub(dataset: str) -> bool:
    """Whether a dataset is one of the Hub: neither an import path, nor a file or a directory."""
    return not (is_import_path(dataset) or Path(dataset).suffix in (*LINES, *FILES) or os.path.exists(dataset))


def check_needed(name: str, value: Any, is_needed: bool, missing: str) -> None:
    """Refuse an option that would do nothing. Its value is not in the message: it may hold a key."""
    if value is not None and not is_needed:
        raise ValueError(f"`{name}` is set, and does nothing without {missing}. Set that too, or leave `{name}` out.")


def is_chat_user(user: str | None) -> bool:
    return user is not None and user.startswith(CHAT_USER)


def is_from_elsewhere(error: Exception) -> bool:
    """Whether an error comes from code of the user's own, who then needs its traceback."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"].partition(".")[0] not in ("trl_infopo", "trl", "transformers")


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
        way_out = "Write module:name, and start where the module is, or install it."
        if module_name.endswith(".py"):
            way_out = f"Write it without '.py': {module_name.removesuffix('.py')}:{attribute}."
        raise ValueError(
            f"`{name}` is {path!r}, whose module cannot be imported: {type(error).__name__}: {error}. {way_out}"
        ) from error
    if not attribute or not hasattr(module, attribute):
        near = did_you_mean(attribute, list(vars(module)))
        raise ValueError(f"`{name}` is {path!r}, but {module_name!r} has no {attribute!r}.{near}")
    return getattr(module, attribute)


def load_callable(name: str, path: str) -> Callable:
    """
    Import a class or a function that an option names.

    Args:
        name (`str`):
            Name of the option.
        path (`str`):
            Import path, `module:name`.

    Returns:
        `Callable`: The class or function.

    Raises:
        `ValueError`: If there is none, or it cannot be called.
    """
    found = load_object(name, path)
    if not callable(found):
        raise ValueError(f"`{name}` is {path!r}, which is {show(found)}: name a class or a function.")
    return found


def load_environment(path: str) -> Callable[[], Any]:
    """
    Find the class or function that makes an environment.

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
    if not is_import_path(path):
        near = did_you_mean(path, list(ENVIRONMENTS))
        raise ValueError(
            f"`environment` is {path!r}, choose one of {list(ENVIRONMENTS)}, or write the import path of your own: "
            f"my_module:MyEnv.{near}"
        )
    return load_callable("environment", path)


def find_user_argument(factory: Callable) -> str | None:
    """
    Find out how the factory of an environment takes a user.

    Args:
        factory (`Callable`):
            Class or function.

    Returns:
        `str`, *optional*:
            `"make_user"` if it has an argument of this name, which takes a `UserFactory`, or `"persona"`, which takes
            the name of a persona. `None` if there is no user to choose.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in ("make_user", "persona") if name in parameters), None)


def load_user(name: str, user: str, factory: Callable, user_base_url: str | None = None) -> Callable[[], Any]:
    """
    Put a user into an environment.

    Args:
        name (`str`):
            Name of the option that names the user.
        user (`str`):
            Name of a persona, `chat:<model>`, or the import path of a `UserFactory`.
        factory (`Callable`):
            Class or function that makes the environment, with an argument `make_user` or `persona`.
        user_base_url (`str`, *optional*):
            Endpoint of a user `chat:<model>`.

    Returns:
        `Callable[[], Any]`: Makes the environment with this user in it.

    Raises:
        `ImportError`: If it is a `chat:<model>` and `openai` is not installed.
        `ValueError`: If there is no such user, the environment takes none, or there is no key or no proper address
            for a `chat:<model>`.
    """
    argument = find_user_argument(factory)
    title = getattr(factory, "__name__", type(factory).__name__)
    if argument is None:
        raise ValueError(
            f"`{name}` is {user!r}, but {title} has no user to choose: it takes neither `make_user` nor `persona`. "
            f"Leave out `{name}`."
        )
    if user in PERSONAS:
        choice = user if argument == "persona" else partial(ScriptedUser, persona=user)
    elif argument == "persona" and ":" in user:
        raise ValueError(
            f"`{name}` has {user!r}, but the user of {title} answers through a tool and is always scripted. Choose "
            f"among {list(PERSONAS)}, or take another environment."
        )
    elif is_chat_user(user):
        model = user.removeprefix(CHAT_USER)
        # A user is made here, so that what it lacks shows before a policy is loaded, and for its address
        base_url = ChatUser(Scenario("", ()), model=model, base_url=user_base_url).base_url
        choice = partial(ChatUser, model=model, base_url=base_url)
    elif is_import_path(user):
        choice = load_callable(name, user)
    else:
        near = did_you_mean(user, list(PERSONAS))
        raise ValueError(
            f"`{name}` has {user!r}, choose among {list(PERSONAS)}, or 'chat:' and a model, or the import path of "
            f"what makes a user: my_module:make_user.{near}"
        )
    return partial(factory, **{argument: choice})


def read_mapping(name: str, value: dict | str | None, example: str) -> dict[str, Any] | None:
    """
    Read an option that is a mapping in a file, and JSON on a command line.

    Args:
        name (`str`):
            Name of the option.
        value (`dict` or `str`, *optional*):
            Its value.
        example (`str`):
            What it could be.

    Returns:
        `dict[str, Any]`, *optional*: The mapping, or `None` where there is no value.

    Raises:
        `ValueError`: If it is neither a mapping nor JSON of one.
    """
    mapping = value
    if isinstance(value, str):
        try:
            mapping = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"`{name}` is not JSON: {error}") from None
    if mapping is not None and not isinstance(mapping, dict):
        raise ValueError(f"`{name}` is {value!r}, write a JSON object like {example}.")
    return mapping


def configure(factory: Callable, options: dict[str, Any] | None, name: str = "environment_kwargs") -> Callable:
    """
    Give arguments to what makes an environment, or rows.

    Args:
        factory (`Callable`):
            Class or function.
        options (`dict[str, Any]`, *optional*):
            Its arguments by name.
        name (`str`, *optional*, defaults to `"environment_kwargs"`):
            Name of the option that holds them.

    Returns:
        `Callable`: What makes it with them.

    Raises:
        `ValueError`: If it does not take them.
    """
    if not options:
        return factory
    try:
        inspect.signature(factory).bind_partial(**options)
    except TypeError as error:
        known = list(inspect.signature(factory).parameters)
        near = next((hint for key in options if key not in known and (hint := did_you_mean(key, known))), "")
        title = getattr(factory, "__name__", type(factory).__name__)
        raise ValueError(
            f"`{name}` has {list(options)}, which `{title}` does not take: {error}. It takes {known}.{near}"
        ) from None
    except ValueError:  # written in C: its arguments are not known
        pass
    return partial(factory, **options)


def check_factory(path: str, factory: Callable) -> None:
    """
    Check that the factory of an environment needs no further arguments.

    Args:
        path (`str`):
            Its name on the command line.
        factory (`Callable`):
            Class or function, with its user.

    Raises:
        `ValueError`: If it needs arguments.
    """
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ValueError(
            f"`environment` is {path!r}, which cannot be called without arguments: {error}. Name a class or function "
            "that makes an environment by itself."
        ) from None
    except ValueError:  # written in C: its arguments are not known
        pass


def check_model(name: str, path: str) -> None:
    """
    Check that a local model is there. A missing model of the Hub only shows when it is loaded.

    Args:
        name (`str`):
            Name of the option.
        path (`str`):
            Directory, or name on the Hub.

    Raises:
        `ValueError`: If it is written as a directory, and there is none.
    """
    is_path = path.startswith((".", "/", "~")) or path.count("/") > 1 or os.sep != "/" and os.sep in path
    if is_path and not os.path.isdir(path):
        raise ValueError(
            f"`{name}` is {path!r}, but there is no such directory. Name one that holds a model, or a model of the "
            "hub, such as Qwen/Qwen3-0.6B."
        )


def load_reward(path: str) -> Callable:
    """
    Find a reward function.

    Args:
        path (`str`):
            Import path, or the name of one of TRL's.

    Returns:
        `Callable`: The function.

    Raises:
        `ValueError`: If there is none.
    """
    if is_import_path(path):
        return load_callable("reward_funcs", path)
    if path not in TRL_REWARDS:
        near = did_you_mean(path, list(TRL_REWARDS))
        raise ValueError(
            f"`reward_funcs` has {path!r}, choose among {list(TRL_REWARDS)}, or write the import path of your own: "
            f"my_module:my_reward.{near}"
        )
    import trl.rewards

    reward, options = getattr(trl.rewards, path), TRL_REWARDS[path]
    return reward if options is None else reward(**options)


def check_dataset(name: str, path: str) -> None:
    """
    Check that a dataset is there, without loading it. A missing dataset of the Hub only shows when it is loaded.

    Args:
        name (`str`):
            Name of the option.
        path (`str`):
            What [`load_rows`] takes.

    Raises:
        `ValueError`: If there is none.
    """
    if is_import_path(path):
        load_object(name, path)
    elif Path(path).suffix in (*LINES, *FILES) and not os.path.isfile(path):
        raise ValueError(
            f"`{name}` is {path!r}, which cannot be read: there is no such file. Write a file of JSON, an import "
            "path, my_module:rows, or a dataset of the hub."
        )


def load_rows(
    path: str,
    name: str = "dataset",
    split: str = "train",
    config: str | None = None,
    options: dict[str, Any] | None = None,
) -> "Dataset | list[dict]":
    """
    Load the tasks that an option names.

    Args:
        path (`str`):
            Import path of a dataset, of a list of rows, or of a function that makes one; a file of JSON lines, or of
            one JSON list; a dataset of the Hub, or a directory that [`~datasets.load_dataset`] can read. A function
            that has an argument `split` gets it.
        name (`str`, *optional*, defaults to `"dataset"`):
            Name of the option.
        split (`str`, *optional*, defaults to `"train"`):
            Split of a dataset of the Hub, or of what a function makes.
        config (`str`, *optional*):
            Configuration of a dataset of the Hub.
        options (`dict[str, Any]`, *optional*):
            Further arguments of a function.

    Returns:
        [`~datasets.Dataset`] or `list[dict]`: The rows.

    Raises:
        `ValueError`: If there are none, something is not JSON, or a function does not take its arguments.
    """
    if is_import_path(path):
        rows = load_object(name, path)
        if callable(rows):
            rows = configure(rows, options, "dataset_kwargs")
            rows = rows(split=split) if _has_argument(rows, "split") and "split" not in (options or {}) else rows()
        elif options:
            raise ValueError(f"`dataset_kwargs` has {list(options)}, but {path} is no function. Leave it out.")
        if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
            raise ValueError(f"`{name}` is {path!r}, which is {show(rows)}: name rows, or a function that makes them.")
        return rows
    if options:
        raise ValueError(f"`dataset_kwargs` has {list(options)}, but {path} is no function. Leave it out.")
    check_dataset(name, path)
    if Path(path).suffix in (*LINES, *FILES):
        return _read_json(name, path)

    from datasets import load_dataset

    try:
        return load_dataset(path, name=config, split=split)
    except Exception as error:  # of the Hub, of the network, of the dataset: each library raises its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"`{name}` is {path!r}, which cannot be read: {reason} Write a file of JSON, an import path, "
            "my_module:rows, or a dataset of the hub."
        ) from error


def _has_argument(function: Callable, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C: its arguments are not known
        return False


def _read_json(name: str, path: str) -> list[dict]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"`{name}` is {path!r}, which cannot be read: {error}. Write a file of JSON, an import path, "
            "my_module:rows, or a dataset of the hub."
        ) from None
    if Path(path).suffix in FILES and text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"`{name}` is {path!r}, which is not JSON: {error}.") from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"`{name}` is {path!r}, whose line {number} is not JSON: {error}.") from None
    return rows
