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

"""
The program that runs submitted code, in a process of its own: `python -I -S runner.py`. Not to be imported.

It reads a JSON job from its standard input, gives up for good everything that a pure function does not need, prints
`ready`, runs the code and prints what the calls returned as one JSON line, the last one of its output. Whoever forges
that line gains nothing: the expected values are not in this process.
"""

import ctypes
import decimal  # noqa: F401  # now, because the shared library that it may need is out of reach later
import json
import os
import platform
import struct
import sys
import types
import zlib  # noqa: F401  # as above


ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
# All that a process may ask of the kernel, as (number on x86_64, number on aarch64): compute, allocate memory, read
# the clock, read files, write to what is open, end. Nothing that starts, signals or inspects a process, opens a
# socket, or changes a file. `openat` is allowed for reading only.
OPENAT = (257, 56)
SYSTEM_CALLS = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "getcwd": (79, 17),
    "gettimeofday": (96, 169),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "getdents64": (217, 61),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "newfstatat": (262, 79),
    "getrandom": (318, 278),
    "statx": (332, 291),
}

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
KILL_PROCESS, REFUSE, ALLOW = 0x80000000, 0x00050001, 0x7FFF0000  # REFUSE: the call fails with EPERM
LOAD, JUMP_IF_EQUAL, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of the filter
NUMBER, ARCHITECTURE, THIRD_ARGUMENT = 0, 4, 32  # where the filter finds them

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
READ_FILE, READ_DIR, EVERY_ACCESS = 1 << 2, 1 << 3, (1 << 13) - 1  # rights of Landlock's first version

libc = ctypes.CDLL(None, use_errno=True)


def kernel(name, function, *args):
    """Call the kernel, which takes and returns machine words."""
    result = function(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args])
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def limit_resources(limits):
    import resource

    for kind, limit in [
        (resource.RLIMIT_CPU, int(limits["seconds"]) + 1),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ]:
        resource.setrlimit(kind, (limit, limit))


def restrict_files():
    """Leave nothing but the standard library to read, and the empty directory to list."""
    ruleset = struct.pack("<Q", EVERY_ACCESS)
    ruleset_fd = kernel("Landlock", libc.syscall, LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)

    def allow(path, access):
        fd = os.open(path, os.O_PATH)
        rule = struct.pack("<Qi", access, fd)
        kernel("Landlock", libc.syscall, LANDLOCK_ADD_RULE, ruleset_fd, PATH_BENEATH, rule, 0)
        os.close(fd)

    allow(".", READ_DIR)
    for library in filter(os.path.exists, sys.path):
        if os.path.isfile(library):
            allow(library, READ_FILE)
            continue
        allow(library, READ_DIR)
        for name in os.listdir(library):
            # In a Python without a virtual environment the installed packages lie within the standard library
            if name not in ("site-packages", "dist-packages"):
                allow(os.path.join(library, name), READ_FILE)
    kernel("Landlock", libc.syscall, LANDLOCK_RESTRICT_SELF, ruleset_fd, 0)
    os.close(ruleset_fd)


def restrict_system_calls():
    """Make the kernel refuse every system call that is not on the list."""
    machine = platform.machine()
    column = list(ARCHITECTURES).index(machine)
    instructions = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
    ]
    for numbers in SYSTEM_CALLS.values():
        if numbers[column] is not None:
            instructions += [(JUMP_IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, ALLOW)]
    instructions += [
        (JUMP_IF_EQUAL, 0, 3, OPENAT[column]),
        (LOAD, 0, 0, THIRD_ARGUMENT),
        (JUMP_IF_ANY_BIT, 1, 0, os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    kernel("seccomp", libc.prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)


def isolate(limits):
    if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
        raise OSError(f"{platform.system()} on {platform.machine()} is not Linux on x86_64 or aarch64")
    limit_resources(limits)
    # The trainer's death ends this process too
    kernel("prctl", libc.prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0)
    kernel("prctl", libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    restrict_files()
    restrict_system_calls()


def describe(error):
    """One short line on an error of the submission."""
    return f"{type(error).__name__}: {error}"[:200].replace("\n", " ")


def run(code, function, calls):
    """Load the code and make the calls, each of which fails alone."""
    # A real module, because dataclasses look theirs up
    module = types.ModuleType("submission")
    sys.modules["submission"] = module
    try:
        exec(compile(code, "submission", "exec"), module.__dict__)
    except BaseException as error:
        return describe(error)
    target = module.__dict__.get(function)
    if not callable(target):
        return f"there is no function `{function}`"
    outcomes = []
    for args in calls:
        try:
            # Encoded here, so that a value which is not JSON fails this call only
            outcomes.append([True, json.loads(json.dumps(target(*args)))])
        except BaseException as error:
            outcomes.append([False, describe(error)])
    return outcomes


def main():
    # Kept for the end, whatever the submission does to the modules
    dumps, write, leave = json.dumps, os.write, os._exit
    job = json.load(sys.stdin.buffer)
    if job["isolated"]:
        isolate(job["limits"])
    write(1, b"ready\n")
    answer = b"\n" + dumps(run(job["code"], job["function"], job["calls"])).encode()
    while answer:
        answer = answer[write(1, answer) :]
    leave(0)


if __name__ == "__main__":
    main()
