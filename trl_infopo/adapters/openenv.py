# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments behind a server of OpenEnv, by its URL: tools, single actions, and games in plain text."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._options import LONGEST_WAIT, check_bool, check_choice, check_number, check_text
from .._show import show
from ..users import UserSimulator, UserSimulatorError
from .openenv_session import (
    LARGEST_MESSAGE,
    RefusedAction,
    Session,
    find_address,
    import_websockets,
    is_local,
    redirect_error,
)


if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["OpenEnvGame", "OpenEnvSpec", "OpenEnvTools", "openenv_dataset", "openenv_environment"]

MODES = ("tools", "action", "text")
REWARDS = ("last", "sum")
OURS = ("prompt", "environment")  # columns that are no arguments of a server's `reset`
HIDDEN = ("metadata", "info", "reward", "done", "score", "correct_answer")  # of an observation, unless asked for
NOTHING = "{}"  # an observation that shows nothing
FATAL = ("transport_error", "timeout")  # OpenEnv's errors of tools that end the run: the others are the agent's


@dataclass(frozen=True)
class OpenEnvSpec:
    """
    An environment behind a server of OpenEnv. Its properties are arguments of a trainer; called, it makes an
    environment, so that `trl-infopo` takes it as an import path.

    Each episode has a connection of its own, from its `reset` to its end. A server that cannot be reached, does not
    answer in time, hangs up or sends an invalid answer ends the run with an error that names the episode. Connecting
    and resetting are retried first; a step never is, as it may have had its effect.

    Args:
        base_url (`str`):
            Address of the server, such as `"http://localhost:8000"`.
        mode (`str`, *optional*, defaults to `"tools"`):
            How the agent acts. In `"tools"`, it calls the server's MCP tools; in `"action"`, it calls one tool, `act`,
            with the fields of the server's action; in `"text"`, it writes plain messages, and each of them is a move.
        prompt (`str`, *optional*, defaults to `""`):
            Prompt in the rows of the datasets, to which what the server shows at the reset is added.
        num_tasks (`int`, *optional*, defaults to `1000`):
            Number of rows to train on. Each has a seed of its own, which a server may use.
        num_eval_tasks (`int`, *optional*, defaults to `100`):
            Number of rows to evaluate on, with other seeds.
        observation_fields (`Sequence[str]`, *optional*):
            Fields of an observation that the agent is shown: a single text as it is, all else as JSON. If `None`, the
            messages of a TextArena game, or all fields but those that are known to hold rewards and answers.
        text_field (`str`, *optional*):
            In the mode `"text"`, the field of an action that the message becomes. If `None`, its only text field.
        reward (`str`, *optional*, defaults to `"last"`):
            The reward of an episode, from those that the server gives to the reset and the steps: `"last"`, as
            OpenEnv's own rollouts take it, or `"sum"`.
        default_reward (`float`, *optional*):
            Reward of an episode in which the server gave none. If `None`, such an episode is left out of training,
            and is an error in evaluation.
        tell_errors (`bool`, *optional*, defaults to `False`):
            Whether the agent is told of an exception in a step, for servers that raise one on a wrong move. Otherwise
            it ends the run.
        timeout (`float`, *optional*, defaults to `60.0`):
            Seconds within which the server must be reached, and each answer must come. Where a `feedback_timeout` is
            shorter and cuts a step off, its session is lost, which ends the run.
        attempts (`int`, *optional*, defaults to `3`):
            How often connecting and resetting are tried, with pauses of 0.5 s, 1 s, 2 s and so on.
        headers (`dict[str, str]`, *optional*):
            Headers of the connection, such as one for authorization. Redirects are not followed, as they must not go
            to another address.

    Raises:
        `ImportError`: If `websockets` is not installed.
        `ValueError`: If an argument is out of range.

    Example:

    ```python
    from trl_infopo import InfoPOConfig, InfoPOTrainer
    from trl_infopo.adapters.openenv import OpenEnvSpec

    spec = OpenEnvSpec("http://localhost:8000", mode="text", prompt="Play the game. ")
    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-0.6B",
        args=InfoPOConfig(max_turns=8),
        train_dataset=spec.train_dataset,
        environment_factory=spec.environment_factory,
    )
    ```
    """

    base_url: str
    mode: str = "tools"
    prompt: str = ""
    num_tasks: int = 1000
    num_eval_tasks: int = 100
    observation_fields: Sequence[str] | None = None
    text_field: str | None = None
    reward: str = "last"
    default_reward: float | None = None
    tell_errors: bool = False
    timeout: float = 60.0
    attempts: int = 3
    headers: dict[str, str] | None = field(default=None, repr=False)

    def __post_init__(self):
        check_text("base_url", self.base_url)
        if urlsplit(self.base_url).scheme not in ("http", "https", "ws", "wss"):
            raise ValueError(f"`base_url` is {self.base_url!r}, set it to an address such as 'http://localhost:8000'.")
        parts = urlsplit(self.base_url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "`base_url` has a user name, a query or a fragment, which errors would repeat. Give the address "
                "alone, and what the server must know in `headers`."
            )
        check_choice("mode", self.mode, MODES)
        check_choice("reward", self.reward, REWARDS)
        check_bool("tell_errors", self.tell_errors)
        check_number("timeout", self.timeout, above=0, at_most=LONGEST_WAIT)
        for name in ("num_tasks", "num_eval_tasks", "attempts"):
            check_number(name, getattr(self, name), integer=True, at_least=1)
        if self.default_reward is not None:
            check_number("default_reward", self.default_reward)
        names = self.observation_fields
        if names is not None and (isinstance(names, str) or not names):
            raise ValueError(f"`observation_fields` is {show(names)}, set it to a list of names of fields.")
        import_websockets()

    def __call__(self) -> "OpenEnvGame":
        return (OpenEnvGame if self.mode == "text" else OpenEnvTools)(self)

    @property
    def environment_factory(self) -> "OpenEnvSpec":
        """What makes the environments."""
        return self

    @property
    def train_dataset(self) -> "Dataset":
        """Rows to train on: a `prompt` and a `seed`."""
        return self._rows(self.num_eval_tasks, self.num_tasks)

    @property
    def eval_dataset(self) -> "Dataset":
        """Rows to evaluate on, with seeds that those to train on do not have."""
        return self._rows(0, self.num_eval_tasks)

    def _rows(self, first: int, number: int) -> "Dataset":
        from datasets import Dataset

        prompt = [{"role": "user", "content": self.prompt}]
        return Dataset.from_dict({"prompt": [prompt] * number, "seed": list(range(first, first + number))})

    @cached_property
    def tool_schemas(self) -> list[dict]:
        """The tools of the agent, in the OpenAI function format, as the server lists them."""
        if self.mode == "action":
            action = dict(self._action_schema)
            properties = {name: field for name, field in action["properties"].items() if name != "metadata"}
            action = {**action, "properties": properties}
            description = action.pop("description", "").strip() or "Act."
            return [_as_function("act", description, action)]
        answer = self._ask({"type": "list_tools"})
        listed = answer["observation"].get("tools")
        if not listed or not all(isinstance(tool, dict) and "name" in tool for tool in listed):
            raise RuntimeError(
                f"The OpenEnv server at {self.base_url} lists no tools: {show(answer['observation'])}. Set `mode` to "
                "'action' or 'text' if its actions are no calls of tools."
            )
        return [
            _as_function(
                tool["name"], tool.get("description") or "", tool.get("input_schema") or tool.get("inputSchema") or {}
            )
            for tool in listed
        ]

    @cached_property
    def move_field(self) -> str:
        """In the mode `"text"`, the field of an action that a message becomes."""
        fields = {name: field for name, field in self._action_schema["properties"].items() if name != "metadata"}
        if self.text_field is not None:
            if self.text_field not in fields:
                raise ValueError(f"`text_field` is {self.text_field!r}, choose one of {list(fields)}.")
            return self.text_field
        texts = [name for name, field in fields.items() if field.get("type") == "string"]
        if len(texts) != 1:
            raise ValueError(
                f"`mode` is 'text', but an action of the OpenEnv server at {self.base_url} has the fields "
                f"{list(fields)}, of which {len(texts)} are texts. Set `text_field` to one of them, or `mode` to "
                "'action', or to 'tools' if they are calls of tools."
            )
        return texts[0]

    @cached_property
    def _action_schema(self) -> dict:
        from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

        class NoRedirects(HTTPRedirectHandler):
            def redirect_request(self, request, response, code, message, headers, location):
                response.close()
                raise redirect_error(location)

        url = find_address(self.base_url, "http", "schema")
        opener = build_opener(NoRedirects, ProxyHandler({} if is_local(self.base_url) else None))
        try:
            with opener.open(Request(url, headers=self.headers or {}), timeout=self.timeout) as response:
                schema = json.loads(response.read(LARGEST_MESSAGE))["action"]
                return {**schema, "properties": dict(schema["properties"])}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise RuntimeError(
                f"The OpenEnv server at {self.base_url} does not say what its actions are: {error!r}. Start it, or "
                "set `base_url` to its address."
            ) from error

    def _ask(self, action: dict) -> dict:
        """What the server answers to an action before any reset."""
        session = Session(self)
        try:
            return session.request("step", action)
        except (UserSimulatorError, RefusedAction) as error:
            hint = "" if isinstance(error, UserSimulatorError) else " Has it tools? If not, set `mode`."
            raise RuntimeError(f"{error}{hint}") from error
        finally:
            session.close()


def openenv_environment(**options) -> "OpenEnvGame":
    """
    Make an environment, for configuration files that name a function and its arguments.

    Args:
        **options:
            Arguments of [`OpenEnvSpec`].

    Returns:
        [`OpenEnvGame`]: The environment.
    """
    return _shared_spec(json.dumps(options, sort_keys=True))()


def openenv_dataset(split: str = "train", **options) -> "Dataset":
    """
    The tasks, for configuration files.

    Args:
        split (`str`, *optional*, defaults to `"train"`):
            `"train"` or `"test"`.
        **options:
            Arguments of [`OpenEnvSpec`].

    Returns:
        [`~datasets.Dataset`]: The rows.
    """
    check_choice("split", split, ("train", "test"))
    spec = _shared_spec(json.dumps(options, sort_keys=True))
    return spec.train_dataset if split == "train" else spec.eval_dataset


@cache
def _shared_spec(options: str) -> OpenEnvSpec:
    return OpenEnvSpec(**json.loads(options))


class World:
    """
    The server as the agent's counterpart: it shows where the episode begins, and answers moves in plain text.

    Args:
        environment ([`OpenEnvGame`]):
            Whose server it is.
        arguments (`dict`):
            Arguments of the server's reset.
    """

    def __init__(self, environment: "OpenEnvGame", arguments: dict):
        self.environment = environment
        self.arguments = arguments

    def opening(self, messages: list[dict]) -> str | None:
        """Reset the server's environment. The resets of a batch are awaited concurrently."""
        text = self.environment._open(self.arguments)
        return None if text == NOTHING else text

    def reply(self, messages: list[dict]) -> str | None:
        """Play the agent's message as a move."""
        return self.environment._answer(messages[-1]["content"])


class OpenEnvGame:
    """
    An episode of a game in plain text: each message of the agent is a move, and the server's observation the reply.

    Args:
        spec ([`OpenEnvSpec`]):
            Where the server is, and how it is played.
    """

    user: UserSimulator
    done: bool = False
    thread_safe = True

    def __init__(self, spec: OpenEnvSpec):
        self.spec = spec
        self._session = None
        self._prepare()

    def reset(self, **row) -> None:
        self._close()
        self.done, self._reward, self._shown = False, None, []
        arguments = {name: value for name, value in row.items() if name not in OURS}
        for name, value in arguments.items():
            _check_sendable(name, value)
        self.user = World(self, arguments)

    def on_end(self, reason):
        if self._session is not None:
            self._session.check()
        self._close()

    def get_reward(self) -> float | None:
        return self.spec.default_reward if self._reward is None else self._reward

    def _prepare(self) -> None:
        """Ask the server what the agent needs before a reset."""
        _ = self.spec.move_field

    def _open(self, arguments: dict) -> str:
        for attempt in range(self.spec.attempts):
            self._close()
            try:
                self._session = Session(self.spec)
                answer = self._session.request("reset", arguments)
                break
            except UserSimulatorError:
                if attempt + 1 == self.spec.attempts:
                    raise
                time.sleep(0.5 * 2**attempt)
        return self._take(answer)

    def _answer(self, text: str) -> str | None:
        try:
            return self._take(self._step({self.spec.move_field: text}))
        except RefusedAction as error:
            return str({"error": str(error)})

    def _step(self, action: dict) -> dict:
        """What the server answers, unless a call of the same message has ended the episode."""
        if self.done:
            raise RefusedAction("The episode is over.")
        return self._session.request("step", action)

    def _take(self, answer: dict) -> str:
        """Keep the reward, and say what the agent is shown."""
        self._keep(answer)
        try:
            parts = _show_observation(answer["observation"], self.spec.observation_fields)
        except UserSimulatorError:
            self._close()
            raise
        text, shown = "".join(parts), "".join(self._shown)
        # Some games repeat all messages that came before, or all lines
        is_repeated = parts[: len(self._shown)] == self._shown or text.startswith(f"{shown}\n")
        new, self._shown = text.removeprefix(shown) if is_repeated else text, parts
        return next((said for said in (new.strip("\n"), text) if said.strip()), NOTHING)

    def _keep(self, answer: dict) -> None:
        self.done = answer["done"]
        if (reward := answer["reward"]) is not None:
            self._reward = reward if self.spec.reward == "last" else (self._reward or 0.0) + reward

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def __del__(self):
        with suppress(Exception):
            self._close()


class OpenEnvTools(OpenEnvGame):
    """
    An episode in which the agent calls tools: those of the server, or the one that takes its actions. It ends when
    the server says that it is done, or the agent speaks.

    Args:
        spec ([`OpenEnvSpec`]):
            Where the server is, and how it is played.
    """

    def _prepare(self) -> None:
        self.tool_schemas = self.spec.tool_schemas

    def on_end(self, reason):
        super().on_end(reason)
        return "answered" if reason == "user_ended" else None

    def call_tool(self, name: str, arguments: dict) -> str:
        if self.spec.mode == "action":
            if name != "act":
                raise RefusedAction(f"Tool {name} not found.")
            return self._take(self._step(arguments))
        action = {"type": "call_tool", "tool_name": name, "arguments": arguments}
        answer = self._step(action)
        self._keep(answer)
        observation = answer["observation"]
        if error := observation.get("error"):
            kind, message = (error.get(k) if isinstance(error, dict) else error for k in ("error_type", "message"))
            if kind in FATAL:
                raise self._session.failure(f"failed at the tool {name!r}: {kind}: {show(message)}")
            raise RefusedAction(str(message))
        result = observation.get("result")
        if isinstance(result, dict) and result.get("is_error"):
            raise RefusedAction(_tool_text(result))
        return _tool_text(result)

    def _answer(self, text: str) -> None:
        return None


def _check_sendable(name: str, value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The column {name!r} holds {show(value)}, which an OpenEnv server cannot be sent as an argument of its "
            f"`reset`: {show(error)}. Make it text or numbers, or leave it out."
        ) from error


def _as_function(name: str, description: str, parameters: dict) -> dict:
    parameters = {key: value for key, value in parameters.items() if key != "additionalProperties"}
    function = {"name": name, "description": description, "parameters": {"type": "object", **parameters}}
    return {"type": "function", "function": function}


def _show_observation(observation: dict, fields: Sequence[str] | None) -> list[str]:
    """What the agent is shown of an observation: its messages, or one text."""
    if fields is None:
        messages = observation.get("messages")
        if isinstance(messages, list) and all(isinstance(m, dict) and "content" in m for m in messages) and messages:
            return [str(message["content"]) for message in messages]
        fields = [name for name, value in observation.items() if name not in HIDDEN and value is not None]
    elif missing := [name for name in fields if name not in observation]:
        raise UserSimulatorError(
            f"`observation_fields` has {missing}, but the server's observation has the fields {list(observation)}."
        )
    if len(fields) == 1 and isinstance(observation[fields[0]], str) and observation[fields[0]].strip():
        return [observation[fields[0]]]
    return [json.dumps({name: observation[name] for name in fields}, ensure_ascii=False)]


def _tool_text(result: Any) -> str:
    """The text of a tool's result, as MCP gives it."""
    if isinstance(result, dict) and isinstance(result.get("content"), list):
        texts = [block.get("text") for block in result["content"] if isinstance(block, dict)]
        if texts and all(isinstance(text, str) for text in texts):
            return "\n".join(texts)
        if "data" in result:
            result = result["data"]
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
