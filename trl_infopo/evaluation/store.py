# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The directory of an evaluation: its lock, and the file of its settings and episodes."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .._options import check_output_dir
from .._show import show


class StoredEpisodesError(ValueError):
    """An evaluation cannot go on with the episodes of a directory: they are of other settings, or damaged."""


@contextmanager
def lock_directory(output_dir: str | os.PathLike | None) -> Iterator[None]:
    """
    Make a directory and lock it against other evaluations. The lock is released when the process ends, however
    that happens.

    Args:
        output_dir (`str` or `os.PathLike`, *optional*):
            Directory. If `None`, there is nothing to lock.

    Raises:
        `ValueError`: If another evaluation uses it, or it cannot be made.
    """
    if output_dir is None:
        yield
        return
    check_output_dir("output_dir", output_dir)
    try:
        os.makedirs(output_dir, exist_ok=True)
        lock = FileLock(Path(output_dir, ".lock"), timeout=0)
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"Another evaluation is running in `output_dir` ({output_dir}). Wait for its end, or take another one."
        ) from None
    except OSError as error:
        raise ValueError(
            f"`output_dir` is {str(output_dir)!r}, which cannot be written to: {error}. Take another directory."
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_whole(path: Path, text: str) -> None:
    """
    Write a file atomically: a process that is killed leaves either the old file or the new one.

    Args:
        path (`Path`):
            The file.
        text (`str`):
            Its new content.
    """
    new_path = path.with_name(f"{path.name}.new")
    with _naming(path):
        with open(new_path, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new_path, path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Add the name of the file to errors, as Python does not name it when the disk is full."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def job_of(record: dict) -> tuple[int, int, str]:
    return record["task"], record["run"], record["user"]


def open_records(path: Path, settings: dict) -> dict[tuple[int, int, str], dict]:
    """
    The episodes that a file already has, by their jobs. The file is made if there is none; otherwise, new users are
    added to its settings, and a half-written line at its end and repeated episodes are dropped.
    """
    old_settings, records = read_episodes(path) if os.path.lexists(path) else (None, {})
    if records:
        _check_settings(path.parent, old_settings, settings, {user for _, _, user in records})
        settings = {**settings, "users": {**old_settings["users"], **settings["users"]}}
    content = "".join(json.dumps(line) + "\n" for line in [{"settings": settings}, *records.values()])
    if not path.exists() or path.read_bytes() != content.encode():
        write_whole(path, content)
    return records


def append_records(path: Path, records: list[dict]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    with _naming(path), open(path, "a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _check_settings(output_dir: Path, old_settings: dict, settings: dict, played_users: set[str]) -> None:
    """
    Raises:
        [`StoredEpisodesError`]: If settings differ, or users of whom there are episodes.
    """
    for name in settings | old_settings:
        old, new = old_settings.get(name), settings.get(name)
        if name != "users" and old != new:
            raise StoredEpisodesError(
                f"`output_dir` ({output_dir}) holds episodes with the setting `{name}` at {old!r}, which is now "
                f"{new!r}. Evaluate with the old settings, take another `output_dir`, or remove this one."
            )
    for user, new in settings["users"].items():
        if user in played_users and (old := old_settings["users"][user]) != new:
            raise StoredEpisodesError(
                f"`output_dir` ({output_dir}) holds episodes with the user {user!r} made by {old}, who is now made by "
                f"{new}. Give the new user another name, take another `output_dir`, or remove this one."
            )


def read_episodes(path: Path) -> tuple[dict | None, dict[tuple[int, int, str], dict]]:
    """
    Settings and episodes by their jobs, of a file of JSON lines. The settings are `None` in an empty file. A last line
    that is not JSON is dropped: a process that is killed can leave one.

    Raises:
        [`StoredEpisodesError`]: If the file cannot be read, or a line is not what it should be.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoredEpisodesError(f"The episodes of `output_dir` cannot be read: {error}.") from None
    settings, records = None, {}
    *whole, last = content.split(b"\n")
    for number, line in enumerate([*whole, last], start=1):
        try:
            entry = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            if number > len(whole):
                break
            problem = f"is not JSON ({error})"
        else:
            problem = _find_problem(entry, settings)
        if problem:
            kept = f"the {number - 1} lines before it" if number > 1 else "what you need of it"
            raise StoredEpisodesError(
                f"{path}, line {number} {problem}. Repair or remove this line (the evaluation plays what is missing), "
                f"keep {kept} elsewhere and start with a new `output_dir`, or restore the file."
            )
        if settings is None:
            settings = entry["settings"]
        else:
            records.setdefault(job_of(entry), entry)
    return settings, records


def _find_problem(entry: Any, settings: dict | None) -> str:
    """Why a line is not the settings, if there are none yet, or else not one of their episodes."""
    if settings is None:
        found = entry.get("settings") if isinstance(entry, dict) else None
        is_whole = isinstance(found, dict) and isinstance(found.get("users"), dict)
        is_whole = is_whole and _is_count(found.get("num_tasks")) and _is_count(found.get("seed"))
        return "" if is_whole else "does not hold the settings of an evaluation"
    if not isinstance(entry, dict):
        return "is not an episode"
    for name, is_right in RECORD.items():
        if name not in entry:
            return f"is not an episode: it has no `{name}`"
        if not is_right(entry[name]):
            return f"is not an episode: its `{name}` is {show(entry[name])}"
    if entry["task"] >= settings["num_tasks"]:
        return f"is of the task {entry['task']}, but there are {settings['num_tasks']}"
    return "" if entry["user"] in settings["users"] else f"is of the user {entry['user']!r}, whom the settings lack"


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 0


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


# The fields of an episode on disk, each with its check
RECORD = {
    "task": _is_count,
    "run": _is_count,
    "user": _is_text,
    "reward": _is_finite,
    "success": lambda value: isinstance(value, bool),
    "num_turns": _is_count,
    "num_questions": _is_count,
    "stop_reason": _is_text,
    "messages": lambda value: isinstance(value, list),
}
