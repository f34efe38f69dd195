# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Runs untrusted code. `runner.py` restricts what it may do, and this module how long it may take."""

import contextlib
import functools
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


RUNNER = Path(__file__).with_name("runner.py")


@dataclass(frozen=True)
class Limits:
    """
    What one submission may use.

    Attributes:
        seconds (`float`, *optional*, defaults to `5.0`):
            Wall-clock time of all calls together in seconds, including the time to load the code for each.
        memory_bytes (`int`, *optional*, defaults to `256 * 2**20`):
            Address space of a call in bytes, the interpreter's own (about 30 MB) included.
        output_bytes (`int`, *optional*, defaults to `65536`):
            Length of everything that it prints and returns, in bytes.
        code_bytes (`int`, *optional*, defaults to `65536`):
            Length of its source, in characters.
    """

    seconds: float = 5.0
    memory_bytes: int = 256 * 2**20
    output_bytes: int = 65536
    code_bytes: int = 65536


@dataclass(frozen=True)
class Outcome:
    """
    The outcome of one call.

    Attributes:
        value (`object`):
            What it returned, made of JSON types: a tuple comes back as a list.
        error (`str`):
            The exception that it raised, in a line; empty if it returned.
    """

    value: object = None
    error: str = ""


@dataclass(frozen=True)
class SandboxResult:
    """
    The outcome of a submission.

    Attributes:
        outcomes (`tuple[Outcome, ...]`):
            One per call; empty if the submission did not get through them.
        error (`str`):
            Why not, in a line; empty if it did.
    """

    outcomes: tuple[Outcome, ...] = ()
    error: str = ""


class SandboxError(RuntimeError):
    """The sandbox itself could not be set up, which says nothing about the submission."""


def run_code(
    code: str, function: str, calls: list[list], limits: Limits | None = None, isolated: bool = True
) -> SandboxResult:
    """
    Call a function of a submission, each time in a process of its own, which knows only the arguments of its call.
    Blocks until all calls have ended or are stopped. The calls are made in turn, and the first one that neither
    returns nor raises an exception is the last.

    Args:
        code (`str`):
            Source of the submission.
        function (`str`):
            Name of the function to call.
        calls (`list[list]`):
            Positional arguments of each call, made of JSON types.
        limits ([`Limits`], *optional*):
            What the submission may use.
        isolated (`bool`, *optional*, defaults to `True`):
            Whether the kernel blocks the process's access to files, network and other processes, and limits its
            memory. If not, only time and output are limited: the code may do whatever the trainer may do.

    Returns:
        [`SandboxResult`]: What the calls returned, or why there is nothing.

    Raises:
        [`SandboxError`]: If the sandbox could not be set up.
    """
    limits = limits or Limits()
    if len(code) > limits.code_bytes:
        return SandboxResult(error=f"the code is longer than {limits.code_bytes} characters")
    job = {"code": code, "function": function, "limits": asdict(limits), "isolated": isolated}
    outcomes, num_bytes = [], 0
    with (
        # Where nothing can be written, no directory is needed, and none is left behind by a trainer that is killed
        contextlib.nullcontext("/") if isolated else tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            [sys.executable, "-s", "-S", "-P", str(RUNNER)],  # `-I`, which would ignore the seed of hashes as well
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PYTHONHASHSEED": "0"},  # the order of a set is the same each time
            cwd=directory,
            start_new_session=True,  # out of reach of `kill(0)` and of the terminal
        ) as process,
    ):
        try:
            _send(process, job)
            _receive(process)
            for arguments in calls:
                # The process of the call before has ended, and the one that reads this is for this call alone
                _send(process, arguments)
                status, seconds, length = json.loads(_receive(process))
                output = process.stdout.read(length)
                num_bytes += length
                if num_bytes > limits.output_bytes:
                    return SandboxResult(error=f"stopped, because it put out more than {limits.output_bytes} bytes")
                if seconds == 0 or -status == signal.SIGXCPU:
                    return SandboxResult(error=f"stopped, because it took more than {limits.seconds:g} s")
                if status < 0:
                    return SandboxResult(error=f"crashed with {signal.Signals(-status).name}")
                outcome = _parse(output.rpartition(b"\n")[2])
                if isinstance(outcome, str):
                    return SandboxResult(error=outcome)
                outcomes.append(outcome)
            return SandboxResult(tuple(outcomes))
        except BaseException:
            process.kill()
            raise


def _send(process: subprocess.Popen, message: object) -> None:
    """Write a line to the runner. If that has ended, its reason is read next."""
    try:
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _receive(process: subprocess.Popen) -> bytes:
    """Read a line that the runner wrote, not the submission."""
    line = process.stdout.readline()
    if line != b"ready\n" and not line.startswith(b"["):
        raise SandboxError((line + process.stdout.read()).decode(errors="replace").strip() or "the sandbox ended")
    return line


def _parse(line: bytes) -> Outcome | str:
    """
    Read the last line of a call, which the submission may have kept from being written, or forged: an outcome, or why
    there is none.
    """
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    match answer:
        case str():
            return f"did not load: {answer[:200]}"
        case [True, value]:
            return Outcome(value)
        case [False, str(error)]:
            return Outcome(error=error[:200])
    return "ended before it had returned from every call"


@functools.cache
def sandbox_limitation() -> str | None:
    """
    Find out, by trying, why code cannot be isolated on this machine.

    Returns:
        `str` or `None`: The reason, `None` if it can be isolated.
    """
    try:
        # Imports a package that the runner does not: without its capabilities, root may not be able to read it
        result = run_code("def probe(): import wsgiref.util", "probe", [[]], Limits(seconds=60))
    except (SandboxError, OSError) as error:
        return str(error).splitlines()[-1]
    problem = result.error or result.outcomes[0].error
    return f"there the standard library cannot be used: {problem}" if problem else None


def can_isolate(environment: str, allow_unsafe_execution: bool) -> bool:
    """
    Whether code is isolated on this machine.

    Args:
        environment (`str`):
            Name of the environment that would run it.
        allow_unsafe_execution (`bool`):
            Whether it may run without isolation.

    Returns:
        `bool`: Whether it is isolated.

    Raises:
        `RuntimeError`: If it cannot be isolated, and may not run without.
    """
    limitation = sandbox_limitation()
    if limitation and not allow_unsafe_execution:
        raise RuntimeError(
            f"`{environment}` runs code that a model wrote, and cannot isolate it here ({limitation}). Use Linux 5.13 "
            "or later on x86_64 or aarch64, in a container that permits Landlock and seccomp. "
            "`allow_unsafe_execution=True` runs it all the same, with every right that you have."
        )
    return limitation is None
