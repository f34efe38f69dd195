# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Options of [`InfoPOTrainer`]: those of GRPO, of the method, and of conversations."""

import math
from dataclasses import dataclass, field, fields

from trl import GRPOConfig

from ._environment import check_placeholder
from ._options import LARGEST_COEF, LONGEST_WAIT, check_bool, check_choice, check_names, check_number
from ._show import show


# Inherited options in which infinity means no limit
UNLIMITED = {
    "delta",
    "entropy_coef_max",
    "entropy_target",
    "epsilon_high",
    "max_grad_norm",
    "off_policy_mask_threshold",
    "vllm_importance_sampling_cap",
    "vllm_importance_sampling_clip_max",
    "vllm_importance_sampling_clip_min",
    "vllm_server_timeout",
}
OWN_SWITCHES = (
    "info_gain_rescale",
    "info_gain_only",
    "log_information_gain",
    "log_traces",
)
LEAST_TEMPERATURE = 1e-6  # what is divided by less may overflow in half precision and in float32


@dataclass
class InfoPOConfig(GRPOConfig):
    r"""
    Configuration class for the [`InfoPOTrainer`].

    [`InfoPOConfig`] inherits every parameter from [`~trl.GRPOConfig`] and adds those of InfoPO
    (https://huggingface.co/papers/2603.00656): how the information gain of a turn is scored, how it is normalized, and
    how it is fused with the outcome. The defaults are the paper's, except for `gate`, with the coefficient of its
    user-centric games.

    Parameters:
        info_gain_coef (`float`, *optional*, defaults to `0.5`):
            Weight of the information advantages in the fused advantage (β in the paper, which uses 0.5 for
            user-centric games, 0.3 for collaborative coding and 0.1 for tool decisions). `0.0` is GRPO, with no extra
            forward pass.
        info_gain_estimator (`str`, *optional*, defaults to `"log_ratio"`):
            `"log_ratio"` compares the log-probabilities of the sampled tokens with and without the feedback (the
            paper). `"kl"` takes the exact divergence over the vocabulary at each of them: never negative, lower
            variance, more work per token.
        info_gain_normalization (`str`, *optional*, defaults to `"group"`):
            `"group"` centres and scales the gains over all scored turns of the group (the paper). `"group_scale"`
            divides by their root mean square without centring, so that a question that brings nothing is worth 0
            instead of less than not asking. `"batch"` centres and scales over all scored turns of the batch. `"none"`
            keeps the gains as they are.
        info_gain_granularity (`str`, *optional*, defaults to `"turn"`):
            `"turn"` counts the gain of a turn once in the statistics. `"token"` spreads it over the tokens of the
            action and counts each of them (the authors' code).
        info_gain_rescale (`bool`, *optional*, defaults to `True`):
            Whether to shrink information advantages whose standard deviation over the action tokens of the batch
            exceeds both 1 and that of the outcome advantages.
        info_gain_only (`bool`, *optional*, defaults to `False`):
            Whether to train on the information advantages alone, without outcome and gate (ablation).
        info_gain_engine (`str`, *optional*, defaults to `"auto"`):
            How gains are computed. `"tree"` scores all turns of a rollout in about one and a half forward passes on a
            CPU, and needs a transformer with ordinary, sliding-window or chunked attention. `"replay"` runs one row
            per turn and works for every model. `"auto"` probes the model at its first scoring and logs its choice.
        info_gain_batch_size (`int`, *optional*):
            Number of rows in a forward pass of the scoring. If `None`, the per-device batch size.
        info_gain_min_weight (`float`, *optional*, defaults to `0.0`):
            Smallest weight, gate times `info_gain_coef`, at which the rollouts of a group are scored. Groups with a
            smaller weight keep their outcome advantages, at no cost; their gains are then missing from the logs and
            from statistics over the batch (`info_gain_rescale`, `"batch"`). `0.0` scores all groups, as
            `gate="agreement"` and `info_gain_only` need.
        masked_feedback (`str`, *optional*, defaults to `"No information found."`):
            Placeholder that replaces the feedback's content in the counterfactual. An environment can have its own, as
            an attribute `masked_feedback`.
        gate (`str`, *optional*, defaults to `"agreement"`):
            `"variance"`, the paper's, opens for groups whose rewards tie and closes for groups whose rewards tell the
            rollouts apart. `"agreement"` is the variance gate times a factor in [0, 1]: how well gains have correlated
            with rewards within groups in the run so far. Where they do not, training becomes GRPO. `"none"` is 1
            everywhere (ablation).
        gate_temperature (`float`, *optional*, defaults to `0.5`):
            Temperature of the variance gate, in units of the reward (the paper uses 0.5, and 0.05 for tool decisions).
        max_turns (`int`, *optional*):
            Largest number of actions in a rollout; tool calls of the last one are not run. If `None`, only
            `max_completion_length` limits it. Cannot be set together with TRL's `max_tool_calling_iterations`, which
            is one less.
        user_concurrency (`int`, *optional*, defaults to `64`):
            Largest number of user replies, async tools and async rewards of environments that are awaited at the same
            time on a process.
        min_ready_fraction (`float`, *optional*, defaults to `1.0`):
            Share of a batch's conversations still going on whose feedback must be there before the policy acts on it.
            At 1.0, each round waits for the slowest user. With less (0.5 is good if some users are slow), the policy
            acts in smaller batches, whose members depend on who answers first, so that runs with the same seed differ.
        feedback_timeout (`float`, *optional*):
            Seconds that a tool, a user, an `on_action`, an `on_end` or a `get_reward` may take. A tool that takes
            longer fails, and the agent is told so; anything else that takes longer ends the run with an error. If
            `None`, there is no limit. With a limit, functions that are not `async` run in threads of their own.
        log_information_gain (`bool`, *optional*, defaults to `False`):
            Whether to score and log gains also where they are not used for training: with `info_gain_coef=0.0`, and in
            evaluation.
        log_traces (`bool`, *optional*, defaults to `False`):
            Whether to write scored rollouts, with the log-probability of every token with and without the feedback, to
            `traces` in the output directory whenever something is logged. [`~trl_infopo.load_traces`] and `trl-infopo
            report` read them. A table of them also goes to trackio or wandb, if one of these tracks the run.
        max_traces_per_step (`int`, *optional*, defaults to `64`):
            Largest number of rollouts in the traces of a logged step, over all processes. Only whole groups are
            written, so it must be at least `num_generations`.
    """

    info_gain_coef: float = field(
        default=0.5,
        metadata={
            "help": "Weight of the information advantages in the fused advantage. The paper uses 0.5 for user-centric "
            "games, 0.3 for collaborative coding and 0.1 for tool decisions. 0.0 is GRPO, with no extra forward pass."
        },
    )
    info_gain_estimator: str = field(
        default="log_ratio",
        metadata={
            "help": "How a gain is estimated. "
            "'log_ratio' compares the log-probabilities of the sampled tokens with and without the feedback. "
            "'kl' takes the exact divergence over the vocabulary at each of them: never negative, lower variance, "
            "more work per token.",
            "choices": ["log_ratio", "kl"],
        },
    )
    info_gain_normalization: str = field(
        default="group",
        metadata={
            "help": "How gains are normalized. "
            "'group' centres and scales the gains over all scored turns of the group. 'group_scale' divides by their "
            "root mean square without centring, so that a question that brings nothing is worth 0 instead of less "
            "than not asking. 'batch' centres and scales over all scored turns of the batch. 'none' keeps them.",
            "choices": ["group", "group_scale", "batch", "none"],
        },
    )
    info_gain_granularity: str = field(
        default="turn",
        metadata={
            "help": "What the statistics count. "
            "'turn' counts the gain of a turn once in the statistics. 'token' spreads it over the tokens of "
            "the action and counts each of them, as the authors' code does.",
            "choices": ["turn", "token"],
        },
    )
    info_gain_rescale: bool = field(
        default=True,
        metadata={
            "help": "Whether to shrink information advantages whose standard deviation over the action tokens of the "
            "batch exceeds both 1 and that of the outcome advantages."
        },
    )
    info_gain_only: bool = field(
        default=False,
        metadata={
            "help": "Whether to train on the information advantages alone, without outcome and gate (ablation)."
        },
    )
    info_gain_engine: str = field(
        default="auto",
        metadata={
            "help": "How gains are computed. 'tree' scores all turns of a rollout in about one and a half forward "
            "passes on a CPU, and needs a transformer with ordinary, sliding-window or chunked attention. 'replay' "
            "runs one row per turn and works for every model. 'auto' probes the model at its first scoring, and logs "
            "its choice.",
            "choices": ["auto", "tree", "replay"],
        },
    )
    info_gain_batch_size: int | None = field(
        default=None,
        metadata={"help": "Number of rows in a forward pass of the scoring. If `None`, the per-device batch size."},
    )
    info_gain_min_weight: float = field(
        default=0.0,
        metadata={
            "help": "Smallest weight, gate times `info_gain_coef`, at which the rollouts of a group are scored. "
            "Groups with a smaller weight keep their outcome advantages, at no cost. 0.0 scores all groups, as "
            "`gate='agreement'` needs."
        },
    )
    masked_feedback: str = field(
        default="No information found.",
        metadata={
            "help": "Placeholder that replaces the feedback's content in the counterfactual. An environment can have "
            "its own, as an attribute `masked_feedback`."
        },
    )
    gate: str = field(
        default="agreement",
        metadata={
            "help": "Gate of the information. "
            "'variance', the paper's, opens for groups whose rewards tie. 'agreement' also closes as far as gains "
            "have not correlated with rewards. 'none' is 1 everywhere (ablation).",
            "choices": ["agreement", "variance", "none"],
        },
    )
    gate_temperature: float = field(
        default=0.5,
        metadata={
            "help": "Temperature of the variance gate, in units of the reward. The paper uses 0.5, and 0.05 for tool "
            "decisions."
        },
    )
    max_turns: int | None = field(
        default=None,
        metadata={
            "help": "Largest number of actions in a rollout; tool calls of the last one are not run. If `None`, only "
            "`max_completion_length` limits it. Cannot be set together with `max_tool_calling_iterations`, which is "
            "one less."
        },
    )
    user_concurrency: int = field(
        default=64,
        metadata={
            "help": "Largest number of user replies, async tools and async rewards of environments that are awaited "
            "at the same time on a process."
        },
    )
    min_ready_fraction: float = field(
        default=1.0,
        metadata={
            "help": "Share of a batch's conversations still going on whose feedback must be there before the policy "
            "acts on it. At 1.0, each round waits for the slowest user. With less (0.5 is good if some users are "
            "slow), the policy acts in smaller batches, whose members depend on who answers first, so that runs with "
            "the same seed differ."
        },
    )
    feedback_timeout: float | None = field(
        default=None,
        metadata={
            "help": "Seconds that a tool, a user or another call of an environment may take. A tool that takes longer "
            "fails, and the agent is told so; anything else that takes longer ends the run with an error. If `None`, "
            "there is no limit."
        },
    )
    log_information_gain: bool = field(
        default=False,
        metadata={
            "help": "Whether to score and log gains also where they are not used for training: with "
            "`info_gain_coef=0.0`, and in evaluation."
        },
    )
    log_traces: bool = field(
        default=False,
        metadata={
            "help": "Whether to write scored rollouts, with the log-probability of every token with and without the "
            "feedback, to `traces` in the output directory whenever something is logged."
        },
    )
    max_traces_per_step: int = field(
        default=64,
        metadata={
            "help": "Largest number of rollouts in the traces of a logged step, over all processes. Only whole groups "
            "are written."
        },
    )

    def __new__(cls, *args, **kwargs):
        check_names(f"{cls.__name__} has no option", kwargs, cls.__init__)
        return super().__new__(cls)

    def __post_init__(self):
        for option in fields(GRPOConfig):
            self._check_inherited(option.name, getattr(self, option.name))
        check_number("temperature", self.temperature, at_least=LEAST_TEMPERATURE, hint="it divides the logits")
        super().__post_init__()

        for option in fields(self):
            if option.name in InfoPOConfig.__annotations__ and "choices" in option.metadata:
                check_choice(option.name, getattr(self, option.name), option.metadata["choices"])
        for name in OWN_SWITCHES:
            check_bool(name, getattr(self, name))
        check_number(
            "info_gain_coef",
            self.info_gain_coef,
            at_least=0,
            at_most=LARGEST_COEF,
            hint="0.0 for GRPO, as less would punish informative questions",
        )
        if self.info_gain_only and self.info_gain_coef == 0:
            raise ValueError(
                "`info_gain_only` is True and `info_gain_coef` is 0.0, which leaves nothing to train on. Set "
                "`info_gain_coef` above 0.0, or `info_gain_only` to False."
            )
        check_number(
            "gate_temperature",
            self.gate_temperature,
            at_least=LEAST_TEMPERATURE,
            hint="it divides the spread of rewards",
        )
        check_number("info_gain_min_weight", self.info_gain_min_weight, at_least=0, hint="0.0 to score all groups")
        largest = self.info_gain_coef * (1.0 if self.gate == "none" else 0.5)
        if self.info_gain_min_weight > largest and self.info_gain_coef > 0:
            raise ValueError(
                f"`info_gain_min_weight` is {show(self.info_gain_min_weight)}, which no group reaches: with "
                f"`info_gain_coef` {show(self.info_gain_coef)} and `gate` {show(self.gate)}, weights end at "
                f"{largest}. Set it to at most that."
            )
        if self.info_gain_min_weight > 0 and self.info_gain_only:
            raise ValueError(
                f"`info_gain_min_weight` is {show(self.info_gain_min_weight)} and `info_gain_only` is True, which "
                "needs the gains of all groups. Set one of them to 0.0 or False."
            )
        if self.info_gain_min_weight > 0 and self.gate == "agreement":
            raise ValueError(
                f"`info_gain_min_weight` is {show(self.info_gain_min_weight)} and `gate` is 'agreement', which "
                "needs the gains of all groups. Set `gate` to 'variance', or `info_gain_min_weight` to 0.0."
            )
        check_number("user_concurrency", self.user_concurrency, integer=True, at_least=1, hint="one user at a time")
        check_number("min_ready_fraction", self.min_ready_fraction, above=0, at_most=1, hint="1.0 to wait for all")
        if self.feedback_timeout is not None:
            check_number(
                "feedback_timeout",
                self.feedback_timeout,
                above=0,
                at_most=LONGEST_WAIT,
                hint="or to None for no limit",
            )
        if self.info_gain_batch_size is not None:
            check_number(
                "info_gain_batch_size",
                self.info_gain_batch_size,
                integer=True,
                at_least=1,
                hint="or to None for the per-device batch size",
            )
        check_number("max_traces_per_step", self.max_traces_per_step, integer=True, at_least=1)
        for name in ("num_generations", "num_generations_eval"):
            size = getattr(self, name)
            if self.log_traces and size is not None and self.max_traces_per_step < size:
                raise ValueError(
                    f"`max_traces_per_step` is {show(self.max_traces_per_step)} and `{name}` is {show(size)}, which "
                    f"leaves no whole group to write. Set `max_traces_per_step` to at least `{name}`."
                )
        check_placeholder("masked_feedback", self.masked_feedback)
        if self.max_turns is not None:
            check_number("max_turns", self.max_turns, integer=True, at_least=1, hint="or to None for no limit")
            if self.max_tool_calling_iterations is not None:
                raise ValueError(
                    f"`max_turns` is {show(self.max_turns)} and `max_tool_calling_iterations` is "
                    f"{show(self.max_tool_calling_iterations)}, which limit the same thing. Set one of them: "
                    "`max_turns` actions are `max_turns - 1` tool-calling iterations."
                )

    @staticmethod
    def _check_inherited(name: str, value) -> None:
        """TRL accepts NaN and infinite options, and trains weights to NaN with them."""
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, float) and (math.isnan(number) or (math.isinf(number) and name not in UNLIMITED)):
                raise ValueError(f"`{name}` is {show(value)}, set it to a finite number.")
