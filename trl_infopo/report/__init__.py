# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML file of runs with traces: learning curves, and dialogues turn by turn."""

import base64
import gzip
import json
import math
import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .._trace_files import read_traces


STATE = "trainer_state.json"
# What is drawn, from the log of the trainer. A curve that a log does not have is computed from the traces
CURVES = {
    "reward": "Reward",
    "eval_reward": "Reward in evaluation",
    "infopo/information_gain/mean": "Information gain (nats per token)",
    "infopo/gate/mean": "Gate",
    "infopo/intrinsic_share": "Share of the advantage that comes from information",
    "frac_reward_zero_std": "Share of groups that tie",
    "infopo/turns/mean": "Turns",
}
STOP = "infopo/stop/"
POINTS = 1000  # of a curve
GROUPS_IN_CHUNK = 16  # that are unpacked together when one of them is opened


def build_report(run_dirs: Sequence[str | os.PathLike], output: str | os.PathLike, max_rollouts: int = 4000) -> int:
    """
    Write the report of runs.

    Args:
        run_dirs (`Sequence[str | os.PathLike]`):
            Output directories of runs with `log_traces=True`. The curves come from `trainer_state.json`, in the
            directory or in its newest checkpoint, or if there is none, from the traces.
        output (`str` or `os.PathLike`):
            The HTML file.
        max_rollouts (`int`, *optional*, defaults to `4000`):
            Largest number of rollouts in the report, over all runs. If there are more, whole groups at even distances
            are shown.

    Returns:
        `int`: Number of rollouts in the report.

    Raises:
        `FileNotFoundError`: If a directory has no traces.
    """
    from plotly.offline import get_plotlyjs

    names = _names(run_dirs)
    runs, groups, dialogues = [], [], []
    for i, (name, run_dir) in enumerate(zip(names, run_dirs, strict=True)):
        table = read_traces(run_dir)
        shown = sample_groups(table, max(max_rollouts // len(run_dirs), 1))
        logged = log_curves(run_dir, last_step=pc.max(table["step"]).as_py())
        rows = [row for group in shown for row in group]
        gains = [abs(turn["information_gain"]) for row in rows for turn in row["turns"] if turn["information_gain"]]
        runs.append(
            {
                "name": name,
                "curves": trace_curves(table) | logged,
                "is_logged": bool(logged),
                "num_rollouts": len(table),
                "num_shown": len(rows),
                # The gain of the longest bars: a few larger gains must not dwarf all others
                "full_gain": float(np.quantile(gains, 0.95)) if gains else 1.0,
            }
        )
        groups += [summary(group, i) for group in shown]
        dialogues += [[dialogue(row) for row in group] for group in shown]

    chunks = [pack(dialogues[i : i + GROUPS_IN_CHUNK]) for i in range(0, len(dialogues), GROUPS_IN_CHUNK)]
    data = {"runs": runs, "groups": groups, "curves": CURVES, "stop": STOP, "groups_in_chunk": GROUPS_IN_CHUNK}
    parts = {
        "title": " and ".join(names).replace("&", "&amp;").replace("<", "&lt;"),
        "style": _page_file("page.css"),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        "chunks": "\n".join(f'<script type="text/plain" id="chunk-{i}">{c}</script>' for i, c in enumerate(chunks)),
        "code": _page_file("page.js"),
        "plotly": get_plotlyjs(),
    }
    page = _page_file("page.html")
    for part, text in parts.items():
        before, after = page.split(f"<!-- {part} -->")
        page = before + text + after
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(page, encoding="utf-8")
    return sum(run["num_shown"] for run in runs)


def _page_file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _names(run_dirs: Sequence[str | os.PathLike]) -> list[str]:
    """The last parts of the directories, as many as are needed to distinguish them."""
    parts = [Path(run_dir).absolute().parts for run_dir in run_dirs]
    for n in range(1, max(map(len, parts))):
        names = ["/".join(p[-n:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [str(Path(run_dir)) for run_dir in run_dirs]


# ------------------------------------------------------------------------------------------------------------- curves


def log_curves(run_dir: str | os.PathLike, last_step: int) -> dict[str, list[list[float]]]:
    """
    Steps and values of the curves that the trainer has logged, empty if it has saved no state.

    They are taken from the state that was saved first at the last traced step or after it: of a run that went on, a
    checkpoint may know more than what was saved at its first end, and one beyond may be left from an earlier run.
    """
    numbers = [int(path.name[11:]) for path in Path(run_dir).glob("checkpoint-*") if path.name[11:].isdecimal()]
    chosen = [Path(run_dir, f"checkpoint-{_first_from(last_step, numbers)}", STATE)] if numbers else []
    states = [_read_state(path) for path in [Path(run_dir, STATE), *chosen] if path.is_file()]
    by_step = {state["global_step"]: state["log_history"] for state in reversed(states)}
    points = {}
    for log in by_step[_first_from(last_step, list(by_step))] if by_step else ():
        for name, value in log.items():
            if (name in CURVES or name.startswith(STOP)) and value is not None and math.isfinite(value):
                points.setdefault(name, []).append((log["step"], value))
    return {name: _thin(values) for name, values in points.items()}


def _first_from(last_step: int, steps: list[int]) -> int:
    """The first of some steps that is not before another one; if there is none, the last."""
    return min((step for step in steps if step >= last_step), default=max(steps))


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {name: state[name] for name in ("global_step", "log_history")}
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not what a trainer saves: {error!r}. Remove it.") from error


def trace_curves(table: pa.Table) -> dict[str, list[list[float]]]:
    """The same, computed from the traced rollouts of the training split."""
    table = table.filter(pc.equal(table["split"], "train")).combine_chunks()
    if not len(table):
        return {}
    rows = table.select(["step", "group", "reward", "outcome_advantage", "gate", "stop_reason"]).to_pandas()
    turns = table["turns"].combine_chunks()
    flat = pc.list_flatten(turns)
    turn = rows[["step", "outcome_advantage"]].iloc[pc.list_parent_indices(turns).to_numpy()].reset_index(drop=True)
    for name in ("information_gain", "advantage"):
        turn[name] = pc.struct_field(flat, name).to_numpy(zero_copy_only=False)
    length = pc.list_value_length(pc.struct_field(flat, "tokens")).to_numpy(zero_copy_only=False)
    turn["outcome"] = turn["outcome_advantage"].abs() * length
    turn["information"] = (turn["advantage"] - turn["outcome_advantage"]).abs() * length
    rows["turns"] = pc.list_value_length(turns).to_numpy(zero_copy_only=False)
    group = rows.groupby(["step", "group"])["reward"].agg(["min", "max"]).reset_index()
    group["is_tied"] = np.isclose(group["min"], group["max"])
    masses = turn.groupby("step")[["outcome", "information"]].sum()
    curves = {
        "reward": rows.groupby("step")["reward"].mean(),
        "infopo/information_gain/mean": turn.groupby("step")["information_gain"].mean(),
        "infopo/gate/mean": rows.groupby("step")["gate"].mean(),
        "frac_reward_zero_std": group.groupby("step")["is_tied"].mean(),
        "infopo/turns/mean": rows.groupby("step")["turns"].mean(),
    }
    if rows["gate"].notna().any():
        curves["infopo/intrinsic_share"] = masses["information"] / masses.sum(axis=1)
    reasons = pd.get_dummies(rows["stop_reason"], dtype=float)
    curves |= {f"{STOP}{reason}": reasons[reason].groupby(rows["step"]).mean() for reason in reasons}
    series = {name: curve.dropna() for name, curve in curves.items()}
    return {name: _thin(list(curve.items())) for name, curve in series.items() if len(curve)}


def _thin(points: list[tuple[float, float]]) -> list[list[float]]:
    points = [points[i] for i in _even(len(points), POINTS)]
    return [[int(step) for step, _ in points], [float(f"{value:.4g}") for _, value in points]]


def _even(total: int, most: int) -> list[int]:
    """Numbers below `total` at even distances, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist()


# ---------------------------------------------------------------------------------------------------------- dialogues


def sample_groups(table: pa.Table, max_rollouts: int) -> list[list[dict[str, Any]]]:
    """Whole groups at even distances, of no more rollouts than allowed; at least one."""
    keys = table.select(["step", "split", "group"]).to_pandas()
    starts = np.flatnonzero((keys != keys.shift()).any(axis=1))
    stops = np.append(starts[1:], len(keys))
    most = max(int(max_rollouts // np.diff([0, *stops]).max()), 1)
    chosen = _even(len(starts), most) if len(keys) > max_rollouts else range(len(starts))
    return [table.slice(starts[i], stops[i] - starts[i]).to_pylist() for i in chosen]


def summary(group: list[dict[str, Any]], run: int) -> dict[str, Any]:
    """The entry of a group in the list."""
    first = group[0]
    gains = [turn["information_gain"] for row in group for turn in row["turns"]]
    gains = [gain for gain in gains if gain is not None]
    return {
        "run": run,
        "step": first["step"],
        "split": first["split"],
        "group": first["group"],
        "rewards": [_short(row["reward"]) for row in group],
        "gain": _short(sum(gains) / len(gains)) if gains else None,
    }


def dialogue(row: dict[str, Any]) -> dict[str, Any]:
    """A rollout as the page shows it."""
    prompt = json.loads(row["prompt"])
    turns = [
        {
            name: [_short(x) for x in value] if name in ("logps", "masked_logps") and value else _short(value)
            for name, value in turn.items()
        }
        for turn in row["turns"]
    ]
    names = ("rollout", "reward", "outcome_advantage", "gate", "scale", "stop_reason")
    names += ("tool_calls", "tool_failures", "user_replies", "user_seconds")
    shown = {name: _short(row[name]) for name in names} | {"turns": turns}
    shown["rewards"] = {name: _short(value) for name, value in row["rewards"].items()}
    shown["prompt"] = [{"role": "prompt", "content": prompt}] if isinstance(prompt, str) else prompt
    return shown


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def pack(groups: list[list[dict[str, Any]]]) -> str:
    """Compressed text for a page, in a format that current browsers can decompress."""
    text = json.dumps(groups, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
