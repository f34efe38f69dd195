# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The program that runs submitted code, in processes of its own: `python -I -S runner.py`. Not to be imported.

It reads a JSON job from the first line of its standard input, and gives up all rights that a pure function does not
need. Each call then gets a process of its own, forked from this one, which gives up all other rights, reads the
arguments of its call from the next line, and runs the code. This process reads neither arguments nor results: it stops
the other one, passes on its output, and keeps none of it. So a process knows the arguments of one call and no expected
value, and cannot gain by forging a result.
"""

import contextlib
import ctypes
import decimal  # noqa: F401  # now, because the shared library that it may need is out of reach later
import importlib.machinery
import json
import os
import platform
import resource
import signal
import struct
import sys
import types
import zlib  # noqa: F401  # as above


ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
# Allowlist of system calls, as (number on x86_64, number on aarch64): to allocate memory, read the clock, read files,
# write to what is open, and end. Nothing that starts, signals or inspects a process, opens a socket or changes a file.
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
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "getrandom": (318, 278),
    "statx": (332, 291),
}
# Allowed values of an argument (counted from 0) of some of these: those that CPython and the C library use
ARGUMENTS = {
    # Give memory back (MADV_DONTNEED, MADV_FREE) and ask for huge pages (MADV_HUGEPAGE)
    "madvise": (2, [4, 8, 14]),
    # FUTEX_WAIT, _WAKE, _WAIT_BITSET and _WAKE_BITSET, for this process (128), and with the clock of the day (256)
    "futex": (1, [128, 129, 128 | 9, 128 | 10, 128 | 256 | 9]),
    # To read a file and to list a directory
    "openat": (2, [os.O_RDONLY, os.O_CLOEXEC, os.O_CLOEXEC | os.O_NONBLOCK | os.O_DIRECTORY]),
}

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 22, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION = 0x20080522
SECCOMP_MODE_FILTER = 2
KILL_PROCESS, REFUSE, ALLOW = 0x80000000, 0x00050001, 0x7FFF0000  # REFUSE: the call fails with EPERM
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # instructions of the filter
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # where the filter finds them

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
PATH_BENEATH = 1
READ_FILE, READ_DIR, EVERY_ACCESS = 1 << 2, 1 << 3, (1 << 13) - 1  # rights of Landlock's first version

libc = ctypes.CDLL(None, use_errno=True)


def kernel(name, function, *args):
    """Make a system call, whose arguments and result are machine words."""
    result = function(*[ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args])
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def drop_capabilities():
    """Leave root only the rights of an ordinary user."""
    kernel("prctl", libc.prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    # What a program that is started could get back. Only root may drop it, but no program can be started anyway
    capability = 0
    while libc.prctl(PR_CAPBSET_DROP, ctypes.c_long(capability), 0, 0, 0) == 0:
        capability += 1
    header = struct.pack("=Ii", CAPABILITY_VERSION, 0)
    kernel("capset", libc.capset, header, bytes(24))  # effective, permitted and inheritable, 64 bits each


def restrict_files():
    """Allow only the standard library to be read."""
    ruleset = struct.pack("<Q", EVERY_ACCESS)
    ruleset_fd = kernel("Landlock", libc.syscall, LANDLOCK_CREATE_RULESET, ruleset, len(ruleset), 0)

    def allow(path, access):
        fd = os.open(path, os.O_PATH)
        rule = struct.pack("<Qi", access, fd)
        kernel("Landlock", libc.syscall, LANDLOCK_ADD_RULE, ruleset_fd, PATH_BENEATH, rule, 0)
        os.close(fd)

    for library in filter(os.path.exists, sys.path):
        if os.path.isfile(library):
            allow(library, READ_FILE)
            continue
        for entry in os.scandir(library):
            # In a Python without a virtual environment, the installed packages lie within the standard library. The
            # right to list a directory holds for all beneath it, so the library itself cannot be listed either
            if entry.name not in ("site-packages", "dist-packages") and os.path.exists(entry.path):
                allow(entry.path, READ_FILE | READ_DIR if entry.is_dir() else READ_FILE)
    # Imports use lists of the libraries' files, which are made now
    importlib.machinery.PathFinder.find_spec("no such module")
    kernel("Landlock", libc.syscall, LANDLOCK_RESTRICT_SELF, ruleset_fd, 0)
    os.close(ruleset_fd)


def limit_resources(limits):
    for kind, limit in [
        (resource.RLIMIT_CPU, int(limits["seconds"]) + 1),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_CORE, 0),
    ]:
        resource.setrlimit(kind, (limit, limit))


def restrict_system_calls():
    """Make the kernel refuse every system call that is not on the allowlist."""
    machine = platform.machine()
    column = list(ARCHITECTURES).index(machine)
    instructions = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
    ]
    for name, numbers in SYSTEM_CALLS.items():
        if numbers[column] is None:
            continue
        decision = [(RETURN, 0, 0, ALLOW)]
        if name in ARGUMENTS:
            index, values = ARGUMENTS[name]
            decision = [(LOAD, 0, 0, FIRST_ARGUMENT + 8 * index)]  # its lower half, all that the kernel looks at
            for value in values:
                decision += [(JUMP_IF_EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
            decision += [(RETURN, 0, 0, REFUSE)]
        instructions += [(JUMP_IF_EQUAL, 0, len(decision), numbers[column]), *decision]
    instructions += [(RETURN, 0, 0, REFUSE)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions))
    program = struct.pack("@HP", len(instructions), ctypes.addressof(code))
    kernel("seccomp", libc.prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)


def follow_into_death(parent):
    """End this process when its parent ends."""
    kernel("prctl", libc.prctl, PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def describe(error):
    """One short line about an error of the submission."""
    return f"{type(error).__name__}: {error}"[:200].replace("\n", " ")


def run(code, function, arguments):
    """Load the code and make the call."""
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
    try:
        # Encoded here, so that a value which is not JSON is an error of the call
        return [True, json.loads(json.dumps(target(*arguments)))]
    except BaseException as error:
        return [False, describe(error)]


def make_call(job, parent):
    """Read the arguments of a call and make it, in a process for this call only, which ends here."""
    # Kept for the end, whatever the submission does to the modules
    dumps, write, leave = json.dumps, os.write, os._exit
    if job["isolated"]:
        follow_into_death(parent)
        limit_resources(job["limits"])
        restrict_system_calls()
    line = sys.stdin.buffer.readline()
    if not line:
        leave(0)
    write(1, b"ready\n")
    answer = b"\n" + dumps(run(job["code"], job["function"], json.loads(line))).encode()
    while answer:
        answer = answer[write(1, answer) :]
    leave(0)


def supervise_call(job, seconds, buffer):
    """
    Start the process of the next call and wait until it has ended, or stop it.

    Returns how many bytes it put out, how it ended, and the seconds that are left; `None` if there is no next call.
    """
    supervisor = os.getpid()
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.closerange(3, max(read_end, write_end) + 1)
        make_call(job, supervisor)
    os.close(write_end)
    with open(read_end, "rb", buffering=0) as pipe:
        started = pipe.read(6)
        if not started:
            return None
        if started != b"ready\n":
            raise OSError((started + pipe.read()).decode(errors="replace").strip())

        def stop(*_):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        length = 0
        while length < len(buffer) and (count := pipe.readinto(buffer[length:])):
            length += count
    if length == len(buffer):
        stop()
    _, status = os.waitpid(child, 0)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    return length, os.waitstatus_to_exitcode(status), left


def main():
    trainer = os.getppid()
    job = json.loads(sys.stdin.buffer.readline())
    limits = job["limits"]
    if job["isolated"]:
        if sys.platform != "linux" or platform.machine() not in ARCHITECTURES:
            raise OSError(f"{platform.system()} on {platform.machine()} is not Linux on x86_64 or aarch64")
        drop_capabilities()
        follow_into_death(trainer)
        kernel("prctl", libc.prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        restrict_files()
    os.write(1, b"ready\n")
    # What the processes put out, wiped after each call: whatever one has said of its arguments, the next cannot read
    buffer = memoryview(bytearray(limits["output_bytes"] + 1))
    seconds = limits["seconds"]
    while ended := supervise_call(job, seconds, buffer):
        length, status, seconds = ended
        os.write(1, json.dumps([status, seconds, length]).encode() + b"\n")
        sent = 0
        while sent < length:
            sent += os.write(1, buffer[sent:length])
        buffer[:length] = bytes(length)
        buffer = buffer[length:]


if __name__ == "__main__":
    main()
