# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The gyms of UserRL, from a checkout of its repository, with their own simulators and rewards."""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .._options import check_choice, check_number
from .._show import show
from ..users import UserSimulator, UserSimulatorError
from .userrl_gyms import GYMS, EndpointFailure, Gym, Simulator, current_simulator, redirect


if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["GYMS", "UserRLEnv", "UserRLSpec", "userrl_dataset", "userrl_environment"]

REPOSITORY = "https://github.com/SalesforceAIResearch/UserRL"
TESTED = "cf55a30"
NOWHERE = "https://localhost.invalid"  # the address that gyms are given: our client answers in its place

# What gyms say when they could not use their simulator's answer, and made one up
TRAVEL_EXCUSES = ("Judging of agent's latest utterance failed", "Responding system met some issues")
SEARCH_EXCUSES = ("Search failed:", "Search Error:", "Error processing action:")
TAU_EXCUSES = ("Error communicating with user:",)


@dataclass(frozen=True)
class UserRLSpec:
    """
    A gym of UserRL. Its properties are arguments of a trainer; called, it makes an environment, so that `trl-infopo`
    takes it as an import path.

    Prompts, tasks, the tool `interact_with_env`, simulators and rewards are those of UserRL, which is not on PyPI: its
    code and data are read from a checkout. Unlike there, a failure ends the run: where the simulator does not answer,
    UserRL's gyms make up a text of their own, which is a [`~trl_infopo.users.UserSimulatorError`] here.

    Args:
        gym (`str`):
            Name of the gym: `"function"`, `"intention"`, `"persuade"`, `"search"`, `"tau"`, `"telepathy"`,
            `"travel"` or `"turtle"`.
        repository (`str`, *optional*):
            Path of a checkout of UserRL. If `None`, the environment variable `USERRL_REPOSITORY`.
        model (`str`, *optional*, defaults to `"gpt-4o"`):
            Name of the model that plays the gym's user and judge.
        base_url (`str`, *optional*):
            Address of its endpoint. If `None`, the environment variable `OPENAI_BASE_URL`, or else OpenAI's.
        api_key (`str`, *optional*):
            Key for it. If `None`, the environment variable `OPENAI_API_KEY`.
        max_steps (`int`, *optional*, defaults to `15`):
            Largest number of steps in an episode, as UserRL counts them. `max_turns` ends an episode too, with the
            rewards so far.
        timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that an attempt of the simulator may take.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first, also where an answer cannot be read.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one.
        max_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of concurrent requests to an endpoint.
        data (`str`, *optional*):
            Folder of the datasets below `data` in the checkout, such as `"travel22_multiturn_onechoice"`. If `None`,
            the gym's.

    Raises:
        `ImportError`: If there is no checkout of UserRL, or `openai` is not installed and the gym has a simulator.
        `ValueError`: If an argument is out of range, or the simulator has no API key.

    Example:

    ```python
    from trl_infopo import InfoPOConfig, InfoPOTrainer
    from trl_infopo.adapters.userrl import UserRLSpec

    spec = UserRLSpec("telepathy", repository="UserRL", model="gpt-4o-mini")
    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-0.6B",
        args=InfoPOConfig(max_turns=16, max_completion_length=4096),
        train_dataset=spec.train_dataset,
        eval_dataset=spec.eval_dataset,
        environment_factory=spec.environment_factory,
    )
    ```
    """

    gym: str
    repository: str | None = None
    model: str = "gpt-4o"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_steps: int = 15
    timeout: float = 60.0
    max_retries: int = 4
    backoff: float = 1.0
    max_concurrency: int = 64
    data: str | None = None

    def __post_init__(self):
        check_choice("gym", self.gym, list(GYMS))
        check_number("max_steps", self.max_steps, integer=True, at_least=1)
        if not (self._root / "gyms" / self._gym.folder).is_dir():
            raise ImportError(
                f"UserRL is not on PyPI, and there is no checkout of it at {str(self._root)!r}: `git clone "
                f"{REPOSITORY}`, and set `repository` or USERRL_REPOSITORY to its path. It was tested at {TESTED}."
            )
        if self._gym.asks is not None:
            _ = self._client

    def __call__(self) -> "UserRLEnv":
        return UserRLEnv(self)

    @property
    def environment_factory(self) -> "UserRLSpec":
        """What makes the environments."""
        return self

    @cached_property
    def train_dataset(self) -> "Dataset":
        """UserRL's rows to train on: a `prompt` and a `task`."""
        return self._rows("train")

    @cached_property
    def eval_dataset(self) -> "Dataset":
        """UserRL's rows to test on, of which none is among those to train on."""
        return self._rows("test")

    @cached_property
    def tool_schemas(self) -> list[dict]:
        """The tool of UserRL's own evaluation."""
        import yaml

        text = (self._root / "eval" / "schema" / "interact_tool.yaml").read_text(encoding="utf-8")
        return [yaml.safe_load(text)["tool_schema"]]

    @property
    def _gym(self) -> Gym:
        return GYMS[self.gym]

    @property
    def _root(self) -> Path:
        return Path(self.repository or os.environ.get("USERRL_REPOSITORY") or "UserRL")

    @cached_property
    def _client(self) -> Simulator:
        client = Simulator(
            self.model,
            self.base_url,
            self.api_key,
            timeout=self.timeout,
            max_retries=self.max_retries,
            backoff=self.backoff,
            max_concurrency=self.max_concurrency,
            request_options=None,
        )
        client.gym = self._gym
        return client

    def _rows(self, split: str) -> "Dataset":
        from datasets import Dataset
        from pyarrow import parquet

        path = self._root / "data" / (self.data or self._gym.data) / f"{split}.parquet"
        if not path.is_file():
            raise ValueError(f"{self._gym.folder} has no data to {split} on: there is no {path}.")
        rows = []
        for row in parquet.read_table(path, columns=["prompt", "extra_info"]).to_pylist():
            task = row["extra_info"]["tools_kwargs"]["interact_with_env"]["create_kwargs"]
            if task["env_name"] != self._gym.folder:
                raise ValueError(
                    f"{path} holds tasks of {task['env_name']}. Set `data` to a folder of {self._gym.folder}."
                )
            prompt = [{"role": message["role"], "content": message["content"]} for message in row["prompt"]]
            rows.append({"prompt": prompt, "task": task.get("id") or task["title"]})
        return Dataset.from_list(rows)

    @cached_property
    def _package(self) -> ModuleType:
        """The gym's package, whose requests come to us."""
        path = str((self._root / "gyms" / self._gym.folder).resolve())
        if path not in sys.path:
            sys.path.insert(0, path)
        try:
            package = importlib.import_module(self._gym.package)
            if self._gym.asks is not None:
                module, name = self._gym.asks
                module = module if module.startswith("tau_bench") else f"{self._gym.package}.{module}"
                redirect(importlib.import_module(module), name)
        except ImportError as error:
            way_out = "pip install it"
            if error.name == "tau_bench":
                way_out = "pip install git+https://github.com/sierra-research/tau-bench"
            raise ImportError(f"{self._gym.folder} needs `{error.name}`: {way_out}.") from error
        return package

    def _make(self, task: str) -> Any:
        """UserRL's environment of a task, as its own training runs make it."""
        config = getattr(importlib.import_module(f"{self._gym.package}.config"), self._gym.config)()
        settings = {"max_steps": self.max_steps, "data_mode": "single", "data_source": task, "seed": None}
        if self.gym == "tau":
            settings["task_category"] = "retail" if "retail" in task else "airline"
            settings["task_split"] = "train" if "train" in task else "test"
            settings["user_model"] = self.model
        elif self._gym.asks is not None:
            settings |= {"model_name": self.model, "api_key": "ours", "base_url": NOWHERE}
        for name, value in {**settings, **dict(self._gym.options)}.items():
            setattr(config, name, value)
        return getattr(self._package, self._gym.env)(config)


def userrl_environment(**options) -> "UserRLEnv":
    """
    Make an environment, for configuration files that name a function and its arguments.

    Args:
        **options:
            Arguments of [`UserRLSpec`].

    Returns:
        [`UserRLEnv`]: The environment.
    """
    return _shared_spec(json.dumps(options, sort_keys=True))()


def userrl_dataset(split: str = "train", **options) -> "Dataset":
    """
    The tasks, for configuration files.

    Args:
        split (`str`, *optional*, defaults to `"train"`):
            `"train"` or `"test"`.
        **options:
            Arguments of [`UserRLSpec`].

    Returns:
        [`~datasets.Dataset`]: The rows.
    """
    check_choice("split", split, ("train", "test"))
    spec = _shared_spec(json.dumps(options, sort_keys=True))
    return spec.train_dataset if split == "train" else spec.eval_dataset


@cache
def _shared_spec(options: str) -> UserRLSpec:
    return UserRLSpec(**json.loads(options))


async def _in_thread(function: Callable, *args) -> Any:
    """Run what blocks. Not on the event loop's own threads: the client needs those to answer it."""
    loop, context = asyncio.get_running_loop(), copy_context()
    return await loop.run_in_executor(_threads(), context.run, function, *args)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="userrl")


class World:
    """
    The gym, as far as it is more than a tool.

    Args:
        environment ([`UserRLEnv`]):
            Whose gym it is.
    """

    def __init__(self, environment: "UserRLEnv"):
        self.environment = environment

    async def opening(self, messages: list[dict]) -> None:
        """Make the gym, which may ask its simulator, and say nothing. Those of a batch are awaited concurrently."""
        await self.environment._open()

    def reply(self, messages: list[dict]) -> None:
        """Nobody hears what the agent says beside its tool."""


class UserRLEnv:
    """
    An episode in a gym of UserRL: the agent calls `interact_with_env` until the gym says that it is over, or speaks.

    Args:
        spec ([`UserRLSpec`]):
            Which gym, and where its simulator is.

    Attributes:
        gym (`object`):
            UserRL's environment, after the opening.
        rewards (`list[float]`):
            What it gave for each step. The reward is their sum, as in UserRL's evaluation.
    """

    user: UserSimulator
    done: bool = False

    def __init__(self, spec: UserRLSpec):
        self.spec = spec
        self.tool_schemas = spec.tool_schemas
        _ = spec._package

    def reset(self, task: str, **row) -> None:
        self.task, self.gym, self.rewards, self.done = task, None, [], False
        self._turn, self._is_stepping = asyncio.Lock(), False
        self.user = World(self)

    def on_end(self, reason):
        self._check_whole()
        return "answered" if reason == "user_ended" else None

    async def call_tool(self, name: str, arguments: dict) -> str:
        if name != self.tool_schemas[0]["function"]["name"]:
            raise ValueError(f"Tool {name} not found.")
        async with self._turn:  # the calls of a message are steps too, one after the other
            self._check_whole()
            if self.done:
                raise ValueError("The episode is over.")
            self._is_stepping = True
            try:
                feedback = await self._interact(arguments)
            except UserSimulatorError:
                raise
            except (Exception, SystemExit) as error:
                raise UserSimulatorError(f"{self.spec._gym.folder} failed: {show(error)}") from error
            self._is_stepping = False
            return feedback

    async def _interact(self, arguments: dict) -> str:
        choice, content = (str(arguments.get(key, "")) for key in ("choice", "content"))
        is_tagged = choice not in ("action", "answer", "search") or content.startswith(f"[{choice}]")
        action = content if is_tagged else f"[{choice}] {content}"
        num_searches = self._num_searches()
        observation, reward, terminated, truncated, info = await self._ask(self._step(action))
        self._check(observation, info, num_searches)
        self.rewards.append(float(reward))
        self.done = bool(terminated or truncated)
        return observation["feedback"]

    def get_reward(self) -> float:
        return sum(self.rewards)

    def _check_whole(self) -> None:
        """
        Raises:
            [`~trl_infopo.users.UserSimulatorError`]: If a step was cut off: nobody knows how the episode stands.
        """
        if self._is_stepping:
            raise UserSimulatorError(
                f"A step of {self.spec._gym.folder} was cut off, and its reward is lost. Raise `feedback_timeout`, or "
                "set none: the simulator has a `timeout` of its own."
            )

    async def _open(self) -> None:
        async def make():
            self.gym = await _in_thread(self.spec._make, self.task)
            await _in_thread(self.gym.reset)

        await self._ask(make())

    async def _step(self, action: str) -> tuple:
        # These wait for others on their thread, which must not be the event loop's
        waits = self.spec.gym == "tau" or (self.spec.gym == "search" and not action.startswith("[answer]"))
        return await (_in_thread(self.gym.step, action) if waits else self.gym.step_async(action))

    async def _ask(self, doing: Any) -> Any:
        """Let the gym do something, with our client as the way to its simulator."""
        simulator = None
        if self.spec._gym.asks is not None:
            simulator = self.spec._client
            simulator.loop = asyncio.get_running_loop()
        token = current_simulator.set(simulator)
        try:
            return await doing
        except EndpointFailure as error:
            raise UserSimulatorError(str(error)) from error
        finally:
            current_simulator.reset(token)

    def _num_searches(self) -> int:
        return getattr(self.gym, "state_list", {}).get("search_times", 0)

    def _check(self, observation: dict, info: dict, num_searches: int) -> None:
        """
        Raises:
            [`~trl_infopo.users.UserSimulatorError`]: If the gym made an answer up, as it had none from its simulator.
        """
        feedback, gym = observation["feedback"], self.spec.gym
        is_made_up = info.get("judge_success") is False
        if gym == "intention":
            is_made_up = info.get("reward_breakdown", {}).get("method", "llm_evaluation") != "llm_evaluation"
        elif gym == "travel":
            notes = [message.get("note", "") for message in info["conversation_history"][-2:]]
            is_made_up = any(note.startswith(TRAVEL_EXCUSES) for note in notes)
            if feedback.startswith("Currently the searching backend") and self._num_searches() > num_searches:
                is_made_up = self._num_searches() % self.gym.config.search_failure_interval != 0
        elif gym in ("search", "tau"):
            is_made_up = feedback.startswith(SEARCH_EXCUSES if gym == "search" else TAU_EXCUSES) or (
                gym == "search" and "Search Error:" in feedback
            )
        if is_made_up:
            raise UserSimulatorError(
                f"{self.spec._gym.folder} had no answer that it could use, and made one up: {show(feedback)}"
            )
