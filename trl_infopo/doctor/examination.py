# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Plays an environment before training, and runs all checks."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._environment import check_placeholder
from .._options import LONGEST_WAIT, check_number
from ..evaluation import check_rows, running_event_loop
from ..infopo_config import InfoPOConfig
from ..policies import ModelPolicy, load_policy
from ..scripts.train import DEFAULTS
from .checks import (
    check_budget,
    check_ends,
    check_factory,
    check_offer,
    check_results,
    check_special_tokens,
    check_wording,
)
from .findings import Checkup
from .gains import score_policy
from .playing import Table, play_all
from .sharing import check_class, check_sharing, class_state


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_environment(
    environment_factory: Callable[[], Any],
    dataset: "Dataset | list[dict] | None" = None,
    *,
    policy: "str | tuple[PreTrainedModel, PreTrainedTokenizerBase] | None" = None,
    num_episodes: int = 16,
    max_turns: int = DEFAULTS["max_turns"],
    max_completion_length: int = DEFAULTS["max_completion_length"],
    masked_feedback: str = InfoPOConfig.masked_feedback,
    feedback_timeout: float | None = 60.0,
    seed: int = 0,
) -> Checkup:
    """
    Play an environment before training, and report its faults.

    Without a policy, a player without knowledge of the task calls tools with arguments that fit their schemas, taken
    from their descriptions, from the conversation and from the row; it asks users general questions, and sometimes
    repeats itself. Every episode is played in a new environment, and again in one that has played the others; some are
    played at the same time.

    Args:
        environment_factory (`Callable[[], Any]`):
            The class of the environment, or a function that makes one, as for [`InfoPOTrainer`].
        dataset ([`~datasets.Dataset`] or `list[dict]`, *optional*):
            The tasks: rows with a conversational `prompt` and what the environment's `reset` takes. If not given, one
            row with a greeting.
        policy (`str` or `tuple[PreTrainedModel, PreTrainedTokenizerBase]`, *optional*):
            Path or Hub id of a model, or a model and its tokenizer. It plays the same number of episodes, sampled as
            in training, and the gains of its feedback are scored.
        num_episodes (`int`, *optional*, defaults to `16`):
            Number of episodes.
        max_turns (`int`, *optional*, defaults to `12`):
            Largest number of actions in an episode. The default is that of `trl-infopo train`.
        max_completion_length (`int`, *optional*, defaults to `2048`):
            Number of tokens that a completion may have in training. Without a policy, four characters count as
            a token.
        masked_feedback (`str`, *optional*, defaults to `"No information found."`):
            The placeholder of the training, if the environment has none of its own.
        feedback_timeout (`float`, *optional*, defaults to `60.0`):
            Seconds that a tool or a reply may take. With a limit, tools run on threads of their own, as in a training
            with one; with `None`, they run where a training without a limit runs them.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the player.

    Returns:
        [`Checkup`]: The findings.

    Raises:
        `ValueError`: If an argument is of another type or out of range, or the policy has no weights.

    Example:

    ```python
    from trl_infopo import check_environment
    from trl_infopo.environments import BookingEnv, booking_dataset

    checkup = check_environment(BookingEnv, booking_dataset("train", 100))
    assert checkup.is_healthy, checkup.findings
    ```
    """
    for name, value in (
        ("num_episodes", num_episodes),
        ("max_turns", max_turns),
        ("max_completion_length", max_completion_length),
    ):
        check_number(name, value, integer=True, at_least=1)
    if feedback_timeout is not None:
        check_number("feedback_timeout", feedback_timeout, above=0, at_most=LONGEST_WAIT, hint="None for no limit")
    check_number("seed", seed, integer=True, at_least=0)
    check_placeholder("masked_feedback", masked_feedback)
    rows = check_rows([{"prompt": [{"role": "user", "content": "Hello."}]}] if dataset is None else dataset)
    rows = random.Random(seed).sample(rows, min(num_episodes, len(rows)))
    if policy is not None:
        policy = load_policy(policy)
        if not isinstance(policy, ModelPolicy):
            raise ValueError(
                f"`policy` is a {type(policy).__name__}, whose gains cannot be scored. Pass the path or hub id of a "
                "model, or a model and its tokenizer."
            )

    checkup = Checkup(getattr(environment_factory, "__name__", type(environment_factory).__name__))
    factory = check_factory(checkup, environment_factory, rows)
    if factory is None:
        return checkup
    checkup.environment = factory.kind.__name__
    if not check_offer(checkup, factory):
        return checkup
    with running_event_loop() as event_loop:
        table = Table(factory, rows, event_loop, max_turns, feedback_timeout, seed)
        before = class_state(factory.kind)
        played = play_all(checkup, table, num_episodes)
        check_class(checkup, table, played, before)
        check_sharing(checkup, table, played)
        plays = list(played.values())
        check_ends(checkup, table, plays)
        check_results(checkup, plays)
        check_special_tokens(checkup, plays, rows, policy)
        check_budget(checkup, plays, max_completion_length, policy)
        check_wording(checkup, plays, masked_feedback)
        if policy is not None:
            checkup.gains = score_policy(checkup, table, policy, num_episodes, max_completion_length, masked_feedback)
    for play in plays:
        reason = str(play.episode.stop_reason)
        checkup.stop_reasons[reason] = checkup.stop_reasons.get(reason, 0) + 1
    checkup.num_episodes = len(plays)
    return checkup
