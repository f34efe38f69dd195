# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts of agents that run their own loop, with the policy in training."""

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from importlib.util import find_spec
from threading import Condition
from typing import TYPE_CHECKING, Any
from weakref import ref

from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from .._compat import max_model_length
from .._options import LONGEST_WAIT, check_callable, check_number, check_text
from .._show import cut, show
from ..calls import FeedbackTimeout, error_text, finish, guard_event_loop, run_on, run_on_thread
from ..rollout import TokenPolicy
from .session import PendingRequest, PolicySession, RequestError
from .template import ChatTemplate


if TYPE_CHECKING:
    from trl import GRPOTrainer

logger = logging.getLogger(__name__)

BLOCKED = 30.0  # seconds without a sign of life after which the agents' event loop counts as blocked

Play = Callable[[dict[str, Any], PolicySession], float | None | Awaitable[float | None]]


def harness_reward(
    harness_reward: list[float | None],
    harness_metrics: list[dict[str, float]],
    log_metric: Callable[[str, float], None] | None = None,
    **kwargs,
) -> list[float | None]:
    """
    The reward function that goes with [`HarnessRollouts`]: what each episode's `play` returned. It logs what the
    episodes measured, as `infopo/harness/<name>`.

    Args:
        harness_reward (`list[float | None]`):
            The rewards.
        harness_metrics (`list[dict[str, float]]`):
            The `metrics` of the sessions.
        log_metric (`Callable[[str, float], None]`, *optional*):
            TRL's function that takes a number to log.
        **kwargs:
            Other arguments of reward functions, unused.

    Returns:
        `list[float | None]`: The rewards.
    """
    for metrics in harness_metrics if log_metric is not None else ():
        for name, value in metrics.items():
            log_metric(f"infopo/harness/{name}", value)
    return harness_reward


class HarnessRollouts:
    """
    A `rollout_func` for agents that run their own loop: harnesses, agent frameworks, programs, anything that queries
    an OpenAI-compatible endpoint. Each rollout gets an address of its own, at which the policy in training answers.

    Requests of concurrent rollouts are sampled in batches, by the trainer's own generation. The output holds exactly
    the tokens that the policy saw and sampled, with `env_mask` and `feedback_content_mask`, so that turns have gains.

    Args:
        play (`Callable[[dict, PolicySession], float | None]`):
            Plays one episode and returns its reward, `None` for one that cannot be scored. It gets the row of the
            dataset (with [`~trl.GRPOTrainer`], only its `prompt`) and the session, whose `base_url` the agent must
            query. An async function runs on one event loop with all the others, a plain one on a thread of its own.
            What a plain one returns is awaited if it can be, as with a lambda around an async one.
        timeout (`float`, *optional*, defaults to `3600.0`):
            Seconds that an episode may take, sampling included.
        max_retries (`int`, *optional*, defaults to `2`):
            Number of times that an episode is played again if `play` fails or takes too long. After that, the run
            stops with an error that names the episode. Each failure is logged as a warning.
        concurrency (`int`, *optional*, defaults to `64`):
            Largest number of episodes played at once.
        batch_window (`float`, *optional*, defaults to `1.0`):
            Seconds that a request waits for those of the other episodes. It does not wait once all have asked. With
            `None`, it always waits for all, so that runs are the same bit for bit, but a slow episode holds up the
            batch.
        model (`str`, *optional*, defaults to `"policy"`):
            Name by which the agent asks for the policy. Requests for other models are refused.

    Raises:
        `ImportError`: If `aiohttp` is not installed.
        `ValueError`: If an argument is out of range.

    Example:

    ```python
    from openai import AsyncOpenAI
    from trl_infopo import InfoPOTrainer
    from trl_infopo.serving import HarnessRollouts, harness_reward


    async def play(row, session):
        async with AsyncOpenAI(base_url=session.base_url, api_key=session.api_key) as client:
            answer = await client.chat.completions.create(model=session.model, messages=row["prompt"])
        return float("yes" in answer.choices[0].message.content)


    trainer = InfoPOTrainer(
        model="Qwen/Qwen3-0.6B",
        reward_funcs=harness_reward,
        train_dataset=dataset,
        rollout_func=HarnessRollouts(play),
    )
    ```
    """

    def __init__(
        self,
        play: Play,
        *,
        timeout: float = 3600.0,
        max_retries: int = 2,
        concurrency: int = 64,
        batch_window: float | None = 1.0,
        model: str = "policy",
    ):
        if find_spec("aiohttp") is None:
            raise ImportError('HarnessRollouts needs the package `aiohttp`: pip install "trl-infopo[serving]"')
        check_callable("play", play, "a function that plays an episode")
        check_number("timeout", timeout, above=0, at_most=LONGEST_WAIT, hint="the seconds that an episode may take")
        check_number("max_retries", max_retries, integer=True, at_least=0)
        check_number("concurrency", concurrency, integer=True, at_least=1)
        if batch_window is not None:
            check_number("batch_window", batch_window, at_least=0, at_most=LONGEST_WAIT, hint="or to None")
        check_text("model", model)
        self.play = play
        self.timeout = timeout
        self.max_retries = max_retries
        self.concurrency = concurrency
        self.batch_window = batch_window
        self.model = model
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._server = None
        self._changed = Condition()
        self._waiting: list[PendingRequest] = []
        self._heard = 0.0  # when the event loop last gave a sign of life
        self._template: ChatTemplate | None = None
        self._trainer: Callable[[], GRPOTrainer | None] = lambda: None

    def __call__(self, prompts: list[Any], trainer: "GRPOTrainer") -> dict[str, Any]:
        self._start(trainer)
        rows = getattr(trainer, "rollout_rows", None) or [{"prompt": prompt} for prompt in prompts]
        kind = "rollout" if trainer.model.training else "evaluation"
        names = [
            f"{kind} {i} of process {trainer.accelerator.process_index} at step {trainer.state.global_step}"
            for i in range(len(rows))
        ]
        self._waiting = []
        limit = asyncio.Semaphore(self.concurrency)
        plays = [
            asyncio.run_coroutine_threadsafe(self._play(i, dict(row), names[i], limit), self._event_loop)
            for i, row in enumerate(rows)
        ]
        for future in plays:
            future.add_done_callback(self._notify)
        error = None
        try:
            self._sample(plays, trainer)
        except Exception as exception:
            error = exception
        finally:
            for future in plays:
                future.cancel()
            self._reject(self._waiting)
        if trainer.accelerator.num_processes > 1 and not _samples_together(trainer):
            trainer._agree(False, error)
        elif error is not None:
            raise error
        return self._output(*zip(*(future.result() for future in plays), strict=True))

    def close(self) -> None:
        """Close the endpoint and its event loop. The next call opens them again."""
        if self._server is not None:
            run_on(self._event_loop, self._server.stop())
            shutdown_event_loop_in_daemon(self._thread, self._event_loop)
            self._server = self._event_loop = None

    def _start(self, trainer: "GRPOTrainer") -> None:
        """Make what needs a trainer, or a thread."""
        if trainer.accelerator.num_processes > 1 and not hasattr(trainer, "_agree"):
            raise ValueError(
                "`rollout_func` is a HarnessRollouts and there are several processes, which a GRPOTrainer does not "
                "let agree on failures. Take an InfoPOTrainer, with `info_gain_coef=0.0` for GRPO."
            )
        if self._trainer() is not trainer:
            self._template = ChatTemplate(
                trainer._tokenizer, trainer.chat_template, trainer.chat_template_kwargs, trainer.eos_token_ids
            )
            self._trainer = ref(trainer)
        self._template.forget()
        if self._event_loop is None:
            self._thread, self._event_loop, ready = start_event_loop_in_daemon(name="trl-infopo-serving")
            ready.wait()
            guard_event_loop(self._event_loop)
        if self._server is None:
            from .server import PolicyServer

            self._server = PolicyServer()
            run_on(self._event_loop, self._server.start())

    async def _play(
        self, i: int, row: dict[str, Any], name: str, limit: asyncio.Semaphore
    ) -> tuple[PolicySession, float | None]:
        """One row's episode, played as often as it takes and the retries allow."""
        async with limit:
            for attempt in range(self.max_retries + 1):
                session = PolicySession(name, self.model, self._template, partial(self._submit, i))
                self._server.open(session)
                try:
                    return _check_result(session, await self._try(row, session))
                except Exception as error:
                    failure = error
                finally:
                    self._server.close(session)
                if session.refusal is not None:
                    raise session.refusal
                if isinstance(failure, ResultError):
                    raise failure
                if session.is_full and session.episode.num_actions:
                    logger.warning(
                        "%s is not scored. Its conversation has as many tokens as it may have, upon which the agent "
                        "failed: %s Raise `max_completion_length`, or let `play` look at `session.is_full` and "
                        "return a reward.",
                        name,
                        _cause(failure),
                    )
                    return _check_result(session, None)
                if attempt < self.max_retries:
                    logger.warning("The agent of %s failed and plays anew: %s", name, _cause(failure))
        attempts = f"{self.max_retries + 1} attempt{'s' if self.max_retries else ''}"
        raise RuntimeError(f"The agent of {name} failed in {attempts}: {_cause(failure)}") from failure

    async def _try(self, row: dict[str, Any], session: PolicySession) -> Any:
        """What `play` returns, or what goes wrong."""
        playing = asyncio.ensure_future(_call(partial(self.play, row, session)))
        playing.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            reward = await finish(playing, self.timeout)
        except FeedbackTimeout:
            raise TimeoutError(
                f"it took longer than {self.timeout:g} s. Raise `timeout`, or see why it takes so long."
            ) from None
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling():  # as the run stops
                raise
            raise RuntimeError("it was cancelled.") from None
        finally:
            playing.cancel()
        if session.refusal is not None:
            raise session.refusal
        if not session.episode.num_actions:
            raise RuntimeError(f"`play` returned {show(reward)} and had no answer of the policy.")
        await session.settle()
        if not session.is_delivered:
            raise ConnectionError("it hung up before it had the policy's last answer.")
        return reward

    def _submit(self, i: int, request: PendingRequest) -> None:
        request.index = i
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()

    def _notify(self, _: Any = None) -> None:
        with self._changed:
            self._changed.notify()

    def _sample(self, plays: list[Future], trainer: "GRPOTrainer") -> None:
        """Answer requests in batches, until all episodes are over."""
        policy = TokenPolicy(
            partial(self._generate, trainer),
            lambda episode, ids, context: self._template.parse(ids, context, list(episode.tools.values())),
            lambda feedback: self._template.feedback(feedback)[0],
            eos_token_ids=trainer.eos_token_ids,
            max_completion_length=trainer.max_completion_length,
            max_model_length=max_model_length(trainer),
        )
        together, goes_on = _samples_together(trainer), True
        while goes_on:
            error, batch = None, []
            try:
                batch = self._next_batch(plays)
            except Exception as exception:
                error = exception
            goes_on = bool(batch)
            if together:
                goes_on = trainer._agree(goes_on, error)
            elif error is not None:
                raise error
            if goes_on:
                self._answer(batch, policy)

    def _next_batch(self, plays: list[Future]) -> list[PendingRequest]:
        """The requests to answer next, in the order of their rows; none when all episodes are over."""
        self._heard = time.monotonic()
        with self._changed:
            while True:
                failed = next((play for play in plays if play.done() and play.exception() is not None), None)
                if failed is not None:
                    raise failed.exception()
                num_playing = min(self.concurrency, sum(not play.done() for play in plays))
                self._reject([request for request in self._waiting if not request.session.is_open])
                self._waiting = [request for request in self._waiting if request.session.is_open]
                if not num_playing:
                    return []
                patience = 1.0
                if self._waiting and self.batch_window is not None:
                    oldest = min(request.since for request in self._waiting)
                    patience = min(patience, oldest + self.batch_window - time.monotonic())
                if len(self._waiting) >= num_playing or patience <= 0:
                    batch, self._waiting = self._waiting, []
                    return sorted(batch, key=lambda request: request.index)
                self._check_event_loop()
                self._changed.wait(patience)

    def _check_event_loop(self) -> None:
        """Raise an error where the loop that all agents and the endpoint share has stopped, or is blocked."""
        if not self._event_loop.is_running():
            raise RuntimeError("The event loop of the agents has stopped. Has one of them closed it?")
        if time.monotonic() - self._heard > BLOCKED:
            raise RuntimeError(
                f"An async `play` has blocked the event loop of all agents for {BLOCKED:g} s. Let it await instead of "
                "waiting (`AsyncOpenAI` for `OpenAI`, `await asyncio.sleep` for `time.sleep`), or make it a plain "
                "function."
            )
        self._event_loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _answer(self, batch: list[PendingRequest], policy: TokenPolicy) -> None:
        """Let the policy act in the episodes of a batch, and tell the agents what it said."""
        episodes = [request.session.episode for request in batch]
        num_actions = [episode.num_actions for episode in episodes]
        self._batch = batch
        try:
            policy(episodes)
        except BaseException:
            self._reject(batch)
            raise
        for request, before in zip(batch, num_actions, strict=True):
            session = request.session
            if session.episode.num_actions == before:
                self._resolve(request, session.overflow())
            else:
                is_cut = session.episode.completion_ids[-1] not in policy.eos_token_ids
                self._resolve(request, session.completion(is_cut))

    def _generate(
        self, trainer: "GRPOTrainer", contexts: list[list[int]]
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Sample with the trainer, and cut what is longer than a request allows."""
        if hasattr(trainer, "_sample_together"):
            sampled, logprobs = trainer._sample_together(contexts, padding=[trainer.eos_token_ids[0]])
        elif contexts:
            sampled, logprobs = trainer._generate_single_turn(contexts, None, {}, num_generations=1)
        else:
            return [], None
        # Episodes that have no room for an action were stopped before
        limits = [request.max_tokens for request in self._batch if request.session.episode.stop_reason is None]
        sampled = [ids[:limit] for ids, limit in zip(sampled, limits, strict=True)]
        if logprobs is not None:
            logprobs = [values[:limit] for values, limit in zip(logprobs, limits, strict=True)]
        return sampled, logprobs

    def _reject(self, requests: list[PendingRequest]) -> None:
        """Refuse to answer, so that no agent waits: the run stops, or gave the agent up."""
        for request in requests:
            self._resolve(request, RequestError("The run stops.", "run_stopped", status=410))

    def _resolve(self, request: PendingRequest, outcome: dict | RequestError) -> None:
        def resolve() -> None:
            if request.future.done():
                return
            if isinstance(outcome, RequestError):
                request.future.set_exception(outcome)
                request.future.exception()  # there may be nobody left to retrieve it
            else:
                request.future.set_result(outcome)

        self._event_loop.call_soon_threadsafe(resolve)

    def _output(self, sessions: list[PolicySession], rewards: list[float | None]) -> dict[str, Any]:
        """What TRL takes from a `rollout_func`."""
        episodes = [session.episode for session in sessions]
        logprobs = [episode.logprobs for episode in episodes]
        return {
            "prompt_ids": [episode.prompt_ids for episode in episodes],
            "completion_ids": [episode.completion_ids for episode in episodes],
            "logprobs": None if None in logprobs else logprobs,
            "env_mask": [episode.action_mask for episode in episodes],
            "feedback_content_mask": [session.content_mask() for session in sessions],
            "harness_reward": list(rewards),
            "harness_metrics": [session.metrics for session in sessions],
            "conversation": [session.messages for session in sessions],
        }


class ResultError(ValueError):
    """`play` handed back something that is no reward, or no metric."""


def _check_result(session: PolicySession, reward: Any) -> tuple[PolicySession, float | None]:
    """The session and the reward of an episode, whose numbers are checked."""
    value = None if reward is None else _finite(reward)
    if value is None and reward is not None:
        raise ResultError(
            f"`play` returned {show(reward)} as the reward of {session.name}. Return a finite number, or None for an "
            "episode that cannot be scored."
        )
    metrics = session.metrics
    if not isinstance(metrics, dict) or not all(isinstance(name, str) and name for name in metrics):
        raise ResultError(
            f"`session.metrics` of {session.name} is {show(metrics)}, set it to a dict of numbers by name."
        )
    session.metrics = {name: _finite(metric) for name, metric in metrics.items()}
    for name, metric in session.metrics.items():
        if metric is None:
            raise ResultError(
                f"`session.metrics` of {session.name} has {show(metrics[name])} for {show(name)}. Set finite numbers, "
                "and leave a metric out where it is not known."
            )
    return session, value


def _finite(value: Any) -> float | None:
    """A value as a finite number, `None` where it is none."""
    try:
        number = float(value)
    except Exception:  # what `float` raises may be anything, as of a tensor
        return None
    return number if not isinstance(value, str | bytes) and math.isfinite(number) else None


def _cause(error: Exception) -> str:
    kind = type(error).__name__
    return f"{kind}: {cut(error_text(error) or kind)}"


async def _call(play: Callable[[], Any]) -> Any:
    """What `play` returns: an async one here, a plain one on a thread, and what it returns is awaited if it can be."""
    result = play() if _is_async(play) else await asyncio.wrap_future(run_on_thread(play))
    return await result if inspect.isawaitable(result) else result


def _is_async(play: Callable) -> bool:
    while isinstance(play, partial):
        play = play.func
    return inspect.iscoroutinefunction(play) or inspect.iscoroutinefunction(type(play).__call__)


def _samples_together(trainer: "GRPOTrainer") -> bool:
    """Whether all processes must sample at the same time, and so agree on every round."""
    return hasattr(trainer, "_generates_together") and trainer._generates_together()
