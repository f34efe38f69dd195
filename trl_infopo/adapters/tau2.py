# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""τ²-bench: upstream's orchestrator, tools, user simulator and evaluator, with our policy in the agent's place."""

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from .._options import check_choice, check_number
from .._show import show
from ..rollout import StopReason, visible_messages
from ..users import Usage, UserSimulator, UserSimulatorError
from .tau2_models import LanguageModel, judged_by, load_upstream, make_simulator


if TYPE_CHECKING:
    from datasets import Dataset

DOMAINS = ("airline", "retail", "telecom")
# Upstream's names of the reasons for which we end an episode
ENDS = {StopReason.MAX_TURNS: "MAX_STEPS", StopReason.MAX_TOKENS: "CONTEXT_WINDOW_EXCEEDED"}


class Tau2Env:
    """
    A task of [τ²-bench](https://github.com/sierra-research/tau2-bench): a customer of an airline, a shop or a provider
    of mobile phones, who has tools of their own in `telecom`, talks to the agent, who has tools and a policy text.

    The episode is upstream's own: its orchestrator passes the messages, runs the tools, counts steps and errors, and
    asks its user simulator; its evaluator scores what it has recorded. Only the agent's messages come from elsewhere.

    - **Observation**: the customer's messages and the results of the tools, as upstream writes them. The prompt holds
      upstream's system prompt for its agents, with the policy text, and its greeting: see [`tau2_dataset`].
    - **Tools**: those of the domain. Names that are not there and wrong arguments count as upstream's errors.
    - **Reward**: upstream's, 0 or 1. Its parts are in `metrics`: `reward_db`, `reward_communicate` and whatever else
      the task is scored by, `steps` and `errors`.
    - **End**: in upstream's words, `user_stop`, `max_steps` or `too_many_errors`, or in ours where our limits end it.

    Where the simulator or the judge fails, the attempt is retried. When no attempts are left, the run ends with
    [`~trl_infopo.users.UserSimulatorError`]. Nothing is scored that was not played to its end.

    Models are named as in litellm, which reads their keys from the variables of their providers, such as
    `OPENAI_API_KEY`.

    Args:
        domain (`str`, *optional*, defaults to `"retail"`):
            `"airline"`, `"retail"` or `"telecom"`.
        user_model (`str`, *optional*):
            Model of the user simulator. If `None`, upstream's default.
        user_base_url (`str`, *optional*):
            Its OpenAI-compatible endpoint, such as `"http://localhost:8000/v1"`. If `None`, that of its provider.
        user_args (`dict`, *optional*):
            Further arguments of its requests. If `None`, upstream's: `{"temperature": 0.0}`.
        judge_model (`str`, *optional*):
            Model that judges what tasks of `retail` assert in words. If `None`, upstream's.
        judge_base_url (`str`, *optional*):
            Its OpenAI-compatible endpoint.
        judge_args (`dict`, *optional*):
            Further arguments of its requests. If `None`, upstream's.
        max_steps (`int`, *optional*, defaults to `200`):
            Largest number of upstream's steps: messages, and results of the tools of a message, of both sides.
        max_errors (`int`, *optional*, defaults to `10`):
            Number of tool errors, of both sides, at which the episode ends.
        seed (`int`, *optional*):
            Seed that is sent with the simulator's requests.
        timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that an attempt to ask a model may take.
        max_retries (`int`, *optional*, defaults to `4`):
            Attempts after the first.
        backoff (`float`, *optional*, defaults to `1.0`):
            Seconds before the first retry, doubled with each further one.

    Raises:
        `ImportError`: If τ²-bench is not installed.
        `ValueError`: If an argument is out of range.

    Example:

    ```python
    from functools import partial

    from trl_infopo import InfoPOConfig, InfoPOTrainer
    from trl_infopo.adapters.tau2 import Tau2Env, tau2_dataset

    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-4B",
        args=InfoPOConfig(max_turns=50, max_completion_length=16384),
        train_dataset=tau2_dataset("retail", "train"),
        environment_factory=partial(Tau2Env, "retail", user_model="gpt-4o-mini"),
    )
    ```
    """

    user: UserSimulator
    done: bool = False
    thread_safe = True

    def __init__(
        self,
        domain: str = "retail",
        *,
        user_model: str | None = None,
        user_base_url: str | None = None,
        user_args: dict | None = None,
        judge_model: str | None = None,
        judge_base_url: str | None = None,
        judge_args: dict | None = None,
        max_steps: int = 200,
        max_errors: int = 10,
        seed: int | None = None,
        timeout: float = 60.0,
        max_retries: int = 4,
        backoff: float = 1.0,
    ):
        check_choice("domain", domain, DOMAINS)
        check_number("max_steps", max_steps, integer=True, at_least=1)
        check_number("max_errors", max_errors, integer=True, at_least=1)
        if seed is not None:
            check_number("seed", seed, integer=True, at_least=0)
        tau2 = load_upstream()
        limits = {"timeout": timeout, "max_retries": max_retries, "backoff": backoff}
        self._user_model = LanguageModel(
            "user",
            user_model or tau2.config.DEFAULT_LLM_USER,
            user_base_url,
            tau2.config.DEFAULT_LLM_ARGS_USER if user_args is None else user_args,
            **limits,
        )
        self._judge = LanguageModel(
            "judge",
            judge_model or tau2.config.DEFAULT_LLM_NL_ASSERTIONS,
            judge_base_url,
            tau2.config.DEFAULT_LLM_NL_ASSERTIONS_ARGS if judge_args is None else judge_args,
            **limits,
        )
        self.domain, self.max_steps, self.max_errors, self.seed = domain, max_steps, max_errors, seed
        self.usage = Usage()
        self.tool_schemas = describe_domain(domain)[1]

    def reset(self, task_id: str, domain: str | None = None, **row) -> None:
        """
        Start an episode of a task.

        Args:
            task_id (`str`):
                Upstream's name of the task.
            domain (`str`, *optional*):
                The task's domain, which must be the environment's.
            **row:
                Other columns of the dataset, unused.

        Raises:
            `ValueError`: If the domain has no such task.
        """
        if domain not in (None, self.domain):
            raise ValueError(
                f"The dataset has a task of the `domain` {domain!r}, and the environment is one of {self.domain!r}. "
                "Give both the same, or take one environment for each domain."
            )
        tasks = load_tasks(self.domain)
        if task_id not in tasks:
            raise ValueError(f"`task_id` is {show(task_id)}, which is no task of {self.domain!r}.")
        tau2 = load_upstream()
        environment = tau2.registry.get_env_constructor(self.domain)()
        self.task = tasks[task_id]
        self.orchestrator = tau2.Orchestrator(
            domain=self.domain,
            agent=tau2.Agent(tools=environment.get_tools(), domain_policy=environment.get_policy()),
            user=make_simulator(self._user_model, environment, self.task, self.usage),
            environment=environment,
            task=self.task,
            max_steps=self.max_steps,
            max_errors=self.max_errors,
            seed=self.seed,
        )
        self.orchestrator._run_start_time, self.orchestrator._run_start_perf = tau2.get_now(), time.perf_counter()
        self.orchestrator.initialize()
        self._results = []  # of the agent's last message, each with its tool's name, until they are asked for
        self._message, self._num_calls = None, 0
        self.simulation, self.metrics, self.done = None, {}, False
        self.user = Tau2User(self)

    def on_action(self, message: dict) -> None:
        """Take the agent's next message as a whole: upstream's messages hold the text and all calls."""
        tau2 = load_upstream()
        text = visible_messages([{"role": "assistant", "content": message.get("content") or ""}])[0]["content"]
        functions = [call["function"] for call in message.get("tool_calls") or []]
        calls = []
        for function in functions:
            if isinstance(function["name"], str) and isinstance(function["arguments"], dict):
                name, arguments = function["name"], function["arguments"]
                calls.append(tau2.ToolCall(id=f"call_{self._num_calls}", name=name, arguments=arguments))
                self._num_calls += 1
        # Arguments that are no object reach no tool, and upstream cannot represent them
        self.orchestrator.num_errors += len(functions) - len(calls)
        self._results.clear()
        self._message = None
        if calls or not functions:
            self._message = tau2.AssistantMessage(
                role="assistant", content=text or None, tool_calls=calls or None, cost=0.0
            )
        elif not self.done:
            self._check_end()

    def call_tool(self, name: str, arguments: dict) -> str:
        """The result of a tool, or its error. All calls of a message are run with the first, as upstream runs them."""
        if self._message is not None:
            if self.done:  # the user said goodbye in their opening
                raise RuntimeError("The conversation has ended.")
            self._play()
            calls, self._message = self._message.tool_calls, None
            results = self.orchestrator.trajectory[-len(calls) :]
            self._results = [(call.name, result.content) for call, result in zip(calls, results, strict=True)]
        # Results of the trainer's own `tools` among them are never asked for
        return self._results.pop([called for called, _ in self._results].index(name))[1]

    def on_end(self, reason: str) -> str | None:
        """Why it ended, in upstream's words if it was upstream that ended it."""
        tau2 = load_upstream()
        orchestrator = self.orchestrator
        if orchestrator.done:
            return orchestrator.termination_reason.value
        orchestrator.done = True
        orchestrator.termination_reason = tau2.TerminationReason[ENDS.get(reason, "MAX_STEPS")]
        return None

    def get_reward(self) -> float:
        """
        Let upstream's evaluator score the episode.

        Returns:
            `float`: The reward.

        Raises:
            [`~trl_infopo.users.UserSimulatorError`]: If the judge fails.
        """
        tau2 = load_upstream()
        self.simulation = self.orchestrator._finalize()
        with judged_by(self._judge, self.task):
            info = tau2.evaluate_simulation(
                simulation=self.simulation,
                task=self.task,
                evaluation_type=tau2.EvaluationType.ALL,
                solo_mode=False,
                domain=self.domain,
            )
        self.simulation.reward_info = info
        parts = {f"reward_{kind.value.lower()}": value for kind, value in (info.reward_breakdown or {}).items()}
        steps, errors = self.orchestrator.step_count, self.orchestrator.num_errors
        self.metrics = {**parts, "steps": float(steps), "errors": float(errors)}
        return info.reward

    def _play(self) -> str | None:
        """Let upstream go on until it is the agent's turn again, and return what the user said, if they did."""
        tau2, orchestrator = load_upstream(), self.orchestrator
        orchestrator.agent.message = self._message
        while not orchestrator.done and not (
            orchestrator.to_role == tau2.Role.AGENT and orchestrator.agent.message is None
        ):
            orchestrator.step()
            self._check_end()
        last = orchestrator.trajectory[-1]
        return last.content if isinstance(last, tau2.UserMessage) and not last.is_tool_call() else None

    def _check_end(self) -> None:
        self.orchestrator._check_termination()
        self.done = self.orchestrator.done


class Tau2User:
    """
    The customer of an episode: passes what is said to upstream's simulator.

    Args:
        environment ([`Tau2Env`]):
            The environment of the episode.
    """

    def __init__(self, environment: Tau2Env):
        self._environment = environment
        self.usage = environment.usage

    def opening(self, messages: list[dict]) -> str:
        text = self._environment._play()
        if text is None:
            reason = self._environment.orchestrator.termination_reason.value
            raise UserSimulatorError(f"The simulator said nothing before the episode ended ({reason}).")
        return text

    def reply(self, messages: list[dict]) -> str | None:
        if self._environment.done:  # they said goodbye in their opening
            return None
        return self._environment._play()


def tau2_dataset(domain: str = "retail", split: str = "train", num_tasks: int | None = None) -> "Dataset":
    """
    The tasks of a domain. Prompts are what upstream's agents begin with: instructions and policy, and the greeting.

    Args:
        domain (`str`, *optional*, defaults to `"retail"`):
            `"airline"`, `"retail"` or `"telecom"`.
        split (`str`, *optional*, defaults to `"train"`):
            Upstream's split: `"train"`, `"test"`, or `"base"` for both.
        num_tasks (`int`, *optional*):
            Number of tasks, the first ones. If `None`, all.

    Returns:
        [`~datasets.Dataset`]: Rows with `prompt`, `domain` and `task_id`.

    Raises:
        `ImportError`: If τ²-bench is not installed.
        `ValueError`: If there is no such domain or split.
    """
    from datasets import Dataset

    check_choice("domain", domain, DOMAINS)
    tau2 = load_upstream()
    splits = tau2.load_task_splits(domain)
    check_choice("split", split, list(splits))
    if num_tasks is not None:
        check_number("num_tasks", num_tasks, integer=True, at_least=1)
    prompt = [
        {"role": "system", "content": describe_domain(domain)[0]},
        {"role": "assistant", "content": tau2.DEFAULT_FIRST_AGENT_MESSAGE.content},
    ]
    tasks = tau2.load_tasks(domain, split)[:num_tasks]
    return Dataset.from_list([{"prompt": prompt, "domain": domain, "task_id": task.id} for task in tasks])


@cache
def describe_domain(domain: str) -> tuple[str, list[dict]]:
    """System prompt and tools of the agents of a domain, as upstream's own agent gets them."""
    tau2 = load_upstream()
    environment = tau2.registry.get_env_constructor(domain)()
    tools = environment.get_tools()
    agent = tau2.LLMAgent(tools=tools, domain_policy=environment.get_policy(), llm="none")
    return agent.system_prompt, [tool.openai_schema for tool in tools]


@cache
def load_tasks(domain: str) -> dict[str, Any]:
    """All tasks of a domain by upstream's names."""
    return {task.id: task for task in load_upstream().load_tasks(domain, None)}
