# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from cocode_task import ROW, needs_sandbox
from hypothesis import given, settings
from hypothesis import strategies as st

from trl_infopo.environments.cocode import (
    CocodeEnv,
    Limits,
    Outcome,
    run_code,
    runner,
    sandbox,
    tasks,
)
from trl_infopo.environments.cocode import env as env_module
from trl_infopo.environments.cocode import sandbox as sandbox_module


pytestmark = needs_sandbox

SITE_PACKAGES = Path(pytest.__file__).parents[1]
# In a Python without a virtual environment, the installed packages lie within the standard library
INSTALLED = Path(os.__file__).with_name("site-packages")
INSTALLED = INSTALLED if INSTALLED.exists() else SITE_PACKAGES
HONEST = "def unique(names):\n    return [name for name in names[::-1] if names.count(name) == 1]"
REFUSED = "PermissionError"
NOBODY = 65534


def call(body):
    """A submission that does something when it is called."""
    return "def unique(names):\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")


# name: (code, what the agent is told). PARENT and CANARY stand for the trainer's process id and a file of its own
HOSTILE = {
    "endless_loop": (call("while True: pass"), "took more than 1.5 s"),
    "endless_loop_on_loading": ("while True: pass", "took more than 1.5 s"),
    "sleep": (call("import time\ntime.sleep(1e6)"), "took more than 1.5 s"),
    "sleep_behind_closed_output": (call("import os, time\nos.close(1); os.close(2); time.sleep(1e6)"), "1.5 s"),
    "deaf_to_signals": (
        call("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"),
        "took more than 1.5 s",
    ),
    "catch_everything": (call("while True:\n    try: 1 / 0\n    except BaseException: pass"), "took more than 1.5 s"),
    "fork_bomb": (call("import os\nwhile True: os.fork()"), REFUSED),
    "fork_in_c": (
        call("import ctypes\nif ctypes.CDLL(None).fork() == -1: raise PermissionError('no fork')"),
        "no fork",
    ),
    "fork_by_x32_number": (
        call("import ctypes\nif ctypes.CDLL(None).syscall(0x40000000 | 57) == -1: raise PermissionError('no fork')"),
        "no fork",
    ),
    "subprocess": (call("import subprocess\nsubprocess.run(['sh', '-c', 'echo owned'])"), REFUSED),
    "system": (call("import os\nif os.system('touch CANARY'): raise PermissionError('no shell')"), "no shell"),
    "exec": (call("import os\nos.execv('/bin/sh', ['sh', '-c', 'touch CANARY'])"), REFUSED),
    "many_threads": (
        call("import threading, time\nfor _ in range(1000): threading.Thread(target=time.sleep, args=[9]).start()"),
        "RuntimeError: can't start new thread",
    ),
    "memory_bomb": ("bomb = []\nwhile True: bomb.append(bytearray(2**20))", "did not load: MemoryError"),
    "memory_bomb_at_once": (call("return 'x' * 2**40"), "MemoryError"),
    "memory_map": (call("import mmap\nreturn len(mmap.mmap(-1, 2**30)[:])"), "Cannot allocate memory"),
    "recursion": (call("return unique(names)"), "RecursionError"),
    "stack_overflow": (
        call("import sys\nsys.setrecursionlimit(10**9)\nreturn sorted([names], key=unique)"),
        "The code ",  # "failed: crashed" or, where Python counts the depth in C, too, "raised RecursionError"
    ),
    "segmentation_fault": (call("import ctypes\nctypes.string_at(1)"), "crashed with SIGSEGV"),
    "write_outside": (call("open('CANARY', 'w').write('owned')"), REFUSED),
    "write_outside_by_relative_path": (call("open('../owned', 'w').write('owned')"), REFUSED),
    "write_inside": (call("open('owned', 'w').write('owned')"), REFUSED),
    "giant_file": (call("import tempfile\ntempfile.TemporaryFile().truncate(2**40)"), "FileNotFoundError"),
    "memory_file": (call("import os\nos.write(os.memfd_create('x'), bytes(2**20))"), REFUSED),
    "truncate_for_reading": (
        call("import os\nos.open(os.path.dirname(os.__file__) + '/this.py', os.O_RDONLY | os.O_TRUNC)"),
        REFUSED,
    ),
    "delete": (call("import os\nos.unlink('CANARY')"), REFUSED),
    "symlink": (call("import os\nos.symlink('/', 'root')\nreturn os.listdir('root')"), REFUSED),
    "read_a_file": (call("return open('/etc/passwd').read()"), REFUSED),
    "list_a_directory": (call("import os\nreturn os.listdir('/')"), REFUSED),
    "list_the_library": (call("import os\nreturn os.listdir(os.path.dirname(os.__file__))"), REFUSED),
    "list_installed_packages": (call("import os\nreturn os.listdir('INSTALLED')"), REFUSED),
    "list_installed_packages_by_another_path": (
        call("import json, os\nreturn os.listdir(os.path.dirname(json.__file__) + '/../..' * 20 + 'INSTALLED')"),
        REFUSED,
    ),
    "walk_installed_packages": (
        call("import os\ndef stop(error): raise error\nreturn list(os.walk('INSTALLED', onerror=stop))"),
        REFUSED,
    ),
    "find_without_reading": (call("import os\nreturn os.open('/etc/passwd', os.O_PATH)"), REFUSED),
    "unnamed_file": (call("import os\nreturn os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"), REFUSED),
    "lock_with_priorities": (
        call(
            "import ctypes, platform\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "number = {'x86_64': 202, 'aarch64': 98}[platform.machine()]\n"
            "if libc.syscall(number, ctypes.byref(ctypes.c_int(0)), 6, 0, None) == -1 and ctypes.get_errno() == 1:\n"
            "    raise PermissionError('no priorities')"
        ),
        "no priorities",
    ),
    "gain_capabilities": (
        call("import ctypes\nif ctypes.CDLL(None).capset(bytes(8), bytes(24)) == -1: raise PermissionError('no way')"),
        "no way",
    ),
    "environment_variables": (call("import os\nraise ValueError(str(dict(os.environ)))"), "ValueError: {"),
    "environment_of_the_parent": (call("return open('/proc/PARENT/environ').read()"), REFUSED),
    "memory_of_the_parent": (call("return open('/proc/PARENT/mem', 'rb').read()"), REFUSED),
    "trace_the_parent": (
        call("import ctypes\nif ctypes.CDLL(None).ptrace(16, PARENT, 0, 0): raise PermissionError('no ptrace')"),
        "no ptrace",
    ),
    "kill_the_parent": (call("import os\nos.kill(PARENT, 9)"), REFUSED),
    "kill_the_group": (call("import os\nos.killpg(0, 9)"), REFUSED),
    "kill_by_owned_descriptor": (call("import fcntl\nfcntl.fcntl(0, fcntl.F_SETOWN, PARENT)"), REFUSED),
    "socket": (call("import socket\nsocket.create_connection(('127.0.0.1', PORT))"), REFUSED),
    "datagram": (call("import socket\nsocket.socket(type=socket.SOCK_DGRAM)"), REFUSED),
    "unix_socket": (call("import socket\nsocket.socket(socket.AF_UNIX).connect('/run/docker.sock')"), REFUSED),
    "import_the_environment": (call("import trl_infopo.environments.cocode.tasks"), "ModuleNotFoundError"),
    "import_it_by_path": (
        call("import sys\nsys.path[:0] = ['REPOSITORY', 'SITE_PACKAGES']\nimport trl_infopo, numpy"),
        "ModuleNotFoundError",
    ),
    "read_the_environment": (call("return open('TASKS').read()"), REFUSED),
    "search_the_memory": (
        call("import gc\nreturn [item for item in gc.get_objects() if type(item) is list and 'expected' in item]"),
        "nothing to add",
    ),
    "search_the_frames": (
        call(
            "import sys\nframe = sys._getframe(1)\nreturn str(frame.f_locals)[:99] + str(frame.f_back.f_locals)[:99]"
        ),
        "nothing to add",
    ),
    "huge_output": (call("print('x' * 10**7)"), "put out more than 65536 bytes"),
    "endless_output": (call("while True: print('x' * 1000)"), "put out more than 65536 bytes"),
    "endless_errors": (call("import os\nwhile True: os.write(2, b'x' * 1000)"), "put out more than 65536 bytes"),
    "huge_result": (call("return ['x' * 1000] * 1000"), "put out more than 65536 bytes"),
    "huge_exception": (call("raise ValueError('x' * 10**6)"), "ValueError: xxx"),
    "exit": (call("import sys\nsys.exit(0)"), "SystemExit: 0"),
    "hard_exit": (call("import os\nos._exit(0)"), "ended before"),
    "exit_on_loading": ("raise SystemExit", "did not load: SystemExit"),
    "abort": (call("import os\nos.abort()"), "crashed with SIG"),
    "closed_output": (call("import os\nos.close(1)"), "ended before"),
    "forged_success": (call("import os\nos.write(1, b'\\n[true, true]')\nos._exit(0)"), "nothing to add"),
    "forged_success_of_all_calls": (
        call("import os\nos.write(1, b'\\n[' + b', '.join([b'[true, true]'] * 10) + b']')\nos._exit(0)"),
        "ended before",
    ),
    "forged_report_of_the_runner": (
        call("import os\nos.write(1, b'[0, 5.0, 13]\\n\\n[true, true]\\n' * 10)\nos._exit(0)"),
        "ended before",
    ),
    "ask_for_the_next_call": (
        call("import os\nos.write(1, b'\\n[true, true]\\n[0, 5.0, 13]\\n')\nreturn os.read(0, 99)"),
        "took more than 1.5 s",
    ),
    "forged_nonsense": (call("import os\nos.write(1, b'\\n{\"score\": 1}')\nos._exit(0)"), "ended before"),
    "forged_nesting": (call("import os\nos.write(1, b'\\n' + b'[' * 60000)\nos._exit(0)"), "ended before"),
    "forged_number": (call("import os\nos.write(1, b'\\n' + b'9' * 60000)\nos._exit(0)"), "ended before"),
    "patched_json": (
        call("import json\njson.dumps = lambda *a, **k: '[[true, true]]'\njson.loads = lambda *a: True"),
        "nothing to add",
    ),
    "patched_runner": (
        call("import __main__\n__main__.describe = __main__.run = lambda *a: True\nreturn True"),
        "nothing to add",
    ),
    "patched_builtins": (
        call("import builtins\nbuiltins.len = builtins.print = builtins.isinstance = lambda *a: 1"),
        "ended before",
    ),
    "equal_to_everything": (
        "class Anything(list):\n    __eq__ = lambda *a: True\n    __hash__ = None\n" + call("return Anything()"),
        "nothing to add",
    ),
    "unserializable": (call("return {1, 2}"), "TypeError: Object of type set is not JSON"),
    "endless_repr": (
        "class Trap(Exception):\n    def __str__(self):\n        while True: pass\n" + call("raise Trap"),
        "took more than 1.5 s",
    ),
    "at_exit": ("import atexit\natexit.register(lambda: open('CANARY', 'w'))\n" + call("pass"), "nothing to add"),
    "not_python": ("this is no Python", "did not load: SyntaxError"),
    "nothing": ("", "did not load: there is no function `unique`"),
    "no_function": ("unique = 3", "did not load: there is no function `unique`"),
    "null_bytes": ("def unique(names):\0 pass", "did not load: "),
    "lone_surrogate": ("unique = '\ud800'", "did not load: UnicodeEncodeError"),
    "huge_source": ("#" * 10**7, "longer than 65536 characters"),
    "deep_source": ("x = " + "(" * 30000 + ")" * 30000, "did not load: "),
    "constant_bomb": ("x = 'a' * 10**9 * 10", "did not load: MemoryError"),
}


def children():
    """Processes that this one has started and that are still there, zombies included."""
    return [path.read_text() for path in Path("/proc/self/task").glob("*/children") if path.read_text().strip()]


def submit(env, code):
    env.reset(**ROW)
    return asyncio.run(env.submit(code))


def fill_in(code, parent, canary, port):
    """A hostile submission against this machine."""
    for word, value in {
        "PARENT": parent,
        "CANARY": canary,
        "PORT": port,
        "REPOSITORY": Path(tasks.__file__).parents[4],
        "SITE_PACKAGES": SITE_PACKAGES,
        "INSTALLED": INSTALLED,
        "TASKS": tasks.__file__,
    }.items():
        code = code.replace(word, str(value))
    return code


def may_run(python):
    """Whether an ordinary user may, and it is one of those that the package supports."""
    check = [python, "-c", "import sys; assert sys.version_info >= (3, 11)"]
    try:
        return subprocess.run(check, user=NOBODY, cwd="/", env={}, stderr=subprocess.DEVNULL).returncode == 0
    except PermissionError:
        return False


@pytest.fixture(params=["root", "ordinary user", "root without CAP_SETPCAP"])
def trainer(request, tmp_path_factory):
    """Runs a script as a trainer of that user would, with `sandbox` to import and a directory of its own for files."""
    options, python = {}, sys.executable
    if request.param.startswith("root") and os.getuid():
        pytest.skip("the tests are not run as root")
    if request.param == "root without CAP_SETPCAP":
        options["preexec_fn"] = lambda: ctypes.CDLL(None).prctl(24, ctypes.c_long(8), 0, 0, 0)
    if request.param == "ordinary user" and not os.getuid():
        python = next(filter(may_run, [sys.executable, *map(str, Path("/usr/bin").glob("python3.??"))]), None)
        if python is None:
            pytest.skip("no Python that another user may run")
        options.update(user=NOBODY, group=NOBODY, extra_groups=[])
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        for file in (sandbox.__file__, runner.__file__):
            shutil.copy(file, directory)
        files = Path(directory, "files")
        files.mkdir()
        files.chmod(0o777)

        def run(script, **kwargs):
            script = f"import sys; sys.path.insert(0, {directory!r})\n" + textwrap.dedent(script)
            environment = {"TMPDIR": str(files)}
            command = [python, "-c", script]
            return subprocess.run(
                command, capture_output=True, text=True, cwd=files, env=environment, timeout=120, **options, **kwargs
            )

        run.user, run.files = request.param, files
        yield run


@pytest.fixture
def env(monkeypatch):
    monkeypatch.setattr(env_module, "Limits", partial(Limits, seconds=1.5))
    return CocodeEnv()


@pytest.mark.quick(6)  # all of them by default as an ordinary user, below
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_submission_is_contained(name, env, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "tell-nobody")
    canary = tmp_path / "canary"
    canary.write_text("alive")
    code, told = HOSTILE[name]
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = fill_in(code, os.getpid(), canary, server.getsockname()[1])
        started = time.monotonic()
        answer = submit(env, code)
        assert time.monotonic() - started < 10
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert env.done
    assert env.get_reward() == 0.0
    assert told in answer
    assert len(answer) < 700
    assert "tell-nobody" not in answer
    assert canary.read_text() == "alive"
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]
    assert not children()
    # The run goes on
    monkeypatch.undo()
    assert submit(env, HONEST) == "I have nothing to add."
    assert env.get_reward() == 1.0


@pytest.mark.parametrize("trainer", ["ordinary user"], indirect=True)
def test_hostile_submissions_of_an_ordinary_user_are_contained(trainer):
    canary = trainer.files / "canary"
    canary.write_text("alive")
    canary.chmod(0o666)
    script = """
        import json, os
        from concurrent.futures import ThreadPoolExecutor
        from sandbox import Limits, run_code

        def answer(code):
            result = run_code(code.replace("PARENT", str(os.getpid())), "unique", [[[]]] * 2, Limits(seconds=1.5))
            return result.error or "; ".join({outcome.error for outcome in result.outcomes})

        codes = json.load(sys.stdin)
        with ThreadPoolExecutor(4) as pool:
            print(json.dumps(dict(zip(codes, pool.map(answer, codes.values())))))
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        codes = {name: fill_in(code, "PARENT", canary, server.getsockname()[1]) for name, (code, _) in HOSTILE.items()}
        codes["honest"] = HONEST
        run = trainer(script, input=json.dumps(codes))
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    assert answers.pop("honest") == ""
    expected = {
        name: told.removeprefix("nothing to add").removeprefix("The code ") for name, (_, told) in HOSTILE.items()
    }
    assert {name: answer for name, answer in answers.items() if expected[name] not in answer} == {}
    assert canary.read_text() == "alive"
    assert [path.name for path in trainer.files.iterdir()] == ["canary"]


# A submission that waits, and the processes that stand between it and its trainer
WAITING = """
    import os, threading, time
    import sandbox

    def children(pid):
        return [child for task in os.listdir(f"/proc/{pid}/task")
                for child in open(f"/proc/{pid}/task/{task}/children").read().split()]

    code = "import time\\nwhile True: time.sleep(0.05)"
    arguments = (code, "f", [[]], sandbox.Limits(seconds=60))
    threading.Thread(target=sandbox.run_code, args=arguments, daemon=True).start()
    processes = []
    while len(processes) < 2:
        processes = [pid for runner in children("self") for pid in (runner, *children(runner))]
        time.sleep(0.02)
    # It has begun when the filter of system calls is in place
    while "Seccomp:\\t2" not in open(f"/proc/{processes[1]}/status").read():
        time.sleep(0.02)
"""


def test_no_capability_is_left(trainer):
    script = (
        WAITING
        + """
    print("".join(open(f"/proc/{pid}/status").read() for pid in processes))
    sys.stdout.flush()
    os._exit(0)
    """
    )
    run = trainer(script)
    assert run.returncode == 0, run.stderr
    status = [line.split() for line in run.stdout.splitlines()]
    sets = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"} | ({"CapBnd:"} if trainer.user == "root" else set())
    assert sorted(line[:2] for line in status if line and line[0] in sets) == sorted(
        [[name, "0" * 16] for name in sets] * 2
    )
    assert status.count(["NoNewPrivs:", "1"]) == 2


def test_a_dead_trainer_leaves_nothing_behind(trainer):
    script = (
        WAITING
        + """
    print(*processes, flush=True)
    os.kill(os.getpid(), 9)
    """
    )
    run = trainer(script)
    assert run.returncode == -9, run.stderr

    def running(pid):
        status = Path("/proc", pid, "status")
        return status.exists() and "State:\tZ" not in status.read_text()

    processes = run.stdout.split()
    assert len(processes) == 2
    deadline = time.monotonic() + 5
    while any(map(running, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(running, processes))
    assert list(trainer.files.iterdir()) == []


def test_only_harmless_advice_on_memory_is_taken(trainer):
    # No byte is advised upon, so that nothing happens where the kernel does take it
    code = """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        def f(advice):
            return libc.madvise(None, 0, advice) == -1 and ctypes.get_errno() == 1
    """
    script = """
        from sandbox import run_code
        advice = [*range(32), 100, 101, 102, 103]
        outcomes = run_code(sys.stdin.read(), "f", [[number] for number in advice]).outcomes
        print([number for number, outcome in zip(advice, outcomes) if not outcome.value])
    """
    run = trainer(script, input=textwrap.dedent(code))
    assert run.stdout == "[4, 8, 14]\n", run.stderr


def test_standard_packages_can_be_imported_and_installed_ones_not_be_seen(trainer):
    code = """
        import os, sys
        def f(installed):
            import array, ast, asyncio, collections.abc, concurrent.futures, email.message, html.parser
            import importlib.resources, json.tool, logging.handlers, multiprocessing.pool, unittest.mock
            import urllib.parse, wsgiref.util, xml.etree.ElementTree, zoneinfo, _heapq
            seen = []
            for name, module in list(sys.modules.items()):
                if hasattr(module, "__path__"):
                    for directory, folders, files in os.walk(os.path.dirname(os.__file__) + "/" + name):
                        seen += [directory, *folders, *files]
            assert len(seen) > 100
            refused = []
            for path in installed:
                try:
                    os.listdir(path)
                except PermissionError:
                    refused.append(path)
            return [[path for path in seen if "-packages" in path], refused]
    """
    script = """
        import os
        from sandbox import run_code
        library = os.path.dirname(os.__file__)
        paths = [library, f"{library}/site-packages", f"{library}/dist-packages", "/usr/lib/python3/dist-packages"]
        paths = list(filter(os.path.exists, paths))
        result = run_code(sys.stdin.read(), "f", [[paths]])
        print(result.error, [outcome for outcome in result.outcomes if outcome.value != [[], paths]])
    """
    run = trainer(script, input=textwrap.dedent(code))
    assert run.stdout == " []\n", run.stderr


def test_honest_code_has_the_standard_library():
    code = """
        import bisect, calendar, collections, copy, dataclasses, datetime, decimal, enum, fractions, functools, hashlib
        import heapq, itertools, json, locale, math, operator, random, re, statistics, string, textwrap, time, typing
        import os, sys, unicodedata, zlib
        from dataclasses import dataclass

        @dataclass
        class Point:
            x: "int"

        def f(n):
            print("a note", file=sys.stderr)
            day = datetime.datetime.strptime("2024-02-29", "%Y-%m-%d") + datetime.timedelta(n)
            return [day.strftime("%d %b"), str(decimal.Decimal("0.1") * 3), Point(n).x, (1, None), os.getcwd(),
                    {"é": 1.5}, random.Random(0).random() < 1, hashlib.sha256(b"").hexdigest()[:4], time.time() > 0]
    """
    result = run_code(textwrap.dedent(code), "f", [[1]])
    assert not result.error
    [outcome] = result.outcomes
    assert outcome.value == ["01 Mar", "0.3", 1, [1, None], "/", {"é": 1.5}, True, "e3b0", True]


def test_an_exception_fails_its_call_alone():
    result = run_code("def f(x): return 10 / x", "f", [[1], [0], ["a"], [5]])
    assert [outcome.value for outcome in result.outcomes] == [10.0, None, None, 2.0]
    assert [outcome.error.partition(":")[0] for outcome in result.outcomes] == [
        "",
        "ZeroDivisionError",
        "TypeError",
        "",
    ]


def test_a_process_knows_the_arguments_of_its_own_call_alone():
    # Everything that can be found from the frames, the objects and the modules of the process
    code = """
        import gc, sys
        CALLS = []
        def f(mine):
            CALLS.append(mine)
            found, frame = [], sys._getframe()
            while frame:
                found += [frame.f_locals, frame.f_globals]
                frame = frame.f_back
            texts = [repr(item) for item in [*found, *gc.get_objects(), dict(sys.modules)]]
            texts += [bytes(item).decode("latin-1") for item in gc.get_objects() if isinstance(item, memoryview)]
            for view in [local for space in found for local in space.values() if isinstance(local, memoryview)]:
                texts.append(bytes(view.obj).decode("latin-1"))
            print("mine is", mine)
            return [sum("input-" + str(i) in text for text in texts) > 0 for i in range(5)] + [len(CALLS)]
    """
    result = run_code(textwrap.dedent(code), "f", [[f"input-{i}"] for i in range(5)])
    assert not result.error
    assert [outcome.value for outcome in result.outcomes] == [[i == j for i in range(5)] + [1] for j in range(5)]


def test_time_counts_for_all_calls_together():
    limits = Limits(seconds=1)
    started = time.monotonic()
    result = run_code("import time\ndef f(): time.sleep(0.3)", "f", [[]] * 10, limits)
    assert result.error == "stopped, because it took more than 1 s"
    assert time.monotonic() - started < 3


def test_output_counts_for_all_calls_together():
    result = run_code("def f(): print('x' * 9000)", "f", [[]] * 10)
    assert result.error == "stopped, because it put out more than 65536 bytes"


def test_arguments_of_any_length_arrive():
    result = run_code("def f(x): return len(x)", "f", [["x" * 10**6], ["y" * 10**5]])
    assert [outcome.value for outcome in result.outcomes] == [10**6, 10**5]


def test_printing_does_not_disturb_the_results():
    result = run_code("def f(x):\n print('[[true, 0]]')\n print(x, end='')\n return x", "f", [[1], [2]])
    assert [outcome.value for outcome in result.outcomes] == [1, 2]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(json_values, max_size=4))
def test_values_go_in_and_out_unchanged(values):
    result = run_code("def f(x): return x", "f", [[value] for value in values])
    assert [outcome.value for outcome in result.outcomes] == values


def test_the_order_of_a_set_is_the_same_in_every_submission():
    code = "def f(text): return list(set(text.split()))"
    results = [run_code(code, "f", [["a few words in any order"]]) for _ in range(3)]
    assert len({str(result) for result in results}) == 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40) | st.text(alphabet='[]{}",:truefals0123 ', max_size=40).map(str.encode))
def test_whatever_is_forged_is_read_without_harm(line):
    assert isinstance(sandbox._parse(line), str | Outcome)


def test_sandboxes_run_at_once():
    limits = Limits(seconds=1)
    threads = [
        threading.Thread(target=run_code, args=("import time\ntime.sleep(9)", "f", [[]], limits)) for _ in range(4)
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 3


def test_submissions_of_a_batch_run_at_once(monkeypatch):
    monkeypatch.setattr(env_module, "Limits", partial(Limits, seconds=1))
    batch = [CocodeEnv() for _ in range(min(4, os.cpu_count()))]

    async def submit_all():
        return await asyncio.gather(*[env.submit("import time\ntime.sleep(9)") for env in batch])

    for env in batch:
        env.reset(**ROW)
    started = time.monotonic()
    answers = asyncio.run(submit_all())
    assert time.monotonic() - started < 1 + 0.5 * len(batch)
    assert set(answers) == {"The code failed: stopped, because it took more than 1 s."}


# Makes the kernel answer a system call with ENOSYS, as one does that has no Landlock or a container that hides it
WITHOUT_LANDLOCK = """
    import ctypes, struct
    from trl_infopo.environments.cocode import CocodeEnv, sandbox_limitation
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, struct.pack("@HP", len(program), ctypes.addressof(code)), 0, 0) == 0
    print(sandbox_limitation())
    try:
        CocodeEnv()
    except RuntimeError as error:
        print(error)
    CocodeEnv(allow_unsafe_execution=True)
    print("allowed")
"""


def test_no_isolation_no_run():
    script = [sys.executable, "-c", textwrap.dedent(WITHOUT_LANDLOCK)]
    limitation, refusal, allowed = subprocess.run(script, capture_output=True, text=True).stdout.splitlines()
    assert "Landlock: Function not implemented" in limitation
    assert limitation in refusal
    assert "allow_unsafe_execution=True" in refusal
    assert allowed == "allowed"


def test_allowed_by_name_it_runs_without_isolation(monkeypatch):
    monkeypatch.setattr(sandbox_module, "sandbox_limitation", lambda: "another operating system")
    monkeypatch.setattr(env_module, "Limits", partial(Limits, seconds=1.5))
    with pytest.raises(RuntimeError, match=r"another operating system.*allow_unsafe_execution=True"):
        CocodeEnv()
    env = CocodeEnv(allow_unsafe_execution=True)
    submit(env, HONEST)
    assert env.get_reward() == 1.0
    assert "1.5 s" in submit(env, call("while True: pass"))
    assert "65536 bytes" in submit(env, call("while True: print('x' * 1000)"))
    assert submit(env, call("return open('/proc/self/stat').read()")) == "I have nothing to add."  # not isolated
    assert env.get_reward() == 0.0


def test_a_broken_sandbox_is_no_score(monkeypatch, tmp_path):
    broken = tmp_path / "runner.py"
    broken.write_text("raise OSError('no sandbox today')")
    monkeypatch.setattr(sandbox, "RUNNER", broken)
    with pytest.raises(sandbox.SandboxError, match="no sandbox today"):
        run_code(HONEST, "unique", [[]])


def test_system_call_numbers_are_the_kernels():
    generic, x86 = Path("/usr/include/asm-generic/unistd.h"), Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not (generic.exists() and x86.exists()):
        pytest.skip("the kernel's headers are not installed")

    def numbers(header):
        words = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR")]
        return {
            line[1].removeprefix("__NR_").removeprefix("__NR3264_"): line[2] for line in words if line[-1].isdigit()
        }

    first, second = numbers(x86), numbers(generic)
    second["newfstatat"] = second["fstatat"]
    for name, (on_x86, on_arm) in runner.SYSTEM_CALLS.items():
        assert first[name] == str(on_x86)
        assert on_arm is None or second[name] == str(on_arm)
