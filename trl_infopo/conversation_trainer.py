# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""`GRPOTrainer` with conversations: environments may have a user, and decide when an episode ends."""

import atexit
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer
from trl.chat_template_utils import get_training_chat_template
from trl.trainer.utils import shutdown_event_loop_in_daemon, start_event_loop_in_daemon

from ._checkpoints import WholeCheckpoints
from ._checks import CheckedFactory, check_dataset, check_names_of_tools
from ._compat import NoTools, is_malformed_call, max_model_length, parse_action, parsing_safely, without_tools
from ._environment import find_metrics, find_tools, find_user
from ._progress import ProgressLine
from ._settings import warn_of_idle_weights
from ._show import as_json_text, as_rows, show
from .calls import ToolGuard, encodable_message, error_text, guard_event_loop
from .metrics import user_metrics
from .rollout import Episode, StopReason, TokenPolicy, begin, converse, gather_rewards, infer_stop_reason
from .turns import render_feedback
from .users import UserSimulatorError
from .users.base import Usage


STOP = "infopo/stop/"


class ConversationTrainer(WholeCheckpoints, GRPOTrainer):
    """
    A [`~trl.GRPOTrainer`] whose environments may have a `user` whom the agent talks to, and may end episodes with
    `done`.

    Its conversation loop runs where an environment asks for it, with a `user` that can `reply`, annotated in the class
    or set in `__init__`, with a `done` in the class body, with `tool_schemas`, or with an `on_end` that TRL cannot
    show to an agent. It overrides:

    - `_tool_call_loop`, to let assistant and user talk. Where no environment asks for it, TRL's own loop runs;
    - `_generate`, to make encodable what environments and the policy bring into it, and to let users speak first;
    - `_get_tool_suffix_ids`, to render only once what several rollouts of a batch get;
    - `_generate_single_turn`, as users who speak first make the prompts of a group different;
    - `_calculate_rewards`, to await the rewards of environments concurrently, to refuse infinite ones, and to warn
      of users whom the agent does not talk to;
    - `_generate_and_score_completions`, so that a `sys.exit` in a reward or a `reset` does not end the run as if it
      were complete;
    - `log`, to write a completions table whatever was sampled and returned.

    It takes the arguments of [`InfoPOTrainer`], which adds InfoPO to it.

    Attributes:
        rollout_rows (`list[dict]`):
            The rows of the batch that is played, for a `rollout_func`, to which TRL passes only the prompts.
    """

    rollout_rows: list[dict] | None = None

    # Defaults for a trainer that was not made by `__init__`, as in some of TRL's tests
    _converses = False
    _progress = ProgressLine(is_main_process=False, is_shown=False)
    _episode_facts: list[dict] | None = None  # of the last batch, where there are tools or environments
    _has_reset = True  # whether all processes know that the environments of the batch could be reset

    def __init__(self, model, reward_funcs, args, **kwargs):
        self._converses, tool_checks, factories = False, nullcontext(), {}
        self._rendered, has_tools = {}, bool(kwargs.get("tools"))
        if (factory := kwargs.get("environment_factory")) is not None:
            if isinstance(factory, dict):
                factories = {name: CheckedFactory(make, args.seed) for name, make in factory.items()}
                kwargs["environment_factory"] = factories
            else:
                factories = {None: CheckedFactory(factory, args.seed)}
                kwargs["environment_factory"] = factories[None]
            self._converses = any(factory.converses for factory in factories.values())
            check_names_of_tools(kwargs.get("tools") or [], factories.values())
            has_tools |= any(factory.tools for factory in factories.values())
            if self._converses and not has_tools:
                tool_checks = without_tools()

        has_turns = self._converses or has_tools
        if factories and not has_turns and (args.info_gain_coef != 0 or args.log_information_gain):
            kind = next(iter(factories.values())).kind
            warnings.warn(
                f"`{kind.__name__}` has neither tools nor a `user`, so that nothing comes back "
                "and no turn has a gain. Give it methods with docstrings as tools, or declare a user in the class "
                "body: `user: UserSimulator`.",
                stacklevel=1,
            )
        for name in ("train_dataset", "eval_dataset"):
            check_dataset(name, kwargs.get(name), factories, has_turns)
        with tool_checks:
            super().__init__(model, reward_funcs, args=args, **kwargs)

        # TRL asks one environment after the other for its reward
        self._kinds = list(dict.fromkeys(factory.kind for factory in factories.values() if factory.has_reward))
        if self._kinds:
            self.reward_funcs[-len(self._kinds) :] = [partial(self._reward_kind, kind) for kind in self._kinds]
        self._measured_names: list[str] = []  # of the metrics of environments
        self._event_loop = self.async_loop if self._has_async_funcs else None

        if not self.is_deepspeed_enabled:  # DeepSpeed itself keeps weights in float32
            warn_of_idle_weights(self.model, args.learning_rate)
        self._progress = ProgressLine(self.accelerator.is_main_process, not args.disable_tqdm)
        if self._has_async_funcs:
            guard_event_loop(self.async_loop)
        if self._converses:
            # TRL takes the methods that we call ourselves for tools, and does not see tools with a schema
            for name, factory in factories.items():
                self._env_tools[name] = [*self._standalone_tools, *factory.tools.values()]
            self.tools = [tool for tools in self._env_tools.values() for tool in tools] or NoTools()
            self._prepare_conversations()
        if args.max_turns is not None:
            self.max_tool_calling_iterations = args.max_turns - 1

    def _prepare_conversations(self) -> None:
        """Let assistant and user talk, with or without tools."""
        if self._is_vlm:
            raise ValueError(
                f"`processing_class` is a {type(self.processing_class).__name__}, but conversations with a user are "
                "text. Pass the tokenizer of a language model, or take an environment without `user`, `done` and "
                "`tool_schemas`."
            )
        self._prefixes = {}
        try:
            self._render_feedback([{"role": "user", "content": "dummy"}])
        except ValueError:
            self.chat_template = get_training_chat_template(self.processing_class)
            self._render_feedback([{"role": "user", "content": "dummy"}])
        if not self._has_async_funcs:
            self.async_loop_thread, self.async_loop, ready = start_event_loop_in_daemon(name="InfoPOTrainer-AsyncLoop")
            ready.wait()
            atexit.register(shutdown_event_loop_in_daemon, self.async_loop_thread, self.async_loop)
            guard_event_loop(self.async_loop)
            self._event_loop = self.async_loop

    def _generate_and_score_completions(self, inputs):
        self._rendered, self._has_reset = {}, not self.environment_factories
        self.rollout_rows = inputs
        try:
            try:
                return super()._generate_and_score_completions(inputs)
            except SystemExit as error:
                raise RuntimeError(
                    f"A `reset`, a reward or a `rollout_func` called `sys.exit({show(error.code)})`, which would end "
                    "the run as if it were complete. Raise an error there, or return."
                ) from error
        except Exception as error:
            if not self._has_reset:  # the other processes wait in `_generate`
                self._raise_on_all(error)
            raise

    def _generate(self, prompts):
        if not self._has_reset:
            self._has_reset = True
            self._raise_on_all(None)
        prompts[:] = encodable_message(prompts)
        if self._converses:
            prompts[:] = self._begin(prompts)
        text = f"step {self.state.global_step + 1}: sampling {len(prompts)} rollouts"
        with self._progress.at(text), parsing_safely():
            return super()._generate(prompts)

    def _begin(self, prompts: list[list[dict]]) -> list[list[dict]]:
        """Make the episodes of a batch, and let users speak first. Returns the prompts with what they say."""
        standalone = {tool.__name__: tool for tool in self._standalone_tools}
        self._episodes = [
            Episode(prompt, environment, standalone | find_tools(environment), self._episode_name(i))
            for i, (prompt, environment) in enumerate(zip(prompts, self.environments, strict=True))
        ]
        self._usage_before = self._user_usage()
        with self._progress.at(f"step {self.state.global_step + 1}: starting {len(prompts)} conversations"):
            self._has_openings = begin(
                self._episodes,
                self.async_loop,
                concurrency=self.args.user_concurrency,
                feedback_timeout=self.args.feedback_timeout,
                synchronize=self._agree if self.accelerator.num_processes > 1 else None,
            )
        return [episode.prompt for episode in self._episodes]

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        if self._converses and self._has_openings:
            # With more, vLLM would sample all continuations of a group from its first prompt
            num_generations = 1
        was_training = self.model.training
        output = super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        if self.model.training != was_training:  # TRL's continuous batching ends an evaluation in training mode
            self.model.train(was_training)
        return output

    def _tool_call_loop(self, prompts, prompt_ids, completion_ids, completions, logprobs, images, multimodal_fields):
        max_turns = self.max_tool_calling_iterations + 1
        if not self._converses:
            guards = self._guard_tools()
            output = super()._tool_call_loop(
                prompts, prompt_ids, completion_ids, completions, logprobs, images, multimodal_fields
            )
            self._raise_together(guards)
            _, completions, completion_ids, _, _, num_failures, _ = output
            stop_reasons = [
                infer_stop_reason(messages, ids, self.eos_token_ids, max_turns, self.max_completion_length)
                for messages, ids in zip(completions, completion_ids, strict=True)
            ]
            self._log_conversations(stop_reasons, [num_failures, sum(guard.num_timeouts for guard in guards)])
            self._episode_facts = [{"stop_reason": reason} for reason in stop_reasons]
            return output
        if images is not None:
            raise ValueError(
                "The rollouts hold images, which are not supported where an environment has a `user`, a `done` or "
                "`tool_schemas`. Train on text, or take an environment without them."
            )
        policy = TokenPolicy(
            partial(self._sample, padding=min(prompt_ids, key=len)),
            self._parse,
            self._render_feedback,
            eos_token_ids=self.eos_token_ids,
            max_completion_length=self.max_completion_length,
            max_model_length=max_model_length(self),
            is_malformed=partial(is_malformed_call, self._tokenizer),
        )
        episodes = self._episodes
        for i, episode in enumerate(episodes):
            episode.prompt_ids = prompt_ids[i]
            policy.record(episode, completions[i][0], completion_ids[i], None if logprobs is None else logprobs[i])
        converse(
            episodes,
            policy,
            self.async_loop,
            max_turns=max_turns,
            concurrency=self.args.user_concurrency,
            min_ready_fraction=self.args.min_ready_fraction,
            feedback_timeout=self.args.feedback_timeout,
            synchronize=self._agree if self.accelerator.num_processes > 1 else None,
        )
        tokens, errors = (after - before for after, before in zip(self._user_usage(), self._usage_before, strict=True))
        failures = [
            (e.num_tool_failures, e.num_tool_timeouts, e.num_malformed_calls, e.num_empty_messages) for e in episodes
        ]
        self._log_conversations(
            [episode.stop_reason for episode in episodes],
            [sum(counts) for counts in zip(*failures, strict=True)],
            [
                sum(episode.num_replies for episode in episodes),
                sum(episode.reply_seconds for episode in episodes),
                tokens,
                errors,
            ],
        )
        self._episode_facts = [
            {
                "stop_reason": episode.stop_reason,
                "tool_calls": episode.num_tool_calls,
                "tool_failures": episode.num_tool_failures,
                "user_replies": episode.num_replies,
                "user_seconds": episode.reply_seconds,
            }
            for episode in episodes
        ]
        if all(e.stop_reason == StopReason.USER_ENDED and e.num_actions == 1 for e in episodes):
            warnings.warn(
                "Every user of a batch ended the conversation on the first message. Does `reply` return None where it "
                "should return text, such as at its end?",
                stacklevel=1,
            )
        return (
            [episode.action_mask for episode in episodes],
            [episode.completion for episode in episodes],
            [episode.completion_ids for episode in episodes],
            None if logprobs is None else [episode.logprobs for episode in episodes],
            sum(episode.num_tool_calls for episode in episodes),
            sum(episode.num_tool_failures for episode in episodes),
            [[] for _ in episodes],
        )

    def _episode_name(self, i: int) -> str:
        return f"rollout {i} of process {self.accelerator.process_index} at step {self.state.global_step}"

    def _guard_tools(self) -> list[ToolGuard]:
        """Wrap the tools of each rollout in a guard, for TRL's own loop."""
        guards = [ToolGuard(self.args.feedback_timeout) for _ in self._sync_tool_dicts]
        for i, guard in enumerate(guards):
            self._sync_tool_dicts[i] = {name: guard.wrap(tool) for name, tool in self._sync_tool_dicts[i].items()}
            self._async_tool_dicts[i] = {
                name: guard.wrap_async(tool) for name, tool in self._async_tool_dicts[i].items()
            }
        return guards

    def _raise_together(self, guards: list[ToolGuard]) -> None:
        """Raise, on all processes, what users have raised inside tools on any process."""
        failed = next((i for i, guard in enumerate(guards) if guard.error is not None), None)
        error = None
        if failed is not None:
            cause = guards[failed].error
            error = UserSimulatorError(f"The user of {self._episode_name(failed)} failed: {error_text(cause)}")
            error.__cause__ = cause
        self._raise_on_all(error)

    def _raise_on_all(self, error: Exception | None) -> None:
        """Raise, on all processes, what went wrong on any process."""
        if self.accelerator.num_processes > 1:
            self._agree(False, error)
        elif error is not None:
            raise error

    def _sample(
        self, contexts: list[list[int]], padding: list[int]
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Continue contexts, and show how many there are."""
        self._progress.text = (
            f"step {self.state.global_step + 1}: sampling, {len(contexts)} of {len(self.environments)} rollouts go on"
        )
        return self._sample_together(contexts, padding)

    def _sample_together(
        self, contexts: list[list[int]], padding: list[int]
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Continue contexts. Where processes must generate together, each gets as many as the busiest one."""
        num_contexts = len(contexts)
        if self._generates_together():
            (most,) = self._max_over_processes([num_contexts])
            contexts = contexts + [padding] * (most - num_contexts)
        if not contexts:
            return [], None
        completion_ids, logprobs = self._generate_single_turn(contexts, None, {}, num_generations=1)
        return completion_ids[:num_contexts], None if logprobs is None else logprobs[:num_contexts]

    def _generates_together(self) -> bool:
        """Whether a process that generates alone would wait for the others forever."""
        if self.accelerator.num_processes == 1:
            return False
        is_sharded = self._dist.is_zero3 or self._dist.is_fsdp
        if not self.use_vllm:
            return is_sharded
        # An engine that slept is given the weights again, which all processes gather
        gathers = self.args.vllm_enable_sleep_mode and is_sharded
        return self.vllm_mode == "server" or self.vllm_tensor_parallel_size > 1 or gathers

    def _parse(self, episode: Episode, ids: list[int], context: list[int]) -> dict:
        return parse_action(self._tokenizer, ids, context, list(episode.tools.values()))

    def _get_tool_suffix_ids(self, tool_messages):
        if self._is_vlm:  # messages may hold images
            return super()._get_tool_suffix_ids(tool_messages)
        return self._render_once(tool_messages, super()._get_tool_suffix_ids)

    def _render_feedback(self, feedback: list[dict]) -> list[int]:
        """Token ids that feedback adds to a conversation."""
        if feedback[0]["role"] == "tool":
            return self._get_tool_suffix_ids(feedback)
        return self._render_once(feedback, self._render_messages)

    def _render_messages(self, feedback: list[dict]) -> list[int]:
        template = (self.chat_template, self._prefixes)
        return render_feedback(self._tokenizer, feedback, self.eos_token_ids, *template, **self.chat_template_kwargs)

    def _render_once(self, feedback: list[dict], render: Callable[[list[dict]], list[int]]) -> list[int]:
        """Many rollouts of a batch get the same feedback."""
        key = repr(feedback)
        if key not in self._rendered:
            self._rendered[key] = render(feedback)
        return self._rendered[key]

    def _agree(self, is_active: bool, error: Exception | None) -> bool:
        """Whether any process goes on; if something failed on one, all of them raise."""
        failure = None if error is None else (isinstance(error, UserSimulatorError), error_text(error))
        states = gather_object([(is_active, failure)])
        if error is not None:
            raise error
        for _, failure in states:
            if failure is not None:
                is_user, message = failure
                raise UserSimulatorError(message) if is_user else RuntimeError(f"Another process failed: {message}")
        return any(goes_on for goes_on, _ in states)

    def _user_usage(self) -> tuple[int, int]:
        """Tokens and errors of this process's users so far, each user counted once."""
        users = {id(user): user for user in map(find_user, self.environments) if hasattr(user, "usage")}
        usages = [user.usage for user in users.values() if isinstance(user.usage, Usage)]
        return sum(usage.tokens for usage in usages), sum(usage.errors for usage in usages)

    def _log_conversations(
        self, stop_reasons: list[StopReason | str], failures: list[int], users: list[float] | None = None
    ) -> None:
        """
        Log how the episodes of all processes ended, what went wrong in them, and what their users did.

        Args:
            stop_reasons (`list[StopReason | str]`):
                Those of this process's episodes.
            failures (`list[int]`):
                Number of tool calls that failed, of those that took too long, of those that could not be parsed, and
                of messages that said nothing.
            users (`list[float]`, *optional*):
                Number of replies, seconds, tokens and errors.
        """
        ends = gather_object([str(reason) for reason in stop_reasons])
        # A reason of an environment's own counts 0 in batches without it, for the mean over the steps of a log
        logged = self._metrics["train" if self.model.training else "eval"]
        known = [name.removeprefix(STOP) for name in logged if name.startswith(STOP)]
        num_batches = len(logged[f"{STOP}{StopReason.ANSWERED}"])
        metrics = {}
        for reason in dict.fromkeys([*map(str, StopReason), *known, *ends]):
            values = logged[f"{STOP}{reason}"]
            values += [0.0] * (num_batches - len(values))
            metrics[f"stop/{reason}"] = ends.count(reason) / len(ends)
        counts = torch.tensor([[*failures, *(users or [])]], dtype=torch.float, device=self.accelerator.device)
        totals = self.accelerator.gather(counts).sum(dim=0).tolist()
        names = ("tools/failures", "tools/timeouts", "malformed_calls", "empty_messages")
        metrics |= dict(zip(names, totals[: len(failures)], strict=False))
        if users is not None:
            metrics |= user_metrics(*totals[len(failures) :], num_rollouts=len(ends))
        self._log_infopo(metrics)

    def _log_infopo(self, metrics: dict[str, float]) -> None:
        """Add the defined values to the metrics of this mode: trackers cannot draw undefined ones."""
        mode = "train" if self.model.training else "eval"
        for name, value in metrics.items():
            if math.isfinite(value):
                self._metrics[mode][f"infopo/{name}"].append(value)

    def log(self, logs, *args, **kwargs):
        whole, logs_completions = self._logs, self.log_completions
        # Resumed between two uses of rollouts, it has none to show, and an empty table would replace an earlier one
        self.log_completions = logs_completions and len(whole["prompt"]) > 0
        if self.log_completions and self.accelerator.is_main_process:
            prompts = [as_rows(messages) for messages in whole["prompt"]]
            completions = [as_rows(messages, is_sampled=True) for messages in whole["completion"]]
            if "wandb" in self.args.report_to:  # its tables cannot mix messages with and without calls
                prompts, completions = (
                    [text if isinstance(text, str) else as_json_text(text) for text in texts]
                    for texts in (prompts, completions)
                )
            self._logs = {**whole, "prompt": prompts, "completion": completions}
        try:
            super().log(logs, *args, **kwargs)
        finally:
            self._logs, self.log_completions = whole, logs_completions

    def _max_over_processes(self, counts: list[int]) -> list[int]:
        """Elementwise maximum over all processes."""
        counts = torch.tensor([counts], device=self.accelerator.device)
        return self.accelerator.gather(counts).amax(dim=0).tolist()

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        if self.environments and not self._converses:
            self._check_forgotten_users()
        self._rewards, self._reward_error = None, None
        rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if self._kinds:
            self._raise_on_all(self._reward_error)
        elif self.environments:
            self._measure(self.environments, self._log_completion_extra, self._log_metric)
            self._raise_on_all(self._reward_error)
        if (infinite := rewards_per_func.isinf().any(dim=0)).any():
            name = self.reward_func_names[infinite.nonzero()[0].item()]
            raise ValueError(
                f"The reward `{name}` is infinite for a rollout, which would make the weights NaN. Return a finite "
                "number, or None for a rollout that cannot be scored."
            )
        self._log_infopo({"unscored_rollouts": rewards_per_func.isnan().all(dim=1).sum().item()})
        return rewards_per_func

    def _reward_kind(self, kind: type, /, environments: list, log_extra, log_metric, **kwargs) -> list[Any]:
        """
        The rewards of the environments of one class, None for the others. When TRL asks for the first class, those of
        all are awaited concurrently, and what the environments measured is logged. A failure waits until all processes
        know of it.
        """
        if self._rewards is None:
            episodes = [
                Episode([], environment, name=self._episode_name(i))
                for any_kind in self._kinds
                for i, environment in enumerate(environments)
                if type(environment) is any_kind
            ]
            try:
                rewards = gather_rewards(
                    episodes, self._event_loop, self.args.user_concurrency, self.args.feedback_timeout
                )
            except Exception as error:
                self._reward_error, rewards = error, [0.0] * len(episodes)
            self._measure(environments, log_extra, log_metric)
            self._rewards = {id(e.environment): reward for e, reward in zip(episodes, rewards, strict=True)}
        return [self._rewards[id(e)] if type(e) is kind else None for e in environments]

    def _measure(self, environments: list, log_extra, log_metric) -> None:
        """
        Log what environments measured. The table of completions has a column for whatever one ever measured. A failure
        waits until all processes know of it.
        """
        try:
            measured = [find_metrics(environment) for environment in environments]
        except Exception as error:
            self._reward_error, measured = self._reward_error or error, [{}] * len(environments)
        names = [name for metrics in measured for name in metrics]
        if self.accelerator.num_processes > 1:
            names = gather_object(names)
        for name in dict.fromkeys(names):
            if name not in self._measured_names:
                self._measured_names.append(name)
                self._logs["extra"][name].extend([None] * len(self._logs["prompt"]))
        for name in self._measured_names:
            log_extra(name, [metrics.get(name) for metrics in measured])
        for metrics in measured:
            for name, value in metrics.items():
                log_metric(f"infopo/environment/{name}", value)

    def _check_forgotten_users(self) -> None:
        """Warn of a user whom `reset` sets and the class does not declare: the agent does not talk to them."""
        forgotten = next((env for env in self.environments if find_user(env) is not None), None)
        if forgotten is None:
            return
        name = type(forgotten).__name__
        text = (
            f"`{name}.reset` set a `user` that can reply, of which `{name}` says nothing before, so that the agent "
            "does not talk to it. If it should, declare it in the class body: `user: UserSimulator`."
        )
        if not self.tools:
            raise ValueError(text)
        warnings.warn(text, stacklevel=1)
