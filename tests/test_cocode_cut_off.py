# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""A submission to `CocodeEnv` whose result does not come, or not in time: it is never scored 0."""

import threading
from concurrent.futures import wait
from functools import partial

import pytest
from cocode_task import ROW, needs_sandbox

from trl_infopo import evaluate
from trl_infopo.environments.cocode import CocodeEnv
from trl_infopo.environments.cocode.env import pool


CODE = "def unique(names): return [x for x in names[::-1] if names.count(x) == 1]"


def submit(messages, tools):
    call = {"type": "function", "function": {"name": "submit", "arguments": {"code": CODE}}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def play(seconds):
    env = partial(CocodeEnv, allow_unsafe_execution=True)
    return evaluate(submit, {"c": env}, [ROW], feedback_timeout=seconds, show_progress=False).records


@pytest.fixture
def full_pool():
    """An event at which the submissions end that fill the pool."""
    ends = threading.Event()
    waiting = [pool.submit(ends.wait, 20) for _ in range(pool._max_workers)]
    yield ends
    ends.set()
    wait(waiting)


def test_a_right_submission_that_is_cut_off_is_an_error_and_no_zero(full_pool):
    with pytest.raises(RuntimeError, match="get_reward` failed in task 0, run 0 .*Raise `feedback_timeout`"):
        play(1.0)


@needs_sandbox
def test_a_right_submission_that_has_to_wait_is_scored(full_pool):
    threading.Timer(0.5, full_pool.set).start()
    (record,) = play(60.0)
    assert record["reward"] == 1.0


def test_whatever_fails_in_the_sandbox_is_an_error_and_no_zero(monkeypatch):
    def fail(*arguments):
        raise MemoryError("no memory left")

    monkeypatch.setattr("trl_infopo.environments.cocode.env.run_code", fail)
    with pytest.raises(RuntimeError, match="get_reward` failed in task 0, run 0 .*no memory left"):
        play(None)
