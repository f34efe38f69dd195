# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""`trl-infopo eval`: its options, its files, and the policies and users that they name."""

import gc
import json
import os
import re
import weakref
from dataclasses import fields
from functools import partial

import pytest
from evaluation_helpers import UNUSABLE, lines, make_unusable
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_server import KEY, serve_oracle
from tiny_agents import make_model, make_tokenizer

from trl_infopo import cli, policies
from trl_infopo._describe import describe
from trl_infopo.environments import ENVIRONMENTS, BookingEnv, ClarifyEnv, clarify_dataset
from trl_infopo.evaluation import lock_directory
from trl_infopo.scripts import eval as eval_script
from trl_infopo.users import ChatUser


@pytest.fixture
def server():
    pytest.importorskip("openai")
    with serve_oracle() as server:
        yield server


@pytest.fixture(scope="module")
def tiny_path(tmp_path_factory):
    path, tokenizer = tmp_path_factory.mktemp("tiny"), make_tokenizer()
    make_model(tokenizer).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.thorough
def test_command_prints_the_matrix_of_the_quick_start(quickstart_policy, tmp_path, capsys):
    personas = ["plain", "terse", "chatty", "forgetful", "evasive"]
    command = ["eval", "--policies", f"plain={quickstart_policy}", "--users", *personas, "--num_tasks", "3"]
    command += ["--output_dir", str(tmp_path), "--baseline", "none", "ask"]
    assert cli.main(command) == 0
    output = capsys.readouterr().out
    assert re.search(" +".join(["policy", *personas]), output)
    assert re.search(r"\n *plain( +\d\.\d\d ±\d\.\d\d\*?){5} *\n", output)
    assert re.search(r"\n *plain\+ask( +\d\.\d\d ±\d\.\d\d){5} *\n", output)
    report = json.loads((tmp_path / "user_shift.json").read_text())
    assert list(report["policies"]) == ["plain", "plain+ask"]
    assert list(report["policies"]["plain"]) == personas
    assert lines(tmp_path / "plain+ask")[0]["settings"]["system_prompt"] == eval_script.ASK_PROMPT
    # Once more: nothing is played again, the report is the same
    before = (tmp_path / "plain" / "episodes.jsonl").stat().st_mtime_ns
    cli.main(command)
    assert (tmp_path / "plain" / "episodes.jsonl").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "user_shift.json").read_text()) == report


def test_command_with_an_endpoint_and_a_config(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    config = tmp_path / "eval.yaml"
    config.write_text(
        f"policies: [oracle]\nenvironment: clarify\nusers: [plain]\nbase_url: {server.url}\n"
        "chat_template_kwargs:\n  enable_thinking: false\n"
    )
    command = ["eval", "--config", str(config), "--num_tasks", "4", "--output_dir", str(tmp_path / "out")]
    cli.main(command)
    assert re.search(r"oracle +\d\.\d\d ±", capsys.readouterr().out)
    assert all(request["chat_template_kwargs"] == {"enable_thinking": False} for request in server.requests)
    # As JSON it is the same setting
    num_requests = len(server.requests)
    cli.main([*command, "--chat_template_kwargs", '{"enable_thinking": false}'])
    assert len(server.requests) == num_requests
    with pytest.raises(SystemExit):
        cli.main([*command, "--chat_template_kwargs", "{}"])
    error = " ".join(capsys.readouterr().err.split())
    assert "the setting `chat_template_kwargs` at {'enable_thinking': False}, which is now {}" in error
    assert KEY not in "".join(path.read_text() for path in tmp_path.rglob("*.json*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--users", "rude"], "'rude', choose among"),
        (["--users", "chat:gpt"], "answers through a tool"),
        (["--policies", "a", "b/a"], "two policies of the name 'a'"),
        (["--policies", "a/b=c/d"], "a name without slashes"),
        (["--environment", "chess"], "`environment` is 'chess', choose one of"),
        (["--baseline", "beg"], "invalid choice: 'beg'"),
        (["--environment", "clarify", "--split", "exam"], "'exam'"),
        (["--num_runs", "0"], "`num_runs` is 0, set it to at least 1"),
        (["--num_tasks", "0"], "`num_tasks` is 0"),
        (["--num_tasks", "1000000000"], "`num_tasks` is 1000000000, set it to at least 1 and at most 1000000"),
        (["--num_tasks", "1.5"], "argument --num_tasks/--num-tasks: invalid int value: '1.5'"),
        (["--num_task", "3"], "there is no option --num_task. Did you mean '--num_tasks'?"),
        (["--polices", "a"], "there is no option --polices. Did you mean '--policies'?"),
        (["--batch-sise=3"], "there is no option --batch-sise. Did you mean '--batch-size'?"),
        (["--num_tasks", "3", "4"], "'4' belongs to no option"),
        (["--seed", "-1"], "`seed` is -1, set it to at least 0"),
        (["--temperature", "nan"], "`temperature` is nan, set it to a finite number"),
        (["--temperature", "inf"], "`temperature` is inf, set it to a finite number"),
        (["--temperature", "1e-40"], "`temperature` is 1e-40, set it to at least 1e-05 and at most 100000.0, or to 0"),
        (["--feedback_timeout", "0"], "`feedback_timeout` is 0.0"),
        (["--batch_size", "-3"], "`batch_size` is -3"),
        (["--output_dir", ""], "`output_dir` is ''"),
        (["--output_dir", "/proc/self/status"], "/proc/self/status is not a directory"),
        (["--output_dir", "x" * 300], "File name too long"),
        (["--policies", f"{'x' * 300}=a"], "File name too long"),
        (["--policies", "user_shift.json=a"], "which a file of the results has"),
        (["--policies", "a", "A=b"], "the names 'a' and 'A', which would share a directory"),
        (["--policies", "a+ask=b", "a", "--baseline", "none", "ask"], "the names 'a+ask' and 'a+ask'"),
        (["--users", "Plain"], "Did you mean 'plain'?"),
        (["--config"], "--config is missing its file"),
        (["--config=a.yaml"], "--config is missing its file"),
        (["--config", "no/such.yaml"], "--config cannot be read: [Errno 2] No such file or directory: 'no/such.yaml'"),
        (["--config", "/"], "--config cannot be read: [Errno 21] Is a directory: '/'"),
        (["--temperature", "-1"], "`temperature` is -1.0"),
        (["--chat_template_kwargs", "{"], "`chat_template_kwargs` is not JSON"),
        (["--chat_template_kwargs", "3"], "`chat_template_kwargs` is '3', write a JSON object"),
        (["--policies", "=x"], "'=x'. Write a path"),
        (["--policies", "x="], "'x='. Write a path"),
        (["--policies", "/"], "'/'. Write a path"),
        (["--policies", "no/such/policy"], "'no/such/policy', which cannot be loaded"),
        (["--policies", "m", "--base_url", "http://localhost:1/v1"], "No API key"),
        (["--environment", "clarify", "--users", "chat:gpt"], "No API key"),
    ],
)
def test_wrong_options(options, message, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    if message == "No API key":
        pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", *([] if "--policies" in options else ["--policies", "a"]), *options])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("policies: a", "`policies` is 'a', write it as a list: [a]"),
        ("policies: [a, 3]", "`policies` is 3, set it to a text"),
        ("policies: []", "`policies` is [], set it to a list of texts"),
        ("policies: {a: b}", "`policies` is {'a': 'b'}, set it to a list"),
        ("policies:", "`policies` is None, set it to a list"),
        ("users: plain", "`users` is 'plain', write it as a list: [plain]"),
        ("users: null", "`users` is None, set it to a list"),
        ("environment: chess", "`environment` is 'chess', choose one of"),
        ("environment: bookin", "Did you mean 'booking'?"),
        ("environment: [booking]", "`environment` is ['booking'], set it to a text"),
        ("environment: null", "`environment` is None, set it to a text"),
        ("baseline: [beg]", "`baseline` is 'beg', choose one of"),
        ("split: [test]", "`split` is ['test'], set it to a text"),
        ("split: 3", "`split` is 3, set it to a text"),
        ("seed: null", "`seed` is None, set it to a whole number"),
        ("seed: 0.5", "`seed` is 0.5, set it to a whole number"),
        ("seed: true", "`seed` is True, set it to a whole number"),
        ("num_tasks: many", "invalid int value: 'many'"),
        ("temperature: .nan", "`temperature` is nan, set it to a finite number"),
        ("temperature: [1.0]", "`temperature` is [1.0], set it to a finite number"),
        ("temperature: null", "`temperature` is None, set it to a finite number"),
        ("base_url: 3", "`base_url` is 3, set it to a text"),
        ("chat_template_kwargs: [1]", "`chat_template_kwargs` is [1], write a JSON object"),
        ("output_dir: null", "`output_dir` is None"),
        ("polices: [a]", "Did you mean 'policies'?"),
        ("num_task: 3", "there is no option 'num_task', in "),
        ("3: a", "there is no option 3, in "),
        ("- policies", "must contain a YAML mapping"),
        ("", "must contain a YAML mapping"),
        ("policies: [a", "--config is not YAML: while parsing"),
        ("a: b: c", "--config is not YAML: mapping values are not allowed here"),
        ("\x00", "--config is not YAML: unacceptable character"),
    ],
)
def test_wrong_files_of_options(config, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    path = tmp_path / "eval.yaml"
    path.write_text(config)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", "--config", str(path), *([] if "polic" in config else ["--policies", "a"])])
    assert error.value.code == 2
    usage, line = capsys.readouterr().err.splitlines()
    assert message in line
    assert usage == "usage: trl-infopo eval [options]"


@pytest.mark.parametrize("kind", UNUSABLE[:3])
def test_command_without_a_directory_to_write_to(kind, tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    path = make_unusable(kind, tmp_path)
    with pytest.raises(SystemExit) as error:
        cli.main(["eval", "--policies", str(tiny_path), "--output_dir", str(path)])
    assert error.value.code == 2
    assert "cannot be written to" in capsys.readouterr().err.splitlines()[-1]


def test_command_in_a_directory_where_one_is_running(tiny_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(policies, "load_policy", pytest.fail)
    with lock_directory(tmp_path), pytest.raises(SystemExit) as error:
        cli.main(["eval", "--policies", str(tiny_path), "--output_dir", str(tmp_path)])
    assert error.value.code == 2
    assert "Another evaluation is running" in capsys.readouterr().err.splitlines()[-1]


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.none()),
)


def check_valid(name, value):
    kind = eval_script.EvalArguments.__annotations__[name]
    kind = list if kind == list[str] else kind
    # A whole number is a number, too
    assert isinstance(value, kind | int if name in ("temperature", "feedback_timeout") else kind)
    assert not isinstance(value, bool)
    if isinstance(value, int | float):
        assert 0 <= value < float("inf")


@given(st.sampled_from([field.name for field in fields(eval_script.EvalArguments)]), ANYTHING)
@settings(max_examples=300, deadline=None)
def test_any_option_is_valid_or_named(name, value):
    try:
        arguments = eval_script.EvalArguments(**{"policies": ["a"], name: value})
    except ValueError as error:
        message = str(error)
    else:
        check_valid(name, getattr(arguments, name))
        return
    assert message.startswith(f"`{name}` ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base_url", "localhost"], "write it like"),
        (["--users", "chat:gpt", "--user_base_url", "http://a:b@c/v1"], "use `api_key`"),
        (["--users", "chat:"], "`model` is ''"),
        (["--user_base_url", "http://localhost:1/v1"], "does nothing without chat:MODEL among the `users`"),
        (["--dataset_kwargs", '{"split": "test"}'], "`dataset_kwargs` is set, and does nothing without a `dataset`"),
    ],
)
def test_wrong_endpoints(options, message, capsys, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(SystemExit):
        cli.main(["eval", "--policies", "m", "--environment", "clarify", *options])
    assert message in capsys.readouterr().err


def test_a_policy_without_weights_is_found_before_any_is_evaluated(tiny_path, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["eval", "--policies", str(tiny_path), "no/such", "--output_dir", str(tmp_path / "out")])
    assert "'no/such', which cannot be loaded" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_model_at_a_time(tiny_path, tmp_path, monkeypatch):
    models, load_policy = [], policies.load_policy

    def load(path):
        if isinstance(path, str):
            assert all(model() is None for model in models)
        policy = load_policy(path)
        models.append(weakref.ref(policy.model))
        return policy

    monkeypatch.setattr(policies, "load_policy", load)
    command = ["--policies", f"a={tiny_path}", f"b={tiny_path}", "--num_tasks", "1", "--max_completion_length", "8"]
    gc.disable()  # chance must not free what the command has to
    try:
        cli.main(["eval", *command, "--output_dir", str(tmp_path)])
    finally:
        gc.enable()
    assert len(models) == 2


def test_another_endpoint_of_the_users_is_noticed(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://one/v1")
    for user_base_url, expected in ((None, "http://one/v1"), ("http://two/v1", "http://two/v1")):
        users = eval_script.make_factories(ENVIRONMENTS["clarify"], ["chat:m"], user_base_url)
        user = f"trl_infopo.users.chat.ChatUser(model='m', base_url='{expected}')"
        assert describe(users["chat:m"]) == f"trl_infopo.environments.clarify.ClarifyEnv(make_user={user})"
    with_key = partial(ChatUser, model="m", api_key=KEY, request_options={"extra_headers": {"X": KEY}})
    assert KEY not in describe(partial(ClarifyEnv, make_user=with_key))


def test_names_of_policies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("out/lr=3")
    assert eval_script.name_policies(["."]) == {tmp_path.name: "."}
    assert eval_script.name_policies(["out/.."]) == {tmp_path.name: "out/.."}
    assert eval_script.name_policies(["out/"]) == {"out": "out/"}
    assert eval_script.name_policies(["plain=a/b", "Qwen/Qwen3-0.6B", "out/lr=3", "x=out/lr=3"]) == {
        "plain": "a/b",
        "Qwen3-0.6B": "Qwen/Qwen3-0.6B",
        "lr=3": "out/lr=3",
        "x": "out/lr=3",
    }


def test_users_are_those_that_are_named_whatever_the_environment_was_given(tiny_path, tmp_path):
    options = ["--environment", "booking", "--users", "plain", "terse", "--num_tasks", "1", "--max_turns", "1"]
    options += ["--environment_kwargs", '{"persona": "chatty", "silence": 0.5}', "--max_completion_length", "8"]
    cli.main(["eval", "--policies", f"tiny={tiny_path}", *options, "--output_dir", str(tmp_path)])
    users = lines(tmp_path / "tiny")[0]["settings"]["users"]
    for name in ("plain", "terse"):
        assert f"persona='{name}'" in users[name]
        assert "silence=0.5" in users[name]


def test_errors_of_an_environment_keep_their_traceback(tiny_path, tmp_path, monkeypatch):
    def reset(self, *args, **row):
        raise ValueError("there is no database")

    monkeypatch.setattr(BookingEnv, "reset", reset)
    with pytest.raises(ValueError, match="there is no database"):
        cli.main(["eval", "--policies", f"tiny={tiny_path}", "--num_tasks", "1", "--output_dir", str(tmp_path)])


def test_mistakes_in_an_environment_of_ours_are_one_line(tiny_path, tmp_path, capsys):
    options = ["--num_tasks", "1", "--output_dir", str(tmp_path), "--environment_kwargs", '{"silence": 2}']
    with pytest.raises(SystemExit):
        cli.main(["eval", "--policies", f"tiny={tiny_path}", *options])
    assert "`silence` is 2" in capsys.readouterr().err.splitlines()[-1]


def write_matrix(path, policy, users=("plain",), environment="booking", maker="make", **changes):
    settings = dict.fromkeys(eval_script.TASK_SETTINGS, 1) | {"users": dict.fromkeys(users, f"{maker}()")}
    summaries = {policy: {user: {"success": 1.0} for user in users}}
    return eval_script.write_matrix(path, environment, "test", settings | {"model": policy} | changes, summaries)


def test_the_matrix_keeps_other_policies_of_the_same_tasks(tmp_path):
    path = tmp_path / "user_shift.json"
    assert not write_matrix(path, "a")
    assert not write_matrix(path, "b", ["terse", "plain"])
    matrix = json.loads(path.read_text())
    assert list(matrix["users"]) == ["plain", "terse"]
    assert list(matrix["policies"]) == ["a", "b"]
    path.write_text("{")
    assert write_matrix(path, "c")  # which is told, as what was there is gone
    assert json.loads(path.read_text())["policies"].keys() == {"c"}


@pytest.mark.parametrize(
    "changes",
    [{"environment": "clarify"}, {"maker": "other"}, *({name: 2} for name in eval_script.TASK_SETTINGS)],
    ids=str,
)
def test_the_matrix_never_mixes_tasks(tmp_path, changes):
    path = tmp_path / "user_shift.json"
    write_matrix(path, "a")
    assert write_matrix(path, "b", **changes)
    assert json.loads(path.read_text())["policies"].keys() == {"b"}


class Unrewarded(BookingEnv):
    get_reward = None


def test_an_environment_without_a_reward_is_one_line(tiny_path, tmp_path, capsys):
    options = ["--environment", f"{__name__}:Unrewarded", "--dataset", "trl_infopo.environments:booking_dataset"]
    options += ["--dataset_kwargs", '{"num_rows": 2}', "--output_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["eval", "--policies", f"tiny={tiny_path}", *options])
    assert stopped.value.code == 2
    assert "`Unrewarded` has no `get_reward`" in capsys.readouterr().err.splitlines()[-1]


def test_an_endpoint_that_fails_is_one_line(monkeypatch, tmp_path, capsys):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("trl_infopo.users.endpoint.MAX_WAIT", 0.0)
    options = ["--base_url", "http://127.0.0.1:1/v1", "--num_tasks", "1", "--output_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["eval", "--policies", "m", *options])
    assert "http://127.0.0.1:1/v1" in stopped.value.code
    assert "goes on there" in stopped.value.code
    assert "\n" not in stopped.value.code


def test_language_model_users(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    factories = eval_script.make_factories(ENVIRONMENTS["clarify"], ["chat:qwen", "terse"], "http://localhost:1/v1")
    (row,) = clarify_dataset("test", 1)
    env = factories["chat:qwen"]()
    env.reset(**row)
    assert (env.user.model, env.user.base_url) == ("qwen", "http://localhost:1/v1")
    env = factories["terse"]()
    env.reset(**row)
    assert env.user.persona == "terse"


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        cli.main(["eval", "--help"])
    output = " ".join(capsys.readouterr().out.split())
    assert "example: trl-infopo eval --policies plain=infopo-quickstart" in output
    assert "evasive" in output
