# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""UserRL's gyms, and the client that answers their requests: gyms would hide failures of their simulators."""

import asyncio
import json
from ast import literal_eval
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

from .._show import show
from ..users.endpoint import ChatClient, EndpointError
from ..users.responses import AttemptError, Completion


@dataclass(frozen=True)
class Gym:
    """
    One of the gyms.

    Attributes:
        folder (`str`):
            Its folder below `gyms`, which is also its name in the datasets.
        package (`str`):
            Name of its package.
        env, config (`str`):
            Names of its classes.
        data (`str`):
            Folder of its datasets below `data`.
        asks (`tuple[str, str]`, *optional*):
            Module and name of what asks its simulator.
        keys (`tuple[frozenset, ...]`):
            Sets of keys, of one of which an answer of its simulator must hold all. Empty where it is plain text.
        is_literal (`bool`):
            Whether it reads an answer as a literal of Python, not as JSON.
        options (`tuple[tuple[str, Any], ...]`):
            Options of its own that its training runs upstream set.
    """

    folder: str
    package: str
    env: str
    config: str
    data: str
    asks: tuple[str, str] | None = None
    keys: tuple[frozenset, ...] = ()
    is_literal: bool = True
    options: tuple[tuple[str, Any], ...] = ()


def _keys(*names: str) -> tuple[frozenset, ...]:
    return tuple(frozenset(name.split()) for name in names)


GYMS = {
    "function": Gym("FunctionGym", "functiongym", "FunctionEnv", "FunctionGymConfig", "function_multiturn"),
    "intention": Gym(
        *("IntentionGym", "intentiongym", "IntentionEnv", "IntentionGymConfig", "intention_multiturn"),
        asks=("env.prompts", "openai"),
        keys=_keys("response", "covered_detail_indices"),
        is_literal=False,
    ),
    "persuade": Gym(
        *("PersuadeGym", "persuadegym", "PersuadeEnv", "PersuadeGymConfig", "persuasion_multiturn"),
        asks=("env.prompts", "AsyncOpenAI"),
        keys=_keys("response stance"),
    ),
    "search": Gym(
        *("SearchGym", "searchgym", "SearchEnv", "SearchGymConfig", "bamboogle_multiturn"),
        asks=("env.prompts", "AsyncOpenAI"),
        keys=_keys("reasoning judgment feedback"),
        options=(("eval_method", "llm"),),
    ),
    "tau": Gym(
        *("TauGym", "taugym", "TauEnv", "TauGymConfig", "tau_multiturn"),
        asks=("tau_bench.envs.user", "completion"),
    ),
    "telepathy": Gym(
        *("TelepathyGym", "telepathygym", "TelepathyEnv", "TelepathyGymConfig", "telepathy_multiturn"),
        asks=("env.prompts", "AsyncOpenAI"),
        keys=_keys("response", "judgment feedback"),
    ),
    "travel": Gym(
        *("TravelGym", "travelgym", "TravelEnv", "TravelGymConfig", "travel_multiturn_onechoice"),
        asks=("env.prompt_async", "AsyncOpenAI"),
        keys=_keys("response", "type", "alignment_judgement"),
        is_literal=False,
        options=(
            ("one_choice_per_aspect", True),
            ("search_correct_reward", 0.0),
            ("preference_correct_reward", 0.8),
        ),
    ),
    "turtle": Gym(
        *("TurtleGym", "turtlegym", "StoryEnv", "TurtleGymConfig", "turtle_multiturn"),
        asks=("env.prompts", "AsyncOpenAI"),
        keys=_keys("response", "scores"),
        options=(("success_threshold", 1.0),),
    ),
}


class EndpointFailure(BaseException):
    """The simulator gave no answer. Not an `Exception`, as gyms catch those, and answer with a text of their own."""


current_simulator: ContextVar["Simulator | None"] = ContextVar("simulator", default=None)


class Simulator(ChatClient):
    """
    What answers a gym's requests. Arguments are those of [`~trl_infopo.users.ChatUser`].

    Attributes:
        gym ([`Gym`]):
            Whose requests they are.
    """

    gym: Gym

    async def ask(self, messages: list[dict], **options) -> str:
        """
        Ask the endpoint, as often as it takes and the retries allow.

        Args:
            messages (`list[dict]`):
                The chat.
            **options:
                Options of the request.

        Returns:
            `str`: An answer that the gym can read.

        Raises:
            [`EndpointFailure`]: If there is none.
        """
        try:
            return await self.complete(messages, options, self._read)
        except EndpointError as error:
            raise EndpointFailure(str(error)) from error

    def _read(self, completion: Completion) -> str:
        text = completion.content.strip()
        if not text:
            raise AttemptError("an empty answer.")
        if not self.gym.keys:
            return text
        try:
            answer = (
                _read_literal(text)
                if self.gym.is_literal
                else json.loads(text[text.index("{") : text.rindex("}") + 1])
            )
            if isinstance(answer, dict) and any(keys <= answer.keys() for keys in self.gym.keys):
                return text
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
        wanted = " or ".join(" and ".join(map(repr, sorted(keys))) for keys in self.gym.keys)
        raise AttemptError(f"an answer without {wanted}, which {self.gym.folder} cannot read: {show(text)}")


def _read_literal(text: str) -> Any:
    return literal_eval(text.removeprefix("```json").removesuffix("```"))


def redirect(module: ModuleType, name: str) -> None:
    """Let a module of UserRL ask our client, wherever one of our environments runs."""
    theirs = getattr(module, name)
    if hasattr(theirs, "is_ours"):
        return
    if name == "openai":
        ours = SimpleNamespace(
            AsyncOpenAI=partial(_make_client, theirs.AsyncOpenAI), OpenAI=theirs.OpenAI, is_ours=True
        )
    elif name == "completion":
        ours = partial(_complete, theirs)
        ours.is_ours = True
    else:
        ours = partial(_make_client, theirs)
        ours.is_ours = True
    setattr(module, name, ours)


def _make_client(theirs: Any, *args, **kwargs) -> Any:
    """Stands in for `openai.AsyncOpenAI`."""
    simulator = current_simulator.get()
    if simulator is None:
        return theirs(*args, **kwargs)

    async def create(*, model, messages, temperature=None, max_tokens=None, timeout=None):
        return _as_response(await simulator.ask(messages, temperature=temperature, max_tokens=max_tokens))

    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))


def _complete(theirs: Any, *args, **kwargs) -> Any:
    """Stands in for `litellm.completion`, on a thread beside the event loop."""
    simulator = current_simulator.get()
    if simulator is None:
        return theirs(*args, **kwargs)
    asking = simulator.ask([{"role": m["role"], "content": m["content"]} for m in kwargs["messages"]])
    return _as_response(asyncio.run_coroutine_threadsafe(asking, simulator.loop).result())


def _as_response(text: str) -> SimpleNamespace:
    fields = {"role": "assistant", "content": text}
    message = SimpleNamespace(**fields, model_dump=lambda: dict(fields))
    return SimpleNamespace(choices=[SimpleNamespace(message=message)], _hidden_params={"response_cost": 0.0})
