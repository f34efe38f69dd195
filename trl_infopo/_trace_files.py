# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Reads files of traces without torch, so that commands that show them start at once."""

import os
import re
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet


DIRECTORY = "traces"  # in the output directory of a run
# Split, step, process, and how often before at this step
NAME = re.compile(r"(train|eval)-(\d+)-(\d+)(?:-(\d+))?\.parquet")


def trace_files(directory: Path) -> dict[Path, int]:
    """The files of traces in a directory, in order, each with its step. Files of other names are somebody else's."""
    names = {path: NAME.fullmatch(path.name) for path in sorted(directory.glob("*.parquet"))}
    return {path: int(match[2]) for path, match in names.items() if match}


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
    table = pa.concat_tables(_read_in_groups(list(files)), promote_options="permissive")
    return table.sort_by([(name, "ascending") for name in ("step", "split", "group", "rollout")]).combine_chunks()


def _read_in_groups(files: list[Path]) -> list[pa.Table]:
    """The tables of files. Of datasets that were evaluated at one step, the second goes on counting groups."""

    def place(file: Path) -> tuple[str, int, int, int]:
        split, step, process, repetition = NAME.fullmatch(file.name).groups(default="0")
        return split, int(step), int(repetition), int(process)

    tables = []
    for _, at_step in groupby(sorted(files, key=place), lambda file: place(file)[:2]):
        num_groups = 0
        for _, dataset in groupby(at_step, lambda file: place(file)[:3]):
            first = num_groups
            for file in dataset:
                table = pa.parquet.read_table(file)
                table = table.cast(pa.schema([(field.name, _with_large_texts(field.type)) for field in table.schema]))
                groups = pc.add(table["group"], pa.scalar(first, table["group"].type))
                tables.append(table.set_column(table.schema.get_field_index("group"), "group", groups))
                num_groups = max(num_groups, pc.max(groups).as_py() + 1)
    return tables


def _with_large_texts(kind: pa.DataType) -> pa.DataType:
    """The type of a column that may hold more than 2 GiB of text."""
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_list(kind):
        return pa.list_(_with_large_texts(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _with_large_texts(field.type)) for field in kind])
    return kind
