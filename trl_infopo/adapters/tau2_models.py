# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The language models of τ²-bench, its user simulator and its judge: at any endpoint, and never failing in silence."""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

from .._options import LONGEST_WAIT, check_number, check_text
from .._secrets import without_secrets
from .._show import show
from ..calls import call, error_text
from ..users import Usage, UserSimulatorError
from ..users.endpoint import MAX_WAIT, find_base_url, find_key
from ..users.responses import RETRIED_STATUSES


INSTALL = """\
`trl_infopo.adapters.tau2` needs τ²-bench, tested with 1.0.1. It is not on PyPI, where `tau2` is something else:
    git clone --branch v1.0.1 https://github.com/sierra-research/tau2-bench && pip install ./tau2-bench
    export TAU2_DATA_DIR=$PWD/tau2-bench/data
It asks for Python 3.12; with 3.11 it runs as well, installed with `pip install --ignore-requires-python`."""

Answer = TypeVar("Answer")
_judge: ContextVar[tuple["LanguageModel", Any] | None] = ContextVar("judge", default=None)


class LanguageModel:
    """
    A model that upstream asks through litellm, with our own retries.

    Args:
        role (`str`):
            `"user"` or `"judge"`, as the options are called.
        name (`str`):
            Its name in litellm, or at the endpoint.
        base_url (`str`, *optional*):
            OpenAI-compatible endpoint. If `None`, that of its provider.
        arguments (`dict`):
            Further arguments of its requests.
        timeout (`float`):
            Seconds that an attempt may take.
        max_retries (`int`):
            Attempts after the first.
        backoff (`float`):
            Seconds before the first retry, doubled with each further one.

    Raises:
        `ValueError`: If an argument is out of range, or there is no API key for the endpoint.
    """

    def __init__(
        self,
        role: str,
        name: str,
        base_url: str | None,
        arguments: dict,
        *,
        timeout: float,
        max_retries: int,
        backoff: float,
    ):
        check_text(f"{role}_model", name)
        if not isinstance(arguments, dict):
            raise ValueError(f'`{role}_args` is {show(arguments)}, set it to a dict such as {{"temperature": 0.0}}.')
        check_number("timeout", timeout, above=0, at_most=LONGEST_WAIT, hint="the seconds that an attempt may take")
        check_number("max_retries", max_retries, integer=True, at_least=0)
        check_number("backoff", backoff, at_least=0, at_most=LONGEST_WAIT)
        self.role, self.name = role, name
        self.timeout, self.max_retries, self.backoff = timeout, max_retries, backoff
        self.arguments = {"timeout": timeout, "num_retries": 0, "max_retries": 0}
        if base_url is not None:
            find_key(None)
            self.arguments |= {"api_base": find_base_url(base_url), "custom_llm_provider": "openai"}
        self.arguments |= arguments

    def ask(self, attempt: Callable[[], Answer], usage: Usage) -> Answer:
        """
        Ask until there is an answer.

        Args:
            attempt (`Callable`):
                Asks once.
            usage ([`~trl_infopo.users.Usage`]):
                Counts the attempts that fail.

        Returns:
            `Any`: What it returned.

        Raises:
            [`~trl_infopo.users.UserSimulatorError`]: If it fails in all attempts, or would go on failing.
        """
        for i in range(self.max_retries + 1):
            try:
                return call(attempt, {}, self.timeout)
            except Exception as error:  # of litellm, of any provider, and of upstream where it cannot read an answer
                usage.errors += 1
                cause = without_secrets(f"{type(error).__name__}: {error_text(error)}", self._secrets())
                status = getattr(error, "status_code", None)
            if i == self.max_retries or _is_final(status):
                break
            time.sleep(min(self.backoff * 2**i, MAX_WAIT) * random.uniform(0.5, 1.0))
        raise UserSimulatorError(
            f"The {self.role} model {self.name!r} of τ²-bench gave no answer in {i + 1} attempts. Last one: {cause}"
        )

    def _secrets(self) -> list[str]:
        """The keys of any provider, which an error may repeat."""
        keys = [value for name, value in os.environ.items() if name.endswith("_KEY")]
        return [*keys, str(self.arguments.get("api_key", ""))]


def _is_final(status: Any) -> bool:
    """Whether a request would fail again."""
    return isinstance(status, int) and 400 <= status < 500 and status not in RETRIED_STATUSES


@cache
def load_upstream() -> SimpleNamespace:
    """
    Import what is used of τ²-bench.

    Raises:
        `ImportError`: If it is not installed, or its data is not found.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no request at import
    try:
        from loguru import logger

        logger.disable("tau2")  # a library's log, on at the level DEBUG
        import httpx
        import litellm
        import tau2.config
        from tau2.agent.base_agent import HalfDuplexAgent
        from tau2.agent.llm_agent import LLMAgent
        from tau2.data_model.message import AssistantMessage, ToolCall, UserMessage
        from tau2.data_model.simulation import TerminationReason
        from tau2.evaluator import evaluator_nl_assertions
        from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
        from tau2.orchestrator.orchestrator import DEFAULT_FIRST_AGENT_MESSAGE, Orchestrator, Role
        from tau2.registry import registry
        from tau2.runner.build import build_user
        from tau2.runner.helpers import load_task_splits, load_tasks
        from tau2.user.user_simulator import UserSimulator
        from tau2.utils import DATA_DIR
        from tau2.utils.llm_utils import extract_json_from_llm_response
        from tau2.utils.utils import get_now
    except ImportError as error:
        raise ImportError(f"{INSTALL}\n({error})") from error
    if not DATA_DIR.exists():
        raise ImportError(f"{INSTALL}\n(There is no {DATA_DIR}.)")
    litellm.suppress_debug_info = True
    # Upstream's ten connections would keep the users of a batch waiting for each other
    litellm.client_session = httpx.Client(limits=httpx.Limits(max_connections=None, max_keepalive_connections=64))
    generate = evaluator_nl_assertions.generate

    class Agent(HalfDuplexAgent):
        """Says what the policy said."""

        message = None

        def get_init_state(self, message_history=None):
            return message_history

        def set_seed(self, seed):
            pass

        def generate_next_message(self, message, state):
            own, self.message = self.message, None
            return own, state

    class Simulator(UserSimulator):
        """Upstream's, asked again where it fails."""

        model: LanguageModel
        tokens_and_errors: Usage

        def generate_next_message(self, message, state):
            def ask():
                kept = state.model_copy(update={"messages": [*state.messages]})
                answer = super(Simulator, self).generate_next_message(message, kept)
                answer[0].validate()
                return answer

            reply, state = self.model.ask(ask, self.tokens_and_errors)
            self.tokens_and_errors.tokens += sum((reply.usage or {}).values())
            return reply, state

    def judge(model, messages, **options):
        """Replaces the function that asks upstream's judge, whose model is a constant."""
        if _judge.get() is None:
            return generate(model=model, messages=messages, **options)
        language_model, task = _judge.get()

        def ask():
            answer = generate(model=language_model.name, messages=messages, **language_model.arguments)
            answer.content = extract_json_from_llm_response(answer.content or "")
            check_verdict(answer.content, len(task.evaluation_criteria.nl_assertions))
            return answer

        return language_model.ask(ask, Usage())

    evaluator_nl_assertions.generate = judge
    registry.register_user(Simulator, "trl_infopo")
    return SimpleNamespace(
        config=tau2.config,
        registry=registry,
        build_user=build_user,
        load_tasks=load_tasks,
        load_task_splits=load_task_splits,
        Orchestrator=Orchestrator,
        Role=Role,
        DEFAULT_FIRST_AGENT_MESSAGE=DEFAULT_FIRST_AGENT_MESSAGE,
        TerminationReason=TerminationReason,
        AssistantMessage=AssistantMessage,
        UserMessage=UserMessage,
        ToolCall=ToolCall,
        EvaluationType=EvaluationType,
        evaluate_simulation=evaluate_simulation,
        LLMAgent=LLMAgent,
        Agent=Agent,
        get_now=get_now,
    )


def make_simulator(model: LanguageModel, environment: Any, task: Any, usage: Usage) -> Any:
    """
    Upstream's user simulator of a task.

    Args:
        model ([`LanguageModel`]):
            The model that plays the user.
        environment (`tau2.environment.environment.Environment`):
            Upstream's environment of the episode, with the user's tools.
        task (`tau2.data_model.tasks.Task`):
            The task, with the user's instructions.
        usage ([`~trl_infopo.users.Usage`]):
            Counts tokens and failed attempts.

    Returns:
        `tau2.user.user_simulator.UserSimulator`: The simulator.
    """
    user = load_upstream().build_user("trl_infopo", environment, task, llm=model.name, llm_args=model.arguments)
    user.model, user.tokens_and_errors = model, usage
    return user


@contextmanager
def judged_by(model: LanguageModel, task: Any) -> Iterator[None]:
    """Let upstream's evaluator ask a model, in this thread."""
    token = _judge.set((model, task))
    try:
        yield
    finally:
        _judge.reset(token)


def check_verdict(text: str, num_assertions: int) -> None:
    """
    Check a judge's verdict: upstream counts assertions that it leaves out as met.

    Raises:
        `ValueError`: If it does not say of each assertion whether it is met.
    """
    verdict = json.loads(text)
    results = verdict.get("results") if isinstance(verdict, dict) else None
    is_whole = isinstance(results, list) and all(
        isinstance(result, dict)
        and isinstance(result.get("metExpectation"), bool)
        and isinstance(result.get("expectedOutcome"), str)
        and isinstance(result.get("reasoning"), str)
        for result in results
    )
    if not is_whole or len(results) != num_assertions:
        raise ValueError(f"a verdict that does not judge {num_assertions} assertions: {show(text)}")
