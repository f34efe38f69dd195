# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Environments of `verifiers`: its tasks, harnesses and rewards, with the policy in training behind our endpoint."""

import asyncio
import atexit
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from packaging.specifiers import SpecifierSet

from .._options import check_number, check_text, did_you_mean
from ..serving import HarnessRollouts, PolicySession, harness_reward


if TYPE_CHECKING:
    from verifiers.v1 import Episode, Trace

SUPPORTED = ">=0.4,<0.5"  # as in pyproject.toml
TESTED = "0.4.0"


def _import_verifiers() -> Any:
    try:
        installed = version("verifiers")
    except PackageNotFoundError:
        installed = None
    if installed is None or not SpecifierSet(SUPPORTED).contains(installed, prereleases=True):
        found = "is not installed" if installed is None else f"{installed} is installed"
        raise ImportError(
            f"VerifiersSpec needs verifiers{SUPPORTED}, of which {found}. In an environment of its own, as its pins "
            f'conflict with other extras: pip install "trl-infopo[verifiers]". Tested with {TESTED}.'
        )
    import verifiers.v1

    return verifiers.v1


class VerifiersSpec:
    """
    An environment of `verifiers` (its v1 interface), for a trainer. Tasks, harness, tools, users and rewards are
    upstream's and run as it runs them; only the policy is ours.

    One object gives what a trainer takes: `train_dataset`, `eval_dataset`, `reward_funcs` and `rollout_func`.

    Args:
        taskset (`str`):
            Id of an installed taskset, as in `verifiers`' `--env.taskset.id`.
        env (`dict`, *optional*):
            The block `env` of `verifiers`' configuration: options of the taskset, of each agent, limits and retries.
            Where it does not say otherwise, the policy's harness is the taskset's own or `null`, a chat with the
            task's tools, and runs in a subprocess on this machine.
        policy (`str`, *optional*):
            Which of the environment's agents is the policy, if there are several. The others need a `client` and a
            `model` of their own.
        num_tasks (`int`, *optional*):
            Number of its tasks to train on, the first ones. If `None`, all, or all that `num_eval_tasks` leaves.
        num_eval_tasks (`int`, *optional*, defaults to `0`):
            Number of tasks to evaluate on, those that follow.
        **options:
            Options of [`~trl_infopo.serving.HarnessRollouts`].

    Raises:
        `ImportError`: If a supported version of `verifiers` is not installed.
        `ValueError`: If an argument is out of range, or does not fit the taskset.

    Example:

    ```python
    spec = VerifiersSpec("my-taskset", num_tasks=200, env={"agent": {"max_turns": 8}})
    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-0.6B",
        reward_funcs=spec.reward_funcs,
        train_dataset=spec.train_dataset,
        rollout_func=spec.rollout_func,
    )
    ```
    """

    def __init__(
        self,
        taskset: str,
        *,
        env: dict[str, Any] | None = None,
        policy: str | None = None,
        num_tasks: int | None = None,
        num_eval_tasks: int = 0,
        **options,
    ):
        check_text("taskset", taskset)
        if num_tasks is not None:
            check_number("num_tasks", num_tasks, integer=True, at_least=1, hint="or to None for all")
        check_number("num_eval_tasks", num_eval_tasks, integer=True, at_least=0)
        vf = _import_verifiers()
        from verifiers.v1.configs.agent import agent_config_fields
        from verifiers.v1.utils.loaders import default_harness_id, env_config_type, load_environment

        env = dict(env or {})
        env["taskset"] = {**env.get("taskset", {}), "id": taskset}
        roles = list(agent_config_fields(env_config_type(taskset, env.get("id", "")).model_construct()))
        if policy is None and len(roles) > 1:
            raise ValueError(f"`policy` is None, but {taskset!r} has several agents. Choose one of {roles}.")
        self.policy = policy or roles[0]
        if self.policy not in roles:
            raise ValueError(f"`policy` is {policy!r}, choose one of {roles}.{did_you_mean(policy, roles)}")
        defaults = {"runtime": {"type": "subprocess"}}
        if default_harness_id(taskset) == "bash":  # upstream's own default, which lets the policy run commands here
            defaults["harness"] = {"id": "null"}
        env[self.policy] = {**defaults, **env.get(self.policy, {})}
        config = env_config_type(taskset, env.get("id", "")).model_validate(env)
        agents = agent_config_fields(config)
        for name, agent in agents.items():
            if name != self.policy and (agent.client is None or agent.model is None):
                raise ValueError(
                    f"`env` gives the agent {name!r} no `client` and `model` of its own, so that the policy would "
                    f"play it as well. Set both, such as env={{{name!r}: {{'model': ..., 'client': {{'type': 'eval', "
                    "'base_url': ..., 'api_key_var': ...}}}}."
                )
        retries = agents[self.policy].retries
        if retries.max_retries or any(rule.max_retries for rule in retries.rules):
            raise ValueError(
                f"`env` lets the agent {self.policy!r} retry, which would play an episode twice in one. Leave its "
                "`retries` out, and set `max_retries` here."
            )
        self._vf = vf
        self.env = load_environment(config)
        available = self.env.taskset
        if num_tasks is None and not available.bounded:
            raise ValueError(f"`num_tasks` is None, but the taskset {taskset!r} does not end. Set it.")
        self._tasks = list(available if num_tasks is None else available.take(num_tasks + num_eval_tasks))
        num_tasks = len(self._tasks) - num_eval_tasks if num_tasks is None else num_tasks
        if num_tasks < 1 or len(self._tasks) < num_tasks + num_eval_tasks:
            raise ValueError(
                f"`num_tasks` and `num_eval_tasks` ({num_eval_tasks}) ask for more tasks than the {len(self._tasks)} "
                f"of the taskset {taskset!r}."
            )
        self._num_tasks = num_tasks
        self.rollout_func = HarnessRollouts(self._play, **options)
        self.reward_funcs = [harness_reward]
        self._serving: asyncio.Task | None = None

    @cached_property
    def train_dataset(self) -> Dataset:
        """The tasks to train on: a row each, with its `prompt` and its number."""
        return self._dataset(range(self._num_tasks))

    @cached_property
    def eval_dataset(self) -> Dataset | None:
        """The tasks to evaluate on; `None` where there are none."""
        return self._dataset(range(self._num_tasks, len(self._tasks))) if self._num_tasks < len(self._tasks) else None

    def _dataset(self, numbers: range) -> Dataset:
        return Dataset.from_list([{"prompt": _prompt(self._tasks[i].data), "task": i} for i in numbers])

    async def _play(self, row: dict[str, Any], session: PolicySession) -> float:
        """One episode of one task, as upstream plays it."""
        if "task" not in row:
            raise ValueError(
                "The row has no `task`, the number of the task: a GRPOTrainer gives a `rollout_func` the prompts "
                "alone. Take an InfoPOTrainer, with `info_gain_coef=0.0` for GRPO."
            )
        await self._serve()
        client = self._vf.EvalClientConfig(base_url=session.base_url, api_key_var="TRL_INFOPO_API_KEY")
        context = self._vf.ModelContext(model=session.model, client=client)
        trace = self._trace(await self.env.run_episode(self._tasks[row["task"]], context))
        session.metrics |= {name: reward.score for name, reward in trace.rewards.items()} | trace.metrics
        return trace.reward

    def _trace(self, episode: "Episode") -> "Trace":
        """What upstream recorded of the policy, with its rewards; or what went wrong there."""
        if not episode.ok:
            errors = [*episode.errors, *(error for trace in episode.traces for error in trace.errors)]
            raise RuntimeError("; ".join(f"{error.type}: {error.message}" for error in errors) or "it is not ok.")
        traces = [trace for trace in episode.traces if trace.agent.name == self.policy]
        if len(traces) != 1:
            raise RuntimeError(
                f"the agent {self.policy!r} played {len(traces)} times in one episode, instead of once."
            )
        (trace,) = traces
        unscored = [name for name, reward in trace.rewards.items() if reward is None]
        if unscored or not trace.rewards:
            what = f"left the rewards {unscored} out" if unscored else "gave no reward"
            raise RuntimeError(f"the scoring {what} (it stopped by {trace.stop_condition!r}).")
        return trace

    async def _serve(self) -> None:
        """Keep what the episodes share, from the first one to the end."""
        if self._serving is None or self._serving.done():
            self._ready, self._stopping = asyncio.Event(), asyncio.Event()
            self._serving = asyncio.create_task(self._hold())
            self._loop = asyncio.get_running_loop()
            atexit.register(self.close)
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({ready, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        if self._serving.done():
            ready.cancel()
            self._serving.result()

    async def _hold(self) -> None:
        async with self.env.serving():
            self._ready.set()
            await self._stopping.wait()

    def close(self) -> None:
        """Stop what the episodes share, and the endpoint."""
        if self._serving is not None and not self._serving.done() and self._loop.is_running():

            async def stop() -> None:
                self._stopping.set()
                await asyncio.wait({self._serving}, timeout=10)

            asyncio.run_coroutine_threadsafe(stop(), self._loop).result(timeout=20)
        atexit.unregister(self.close)
        self.rollout_func.close()


def _prompt(data: Any) -> list[dict[str, str]]:
    """What a task begins with, for groups and logs: the harness makes the beginning of the conversation from it."""
    messages = [] if data.system_prompt is None else [{"role": "system", "content": data.system_prompt}]
    if isinstance(data.prompt, list):
        messages += [{"role": message.role, "content": _text(message.content)} for message in data.prompt]
    else:
        messages.append({"role": "user", "content": data.prompt or ""})
    return messages


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(getattr(part, "text", "") for part in content or [])
