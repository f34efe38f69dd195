# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Scored rollouts as Parquet files: what `log_traces` writes, and how to read it."""

import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet
import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from transformers import PreTrainedTokenizerBase, TrainerCallback

from ._trace_files import DIRECTORY, read_traces, trace_files
from .fusion import FusedAdvantages
from .turns import Turn


if TYPE_CHECKING:
    from datasets import Dataset


logger = get_logger(__name__)

TURN = pa.struct(
    [
        ("tokens", pa.list_(pa.string())),
        ("logps", pa.list_(pa.float32())),
        ("masked_logps", pa.list_(pa.float32())),
        ("feedback", pa.string()),
        ("masked_feedback", pa.string()),
        ("information_gain", pa.float32()),
        ("information_advantage", pa.float32()),
        ("advantage", pa.float32()),
    ]
)
FIELDS = [
    ("step", pa.int32()),
    ("split", pa.string()),
    ("group", pa.int32()),
    ("rollout", pa.int32()),
    ("prompt", pa.string()),
    ("completion", pa.string()),
    ("turns", pa.list_(TURN)),
    ("reward", pa.float32()),
    ("outcome_advantage", pa.float32()),
    ("gate", pa.float32()),
    ("scale", pa.float32()),
    ("stop_reason", pa.string()),
    ("tool_calls", pa.int32()),
    ("tool_failures", pa.int32()),
    ("user_replies", pa.int32()),
    ("user_seconds", pa.float32()),
]


def load_traces(path: str | os.PathLike) -> "Dataset":
    """
    Load the rollouts that a run with `log_traces=True` has written so far.

    Args:
        path (`str` or `os.PathLike`):
            Output directory of the run, or its directory `traces`.

    Returns:
        [`~datasets.Dataset`]: One row per rollout, in the order of steps, groups and rollouts. The page on traces
            describes the columns.

    Raises:
        `FileNotFoundError`: If there are no traces.

    Example:

    ```python
    >>> from trl_infopo import load_traces

    >>> traces = load_traces("infopo-quickstart/InfoPO")
    >>> [turn["information_gain"] for turn in traces[0]["turns"]]
    ```
    """
    from datasets import Dataset

    return Dataset(read_traces(path))


@dataclass
class ScoredRollouts:
    """
    What a process knows about its rollouts of one generation batch.

    Attributes:
        split (`str`):
            `"train"` or `"eval"`.
        first (`int`):
            Index of its first rollout among those of all processes.
        num_generations (`int`):
            Number of rollouts in a group.
        messages (`list[tuple[str, str]]`):
            Prompt and completion of each rollout as JSON text.
        completion_ids (`list[list[int]]`):
            Token ids of each completion, without padding.
        turns (`list[list[Turn]]`):
            Turns of each completion.
        feedback (`list[list[tuple[str, str | None]]]`):
            For each turn that got feedback, its text and that of its masked form, `None` where nothing was scored.
        rewards (`dict[str, list[float]]`):
            Rewards of each function, NaN where it returned None.
        reward (`list[float]`):
            Their weighted sum.
        outcome_advantages (`list[float]`):
            The trainer's own advantages.
        episodes (`list[dict[str, Any]]`):
            The end of each rollout, its tools and its user, by the name of the column.
        information_gain (`torch.Tensor` of shape `(B, K)`, *optional*):
            Gain of each turn, in nats per token; NaN where a turn has none.
        fused ([`~trl_infopo.fusion.FusedAdvantages`], *optional*):
            Fused advantages of the rollouts of all processes.
        token_logps (`dict[tuple[int, int], torch.Tensor]`):
            Log-probabilities, as [`~trl_infopo.information_gain.score_information_gain`] records them.
    """

    split: str
    first: int
    num_generations: int
    messages: list[tuple[str, str]]
    completion_ids: list[list[int]]
    turns: list[list[Turn]]
    feedback: list[list[tuple[str, str | None]]]
    rewards: dict[str, list[float]]
    reward: list[float]
    outcome_advantages: list[float]
    episodes: list[dict[str, Any]]
    information_gain: torch.Tensor | None
    fused: FusedAdvantages | None
    token_logps: dict[tuple[int, int], torch.Tensor]

    def rows(self, step: int, max_rollouts: int, texts: "TokenTexts") -> list[dict[str, Any]]:
        """The rollouts of the first groups, at most `max_rollouts` on all processes together."""
        num_chosen = max_rollouts // self.num_generations * self.num_generations
        return [self._row(i, step, texts) for i in range(len(self.messages)) if self.first + i < num_chosen]

    def _row(self, i: int, step: int, texts: "TokenTexts") -> dict[str, Any]:
        group, rollout = divmod(self.first + i, self.num_generations)
        turns = []
        for k, turn in enumerate(self.turns[i]):
            logps, masked_logps = self.token_logps.get((i, k - 1), (None, None))
            feedback, masked_feedback = self.feedback[i][k] if k < len(self.feedback[i]) else (None, None)
            turns.append(
                {
                    "tokens": texts(self.completion_ids[i][turn.action.start : turn.action.stop]),
                    "logps": None if logps is None else _finite(logps),
                    "masked_logps": None if masked_logps is None else _finite(masked_logps),
                    "feedback": feedback,
                    "masked_feedback": masked_feedback,
                    "information_gain": None,
                    "information_advantage": None,
                    "advantage": self.outcome_advantages[i],
                }
            )
        row = {
            "step": step,
            "split": self.split,
            "group": group,
            "rollout": rollout,
            "prompt": self.messages[i][0],
            "completion": self.messages[i][1],
            "turns": turns,
            "rewards": {name: _defined(values[i]) for name, values in self.rewards.items()},
            "reward": _defined(self.reward[i]),
            "outcome_advantage": self.outcome_advantages[i],
            **self.episodes[i],
        }
        if self.fused is not None:
            row |= {"gate": self.fused.gate[self.first + i].item(), "scale": self.fused.scale.item()}
            gains, information, advantages = (
                _finite(values)
                for values in (
                    self.information_gain[i],
                    self.fused.information_advantages[self.first + i],
                    self.fused.turn_advantages[self.first + i],
                )
            )
            for k, turn in enumerate(turns):
                turn["information_gain"], turn["advantage"] = gains[k], advantages[k]
                turn["information_advantage"] = None if gains[k] is None else information[k]
        return row


class TraceWriter(TrainerCallback):
    """
    Callback that writes rollouts of the latest batch whenever something is logged: one file per logged step and
    process, written atomically.

    Args:
        max_rollouts (`int`):
            Largest number of rollouts of a step, over all processes.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Tokenizer of the policy.
        reward_names (`list[str]`):
            Names of the reward functions.
    """

    def __init__(self, max_rollouts: int, tokenizer: PreTrainedTokenizerBase, reward_names: list[str]):
        self.max_rollouts = max_rollouts
        self.texts = TokenTexts(tokenizer)
        rewards = pa.struct([(name, pa.float32()) for name in dict.fromkeys(reward_names)])
        self.schema = pa.schema([*FIELDS, ("rewards", rewards)])
        self.rollouts: ScoredRollouts | None = None  # of the last batch, until they are written
        self._written = Counter()

    def on_train_begin(self, args, state, control, **kwargs):
        """Remove traces after the step that training resumes from: they belong to a run that is not continued."""
        if not state.is_local_process_zero:
            return
        directory = Path(args.output_dir, DIRECTORY)
        stale = [path for path, step in trace_files(directory).items() if step > state.global_step]
        if stale:
            logger.warning(
                f"{len(stale)} files in {directory} hold traces of steps after {state.global_step}, where this "
                "training begins. They are removed."
            )
        for path in [*stale, *directory.glob("*.tmp")]:
            path.unlink(missing_ok=True)

    def on_log(self, args, state, control, **kwargs):
        if self.rollouts is None:
            return
        rows, split = self.rollouts.rows(state.global_step, self.max_rollouts, self.texts), self.rollouts.split
        self.rollouts = None
        if rows:
            name = f"{split}-{state.global_step:07d}-{args.process_index}"
            self._written[name] += 1  # several datasets can be evaluated at one step
            again = f"-{self._written[name] - 1}" if self._written[name] > 1 else ""
            path = Path(args.output_dir, DIRECTORY, f"{name}{again}.parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".tmp")
            pa.parquet.write_table(pa.Table.from_pylist(rows, self.schema), unfinished, compression="zstd")
            os.replace(unfinished, path)
        if trackers := {"trackio", "wandb"} & set(args.report_to):
            self._log_table(gather_object(rows), trackers, state.is_world_process_zero)

    def _log_table(self, rows: list[dict[str, Any]], trackers: set[str], is_main: bool) -> None:
        """A row per turn, where TRL sends its table of completions."""
        if not is_main:
            return
        import pandas as pd

        table = pd.DataFrame(turn for row in rows for turn in turn_rows(row))
        table = table.fillna({"feedback": "", "masked_feedback": ""})  # trackers show NaN for no text
        if "wandb" in trackers:
            import wandb

            if wandb.run is not None:
                wandb.log({"traces": wandb.Table(dataframe=table)})
        if "trackio" in trackers:
            import trackio

            trackio.log({"traces": trackio.Table(dataframe=table)})


def turn_rows(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The turns of a rollout as rows of a flat table."""
    shared = ("step", "split", "group", "rollout")
    return [
        {name: row[name] for name in shared}
        | {"turn": k, "action": "".join(turn["tokens"])}
        | {name: turn[name] for name in ("feedback", "masked_feedback", "information_gain", "advantage")}
        | {"gate": row.get("gate"), "reward": row["reward"], "stop_reason": row.get("stop_reason")}
        for k, turn in enumerate(row["turns"], start=1)
    ]


class TokenTexts:
    """
    Splits what a policy sampled into the texts of its tokens. A character made of several tokens belongs to the last.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]):
            Tokenizer of the policy.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.alone: dict[int, str] = {}

    def __call__(self, ids: list[int]) -> list[str]:
        new = [token_id for token_id in dict.fromkeys(ids) if token_id not in self.alone]
        self.alone |= zip(new, (self._decode([token_id]) for token_id in new), strict=True)
        texts = [self.alone[token_id] for token_id in ids]
        if "".join(texts) == self._decode(ids):
            return texts
        texts, context, done = [], 0, 0
        for stop in range(1, len(ids) + 1):
            text = self._decode(ids[context:stop])
            if text.endswith("\ufffd") and stop < len(ids):
                texts.append("")
                continue
            texts.append(text[len(self._decode(ids[context:done])) :])
            context, done = done, stop
        return texts

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(values: torch.Tensor) -> list[float | None]:
    return [_defined(value) for value in values.tolist()]
