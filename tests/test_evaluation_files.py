# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation leaves on disk, whatever happens, and how it goes on from there."""

import json
import multiprocessing
import random
import re
import resource
import time
from dataclasses import dataclass
from functools import partial, wraps

import pytest
import torch
from case_names import case_name
from evaluation_helpers import (
    UNUSABLE,
    booking_expert,
    booking_users,
    call,
    clarify_users,
    lines,
    make_unusable,
    quiet,
)
from tiny_agents import AskEnvironment, make_model, make_tokenizer

from trl_infopo._describe import describe
from trl_infopo.environments import ClarifyEnv, booking_dataset, clarify_dataset
from trl_infopo.environments.clarify import clarify_oracle
from trl_infopo.evaluation import Evaluation, lock_directory, write_whole
from trl_infopo.policies import ChatPolicy
from trl_infopo.users import ScriptedUser, UserSimulatorError


def test_files(tmp_path):
    users = booking_users("plain", "chatty")
    evaluation = quiet(booking_expert, users, booking_dataset("test", 5), output_dir=tmp_path)
    header, *records = lines(tmp_path)
    assert header == {"settings": evaluation.settings}
    assert records == evaluation.records
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {"settings": evaluation.settings, "users": evaluation.summary()}
    assert Evaluation.load(tmp_path) == evaluation


def test_other_settings_are_named(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    quiet(booking_expert, users, dataset, output_dir=tmp_path)
    for arguments, message in [
        ({"temperature": 0.5}, "`temperature` at 0.0, which is now 0.5"),
        ({"max_turns": 3}, "`max_turns` at 16, which is now 3"),
        ({"dataset": dataset.select(range(4))}, "`dataset`"),
        ({"system_prompt": "Ask."}, "`system_prompt` at None"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "`chat_template_kwargs` at {}"),
        ({"policy": clarify_oracle}, "`policy` at 'evaluation_helpers.booking_expert'"),
        ({"policy": partial(booking_expert, tools=[])}, "`policy` .* now 'evaluation_helpers.booking_expert.tools="),
    ]:
        arguments = {"policy": booking_expert, "users": users, "dataset": dataset, **arguments}
        with pytest.raises(ValueError, match=message):
            quiet(output_dir=tmp_path, **arguments)
    assert len(lines(tmp_path)) == 6


def test_another_user_under_the_same_name_is_named(tmp_path):
    dataset = clarify_dataset("test", 3)
    play = partial(quiet, clarify_oracle, output_dir=tmp_path)
    play({"a": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="plain"))}, dataset)
    play(clarify_users("terse"), dataset)
    before = (tmp_path / "episodes.jsonl").read_text()
    with pytest.raises(ValueError, match="the user 'a' made by .*persona='plain'.*, who is now .*persona='terse'"):
        play({"a": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="terse"))}, dataset)
    with pytest.raises(ValueError, match="the user 'terse' made by .*now made by .*patience=1"):
        play({"terse": partial(ClarifyEnv, make_user=partial(ScriptedUser, persona="terse", patience=1))}, dataset)
    assert (tmp_path / "episodes.jsonl").read_text() == before
    header, *records = lines(tmp_path)
    assert list(header["settings"]["users"]) == ["a", "terse"]
    assert len(records) == 6
    # All are known after the next, too
    play(clarify_users("plain"), dataset)
    assert list(lines(tmp_path)[0]["settings"]["users"]) == ["a", "terse", "plain"]


def test_user_of_whom_there_is_no_episode_can_be_changed(tmp_path, monkeypatch):
    dataset = clarify_dataset("test", 2)
    monkeypatch.setattr(LeavingUser, "patience", 0)
    users = {"user": partial(ClarifyEnv, make_user=LeavingUser)}
    with pytest.raises(UserSimulatorError):
        quiet(clarify_oracle, users, dataset, output_dir=tmp_path)
    quiet(clarify_oracle, {"user": ClarifyEnv}, dataset, output_dir=tmp_path)
    assert lines(tmp_path)[0]["settings"]["users"] == {"user": "trl_infopo.environments.clarify.ClarifyEnv"}


@dataclass
class Options:
    depth: int
    api_key: str = "sk-0"

    def policy(self, messages, tools):
        pass


def decorated(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (booking_expert, "evaluation_helpers.booking_expert"),
        (partial(booking_expert, []), "evaluation_helpers.booking_expert(messages=[])"),
        (
            partial(partial(booking_users, "plain"), "terse"),
            "evaluation_helpers.booking_users(personas=['plain', 'terse'])",
        ),
        (decorated(partial(call, "ask", n=2)), "evaluation_helpers.call(tool='ask', arguments={'n': 2})"),
        (partial(decorated(call), tool="ask"), "evaluation_helpers.call(kwargs={'tool': 'ask'})"),
        (
            partial(ChatPolicy, "m", None, "sk-0"),
            "trl_infopo.policies.chat.ChatPolicy(model='m', base_url=None, api_key=...)",
        ),
        (Options(3).policy, "test_evaluation_files.Options(depth=3, api_key=...).policy"),
        (object(), "<object>"),
        (
            {"top_p": {2, 1}, "seed": (None, 0.5), "max_tokens": 5},
            "{'max_tokens': 5, 'seed': [None, 0.5], 'top_p': {1, 2}}",
        ),
        (
            {"extra_headers": {"X-Key": "sk-0"}, "extra_query": {"k": "sk-0"}},
            "{'extra_headers': ..., 'extra_query': ...}",
        ),
        ({"base_url": "https://host:1/v1", "model": "a/b"}, "{'base_url': 'https://host:1/v1', 'model': 'a/b'}"),
    ],
)
def test_descriptions(value, expected):
    assert describe(value) == expected


def test_retrained_weights_are_no_resumption(tmp_path):
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    arguments = ({"user": AskEnvironment}, [{"prompt": [{"role": "user", "content": "book please"}]}])
    options = {"output_dir": tmp_path, "max_completion_length": 32}
    quiet((model, tokenizer), *arguments, **options)
    quiet((model, tokenizer), *arguments, **options)
    with torch.no_grad():
        model.get_output_embeddings().weight[0, 0] += 0.001
    with pytest.raises(ValueError, match="`weights`"):
        quiet((model, tokenizer), *arguments, **options)


def test_users_and_runs_can_be_added(tmp_path):
    played = []

    def policy(messages, tools):
        if len(messages) == 1:
            played.append(messages)
        return booking_expert(messages, tools)

    dataset = booking_dataset("test", 5)
    quiet(policy, booking_users("plain"), dataset, output_dir=tmp_path)
    evaluation = quiet(policy, booking_users("plain", "terse"), dataset, num_runs=2, output_dir=tmp_path)
    assert len(played) == 20
    assert evaluation.records == quiet(policy, booking_users("plain", "terse"), dataset, num_runs=2).records
    # What is on disk and was not asked for stays out of what is returned, but not out of the statistics on disk
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(quiet(policy, booking_users("terse"), dataset, output_dir=tmp_path).records) == 5
    assert json.loads((tmp_path / "summary.json").read_text())["users"] == summary["users"]
    assert set(summary["users"]) == {"plain", "terse"}


def test_a_user_who_was_interrupted_is_in_no_summary(tmp_path):
    dataset = booking_dataset("test", 6)

    def interrupted(messages, tools):
        if messages[0]["content"] == dataset[4]["prompt"][0]["content"]:
            raise KeyboardInterrupt
        return booking_expert(messages, tools)

    interrupted.__qualname__ = booking_expert.__qualname__
    interrupted.__module__ = booking_expert.__module__
    quiet(booking_expert, booking_users("plain"), dataset, output_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        quiet(interrupted, booking_users("terse"), dataset, batch_size=1, output_dir=tmp_path)
    quiet(booking_expert, booking_users("plain"), dataset, output_dir=tmp_path)
    assert set(json.loads((tmp_path / "summary.json").read_text())["users"]) == {"plain"}
    assert any(record["user"] == "terse" for record in Evaluation.load(tmp_path).records)
    quiet(booking_expert, booking_users("terse"), dataset, output_dir=tmp_path)
    assert set(json.loads((tmp_path / "summary.json").read_text())["users"]) == {"terse", "plain"}


def test_half_written_line_is_played_again(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    for cut in (5, len(path.read_bytes()) - 20):  # within the last episode, within the settings
        path.write_bytes(path.read_bytes()[:-cut])
        if cut == 5:
            # Whoever looks at an evaluation that is running leaves its file alone
            content = path.read_bytes()
            assert Evaluation.load(tmp_path).records == evaluation.records[:-1]
            assert path.read_bytes() == content
        assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
        assert Evaluation.load(tmp_path) == evaluation


def spoil(lines, number, line):
    return b"\n".join([*lines[: number - 1], line, *lines[number:]]) + b"\n"


def edit(lines, number, **changes):
    record = {**json.loads(lines[number - 1]), **changes}
    return json.dumps({name: value for name, value in record.items() if value != "gone"}).encode()


BROKEN = {
    "half": (3, lambda lines: lines[2][:30]),
    "blank": (3, lambda lines: b""),
    "nul": (3, lambda lines: b"\0" * 40),
    "not utf-8": (3, lambda lines: lines[2].replace(b"paris", b"\xff\xfe").replace(b"plain", b"\xff")),
    "two in one": (3, lambda lines: lines[2] + lines[1]),
    "deep": (3, lambda lines: b"[" * 100_000),
    "list": (3, lambda lines: b"[]"),
    "number": (3, lambda lines: b"3"),
    "null": (3, lambda lines: b"null"),
    "header again": (3, lambda lines: lines[0]),
    "no task": (3, lambda lines: edit(lines, 3, task="gone")),
    "no messages": (3, lambda lines: edit(lines, 3, messages="gone")),
    "no success": (3, lambda lines: edit(lines, 3, success="gone")),
    "task as text": (3, lambda lines: edit(lines, 3, task="1")),
    "negative run": (3, lambda lines: edit(lines, 3, run=-1)),
    "reward nan": (3, lambda lines: edit(lines, 3, reward=float("nan"))),
    "reward as text": (3, lambda lines: edit(lines, 3, reward="1.0")),
    "success as number": (3, lambda lines: edit(lines, 3, success=1)),
    "user null": (3, lambda lines: edit(lines, 3, user=None)),
    "another task": (3, lambda lines: edit(lines, 3, task=99)),
    "another user": (3, lambda lines: edit(lines, 3, user="rude")),
    "header is no JSON": (1, lambda lines: b"settings"),
    "header is an episode": (1, lambda lines: lines[1]),
    "header without users": (1, lambda lines: b'{"settings": {"seed": 0, "num_tasks": 5}}'),
    "header without settings": (1, lambda lines: b"{}"),
    "header null": (1, lambda lines: b'{"settings": null}'),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_line_is_named_and_nothing_is_lost(tmp_path, broken):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    number, make = BROKEN[broken]
    written = path.read_bytes().splitlines()
    content = spoil(written, number, make(written))
    path.write_bytes(content)
    for read in (lambda: Evaluation.load(tmp_path), lambda: quiet(pytest.fail, users, dataset, output_dir=tmp_path)):
        with pytest.raises(ValueError, match=f"{re.escape(str(path))}, line {number} .*Repair or remove") as error:
            read()
        assert "\n" not in str(error.value)
        assert path.read_bytes() == content


def test_episodes_that_are_there_twice_count_once(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    header, *records = path.read_text().splitlines(keepends=True)
    # The first counts
    others = [json.dumps({**json.loads(record), "reward": 0.0, "success": False}) + "\n" for record in records]
    path.write_text("".join([header, *records, *others, *records]))
    assert Evaluation.load(tmp_path) == evaluation
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
    assert path.read_text() == "".join([header, *records])


@pytest.mark.parametrize("end", [b"", b"\0" * 100, b'{"task": 3', b"\xff", b"{}"[:1]], ids=case_name)
def test_end_of_a_file_that_was_cut_off(tmp_path, end):
    users, dataset = booking_users("plain"), booking_dataset("test", 5)
    evaluation = quiet(booking_expert, users, dataset, output_dir=tmp_path)
    path = tmp_path / "episodes.jsonl"
    content = path.read_bytes()
    path.write_bytes(content + end if end else content[:-1])  # without its newline the last episode is still whole
    assert Evaluation.load(tmp_path) == evaluation
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == evaluation
    assert path.read_bytes() == content


def test_empty_file_is_begun_anew(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 2)
    (tmp_path / "episodes.jsonl").touch()
    with pytest.raises(ValueError, match="holds no evaluation yet"):
        Evaluation.load(tmp_path)
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == Evaluation.load(tmp_path)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_directory_that_cannot_be_made(tmp_path, kind):
    path = make_unusable(kind, tmp_path)
    with pytest.raises(ValueError, match=f"`output_dir` is '{path}', which cannot be written to: ") as error:
        quiet(pytest.fail, booking_users("plain"), booking_dataset("test", 1), output_dir=path)
    assert "\n" not in str(error.value)


def test_directory_in_place_of_the_episodes(tmp_path):
    (tmp_path / "episodes.jsonl").mkdir()
    for read in (
        lambda: Evaluation.load(tmp_path),
        lambda: quiet(pytest.fail, booking_users("plain"), booking_dataset("test", 1), output_dir=tmp_path),
    ):
        with pytest.raises(ValueError, match="cannot be read: .*episodes.jsonl"):
            read()


@pytest.fixture
def full_disk():
    """No file can grow beyond some bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_loses_nothing(tmp_path, full_disk):
    users, dataset = booking_users("plain"), booking_dataset("test", 8)
    uninterrupted = quiet(booking_expert, users, dataset, output_dir=tmp_path / "other")
    whole = (tmp_path / "other" / "episodes.jsonl").read_bytes()
    full_disk(len(whole) // 2)
    with pytest.raises(OSError, match="episodes.jsonl") as error:
        quiet(booking_expert, users, dataset, batch_size=2, output_dir=tmp_path)
    full_disk(resource.RLIM_INFINITY)
    assert "goes on there" in error.value.__notes__[0]
    assert len(Evaluation.load(tmp_path).records) >= 2
    assert quiet(booking_expert, users, dataset, output_dir=tmp_path) == uninterrupted
    assert (tmp_path / "episodes.jsonl").read_bytes() == whole


def test_file_that_cannot_be_written_whole_stays(tmp_path, full_disk):
    path = tmp_path / "summary.json"
    write_whole(path, "old")
    full_disk(10)
    with pytest.raises(OSError, match="summary.json"):
        write_whole(path, "new" * 10)
    full_disk(resource.RLIM_INFINITY)
    assert path.read_text() == "old"


def test_directory_belongs_to_one_evaluation_at_a_time(tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 2)
    refused = []

    def policy(messages, tools):
        with pytest.raises(ValueError, match=f"Another evaluation is running in `output_dir` .{tmp_path}.") as error:
            quiet(booking_expert, users, dataset, output_dir=tmp_path)
        refused.append(error)
        return {"role": "assistant", "content": "goodbye"}

    quiet(policy, users, dataset, output_dir=tmp_path)
    assert len(refused) == 2
    assert len(lines(tmp_path)) == 3
    quiet(policy, users, dataset, output_dir=tmp_path)  # the lock is free again
    with pytest.raises(RuntimeError, match="stop"), lock_directory(tmp_path):
        raise RuntimeError("stop")
    with lock_directory(tmp_path):
        pass


def play_slowly(seconds, messages, tools):
    time.sleep(seconds)
    return booking_expert(messages, tools)


def test_evaluation_killed_six_times_is_the_same_to_the_byte(tmp_path):
    policy = partial(play_slowly, 0.001)
    play = partial(quiet, policy, booking_users("plain", "terse"), booking_dataset("test", 60), batch_size=2)
    start = time.monotonic()
    play(output_dir=tmp_path / "whole")
    seconds = time.monotonic() - start
    rng, num_episodes = random.Random(0), []
    for _ in range(6):
        # Forked, it starts at once
        process = multiprocessing.get_context("fork").Process(target=play, kwargs={"output_dir": tmp_path / "killed"})
        process.start()
        process.join(rng.uniform(0.05, 0.4) * seconds)
        process.kill()
        process.join()
        path = tmp_path / "killed" / "episodes.jsonl"
        num_episodes.append(path.read_bytes().count(b"\n") if path.exists() else 0)
    assert num_episodes == sorted(num_episodes)
    assert num_episodes[-1] > 1
    play(output_dir=tmp_path / "killed")
    for name in ("episodes.jsonl", "summary.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


class LeavingUser:
    """Answers a number of times, over all episodes, then fails."""

    patience = None

    def __init__(self, scenario, seed):
        self.user = ScriptedUser(scenario, seed)

    def reply(self, messages):
        if LeavingUser.patience == 0:
            raise UserSimulatorError("no connection")
        if LeavingUser.patience is not None:
            LeavingUser.patience -= 1
        return self.user.reply(messages)


def test_failing_user_stops_and_what_was_done_stays(tmp_path, monkeypatch):
    users, dataset = {"leaving": partial(ClarifyEnv, make_user=LeavingUser)}, clarify_dataset("test", 12)
    uninterrupted = quiet(clarify_oracle, users, dataset)
    monkeypatch.setattr(LeavingUser, "patience", 20)
    with pytest.raises(
        UserSimulatorError, match="The user of task .*, run 0 with the user 'leaving'.*no conn"
    ) as error:
        quiet(clarify_oracle, users, dataset, batch_size=4, output_dir=tmp_path)
    assert str(tmp_path) in error.value.__notes__[0]
    assert len(lines(tmp_path)) in (5, 9)
    monkeypatch.setattr(LeavingUser, "patience", None)
    assert quiet(clarify_oracle, users, dataset, batch_size=5, output_dir=tmp_path) == uninterrupted


class Pace:
    """How long an action takes, in this process."""

    seconds = 0.0


def play_at_a_pace(messages, tools):
    time.sleep(Pace.seconds)
    return booking_expert(messages, tools)


def test_killed_evaluation_goes_on(monkeypatch, tmp_path):
    users, dataset = booking_users("plain"), booking_dataset("test", 40)
    monkeypatch.setattr(Pace, "seconds", 0.02)
    process = multiprocessing.get_context("fork").Process(
        target=quiet, args=(play_at_a_pace, users, dataset), kwargs={"batch_size": 2, "output_dir": tmp_path}
    )
    process.start()
    monkeypatch.setattr(Pace, "seconds", 0.0)
    path = tmp_path / "episodes.jsonl"
    while process.is_alive() and not (path.exists() and len(lines(tmp_path)) > 4):
        time.sleep(0.05)
    with pytest.raises(ValueError, match="Another evaluation is running"):
        quiet(play_at_a_pace, users, dataset, output_dir=tmp_path)
    process.kill()
    process.join()
    assert 5 <= len(lines(tmp_path)) < 41
    assert quiet(play_at_a_pace, users, dataset, output_dir=tmp_path) == quiet(play_at_a_pace, users, dataset)
