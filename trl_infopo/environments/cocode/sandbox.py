# Copyright 2026 The trl-infopo authors.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Run code that nobody vouches for. What it may do is settled in `runner.py`, how long it may take is settled here."""

import functools
import json
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path


RUNNER = Path(__file__).with_name("runner.py")


@dataclass(frozen=True)
class Limits:
    """
    What one submission may use.

    Attributes:
        seconds (`float`, *optional*, defaults to `5.0`):
            Wall-clock time from loading the code to the last result.
        memory_bytes (`int`, *optional*, defaults to `256 * 2**20`):
            Address space, the interpreter's own (about 30 MB) included.
        output_bytes (`int`, *optional*, defaults to `65536`):
            What it prints and returns.
        code_bytes (`int`, *optional*, defaults to `65536`):
            Length of its source.
    """

    seconds: float = 5.0
    memory_bytes: int = 256 * 2**20
    output_bytes: int = 65536
    code_bytes: int = 65536


@dataclass(frozen=True)
class Outcome:
    """
    What became of one call.

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
    What became of a submission.

    Attributes:
        outcomes (`tuple` of [`Outcome`]):
            One per call; empty if the submission did not get through them.
        error (`str`):
            Why not, in a line; empty if it did.
    """

    outcomes: tuple[Outcome, ...] = ()
    error: str = ""


class SandboxError(RuntimeError):
    """The sandbox itself could not be set up, which says nothing on the submission."""


def run_code(
    code: str, function: str, calls: list[list], limits: Limits | None = None, isolated: bool = True
) -> SandboxResult:
    """
    Call a function of a submission, in a process of its own. Blocks until it is through or stopped.

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
            Whether the kernel keeps the process from files, network and other processes, and limits its memory.
            Without, only time and output are limited: whatever the trainer may do, the code may do.

    Returns:
        [`SandboxResult`]: What the calls returned, or why there is nothing.

    Raises:
        [`SandboxError`]: If the sandbox could not be set up.
    """
    limits = limits or Limits()
    if len(code) > limits.code_bytes:
        return SandboxResult(error=f"the code is longer than {limits.code_bytes} characters")
    job = {"code": code, "function": function, "calls": calls, "limits": asdict(limits), "isolated": isolated}
    timed_out = threading.Event()
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            [sys.executable, "-I", "-S", str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
            cwd=directory,
            start_new_session=True,  # out of reach of `kill(0)` and of the terminal
        ) as process,
    ):

        def time_out():
            timed_out.set()
            process.kill()

        timer = threading.Timer(limits.seconds, time_out)
        try:
            # The runner reads the whole job before it runs any of it, so that this cannot block
            process.stdin.write(json.dumps(job).encode())
            process.stdin.close()
            started = process.stdout.readline()
            if started != b"ready\n":
                raise SandboxError((started + process.stdout.read()).decode(errors="replace").strip())
            timer.start()
            output = process.stdout.read(limits.output_bytes + 1)
            if len(output) > limits.output_bytes:
                process.kill()
            process.wait()
        finally:
            timer.cancel()
            process.kill()
    if len(output) > limits.output_bytes:
        return SandboxResult(error=f"stopped, because it put out more than {limits.output_bytes} bytes")
    if timed_out.is_set() or -process.returncode == signal.SIGXCPU:
        return SandboxResult(error=f"stopped, because it took more than {limits.seconds:g} s")
    if process.returncode < 0:
        return SandboxResult(error=f"crashed with {signal.Signals(-process.returncode).name}")
    return _parse(output.rpartition(b"\n")[2], len(calls))


def _parse(line: bytes, num_calls: int) -> SandboxResult:
    """Read the runner's last line, which the submission may have kept from being written, or forged."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return SandboxResult(error="ended before it had returned from every call")
    match answer:
        case str():
            return SandboxResult(error=f"did not load: {answer[:200]}")
        case list() if len(answer) == num_calls:
            outcomes = []
            for item in answer:
                match item:
                    case [True, value]:
                        outcomes.append(Outcome(value))
                    case [False, str(error)]:
                        outcomes.append(Outcome(error=error[:200]))
                    case _:
                        break
            else:
                return SandboxResult(tuple(outcomes))
    return SandboxResult(error="ended before it had returned from every call")


@functools.cache
def sandbox_limitation() -> str | None:
    """
    Say why code cannot be isolated on this machine, by trying.

    Returns:
        `str` or `None`: The reason, `None` if it can.
    """
    try:
        run_code("def probe(): pass", "probe", [[]])
    except (SandboxError, OSError) as error:
        return str(error).splitlines()[-1]
    return None
