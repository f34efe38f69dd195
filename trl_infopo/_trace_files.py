# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files of traces without torch, so that commands that show them start at once."""

import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet


DIRECTORY = "traces"  # in the output directory of a run
NAME = re.compile(r"(?:train|eval)-(\d+)-\d+(?:-\d+)?\.parquet")  # step, process, how often before at this step


def trace_files(directory: Path) -> dict[Path, int]:
    """The files of traces in a directory, in order, each with its step. Files of other names are somebody else's."""
    names = {path: NAME.fullmatch(path.name) for path in sorted(directory.glob("*.parquet"))}
    return {path: int(match[1]) for path, match in names.items() if match}


def read_traces(path: str | os.PathLike) -> pa.Table:
    """
    Read the rows that [`~trl_infopo.load_traces`] loads.

    Args:
        path (`str` or `os.PathLike`):
            Output directory of a run, or its directory `traces`.

    Returns:
        `pyarrow.Table`: One row per rollout, in the order of steps, groups and rollouts.

    Raises:
        `FileNotFoundError`: If there are no traces.
    """
    files = trace_files(Path(path, DIRECTORY)) or trace_files(Path(path))
    if not files:
        if not Path(path).is_dir():
            raise FileNotFoundError(f"{str(path)!r} holds no traces: there is no such directory.")
        runs = sorted({str(file.parents[1]) for file in Path(path).glob(f"*/{DIRECTORY}/*.parquet")})
        hint = f" There are some in {', '.join(map(repr, runs))}." if runs else ""
        raise FileNotFoundError(
            f"{str(path)!r} holds no traces. Give the output directory of a run with `log_traces=True` that has "
            f"logged a step.{hint}"
        )
    # Files of a run that was resumed with other reward functions have other columns of rewards
    tables = [pa.parquet.read_table(file) for file in files]
    table = pa.concat_tables(tables, promote_options="permissive")
    return table.sort_by([(name, "ascending") for name in ("step", "split", "group", "rollout")]).combine_chunks()
