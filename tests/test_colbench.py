# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""ColBench's backend tasks: what is read, what the colleague knows and says, and how code is scored."""

import json
import math
import threading
from concurrent.futures import wait
from functools import partial

import pytest
from cocode_task import needs_sandbox
from miniature_colbench import GROUPS, TASKS, TIP, write_tasks
from misbehaving_server import MisbehavingServer, fails, says
from test_misbehaviour import calls as call
from test_misbehaviour import logged, play

from trl_infopo import evaluate
from trl_infopo.adapters.colbench import BriefUser, ColbenchEnv, colbench_dataset, run_calls, shorten
from trl_infopo.environments.cocode.env import pool
from trl_infopo.users import ChatUser, ScriptedUser, UserSimulatorError


@pytest.fixture
def path(tmp_path):
    return write_tasks(tmp_path / "tasks.jsonl")


@pytest.fixture
def rows(path):
    with pytest.warns(UserWarning, match="1 tasks of .* were left out: their ground truth imports pandas"):
        return list(colbench_dataset(path))


def submit(code):
    function = {"name": "submit", "arguments": {"code": code}}
    return {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}


def solve(codes):
    """Asks a question, then hands in the code of the task."""

    def act(messages, tools):
        if len(messages) == 2:
            return {"role": "assistant", "content": "How is it rounded?"}
        return submit(codes[messages[1]["content"]])

    return act


def scores(rows, codes, make_user=ScriptedUser):
    env = partial(ColbenchEnv, make_user)
    evaluation = evaluate(solve(codes), {"colleague": env}, rows, max_turns=10, show_progress=False)
    return [record["reward"] for record in evaluation.records], evaluation.records


# ---- the file


def test_lines_a_list_and_other_forms_of_the_calls_are_the_same_tasks(tmp_path, rows):
    write_tasks(tmp_path / "tasks.json", lines=False)
    other = [{**task, "test_cases": json.dumps(list(task["test_cases"].values()))} for task in TASKS]
    (tmp_path / "other.jsonl").write_text("\n".join(map(json.dumps, other)))
    for name in ("tasks.json", "other.jsonl"):
        with pytest.warns(UserWarning, match="left out"):
            assert list(colbench_dataset(str(tmp_path / name))) == rows
    assert [row["prompt"][-1]["content"] for row in rows] == [task["problem_description"] for task in TASKS[:3]]
    assert len(colbench_dataset(str(tmp_path / "tasks.json"), num_tasks=2)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read as JSON"),
        (json.dumps({"task": 1}), "Row 0 of .* is no backend task"),
        (json.dumps({**TASKS[0], "test_cases": []}), "Row 0 of .* is no backend task"),
        (json.dumps(TASKS[0]) + "\n" + json.dumps({**TASKS[0], "test_cases": [1]}), "Row 1 of"),
        (json.dumps(TASKS[3]), "holds no task that can be scored here"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out.*:UserWarning")
def test_a_file_that_holds_no_tasks_is_an_error_that_says_why(tmp_path, text, said):
    (tmp_path / "tasks.jsonl").write_text(text)
    with pytest.raises(ValueError, match=said):
        colbench_dataset(str(tmp_path / "tasks.jsonl"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read.*Download the dataset"):
        colbench_dataset(str(tmp_path / "nothing.jsonl"))


# ---- the score


@needs_sandbox
def test_the_ground_truth_scores_one_and_doing_nothing_zero(rows):
    found, records = scores(rows, {task["problem_description"]: task["ground_truth"] for task in TASKS})
    assert found == [1.0, 1.0, 1.0]
    assert {record["stop_reason"] for record in records} == {"environment_done"}
    say_hi = lambda messages, tools: {"role": "assistant", "content": "hi"}  # noqa: E731
    evaluation = evaluate(say_hi, {"c": partial(ColbenchEnv, ScriptedUser)}, rows, max_turns=10, show_progress=False)
    assert [record["reward"] for record in evaluation.records] == [0.0] * 3


@needs_sandbox
def test_the_score_is_the_share_of_the_calls_that_agree(rows):
    one, two, three = (row["problem_description"] for row in rows)
    lower = GROUPS.replace(".lower()", "")  # differs where there are both
    no_error = "def share(total, people):\n    return [total // people, total % people] if people else None"
    found, _ = scores(rows, {one: TIP.replace("* 2) / 2", ") * 1.0"), two: lower, three: no_error})
    expected = []
    for row, code in zip(rows, (TIP.replace("* 2) / 2", ") * 1.0"), lower, no_error), strict=True):
        scope, truth, same = {}, {}, []
        exec(code, scope)
        exec(row["ground_truth"], truth)
        for text in json.loads(row["test_cases"]):
            results = []
            for names in (scope, truth):
                try:
                    result = eval(text, names)
                except Exception as error:
                    result = type(error)
                results.append(list(result) if isinstance(result, tuple) else result)
            same.append(results[0] == results[1])
        expected.append(sum(same) / 10)
    assert found == expected
    assert all(0 < score < 1 for score in found)


@needs_sandbox
@pytest.mark.parametrize("code", ["", "def tip(:", "raise SystemExit", "def tip(*a, **k): return 'half'", "tip = 3"])
def test_code_that_is_wrong_scores_zero(rows, code):
    assert scores(rows[:1], {rows[0]["problem_description"]: code})[0] == [0.0]


@needs_sandbox
def test_results_that_json_does_not_have_are_told_apart():
    code = "import datetime\ndef f(x): return [{1, 2}, {1, 3}, datetime.date(2026, 1, 1), float('inf'), {2: b'x'}][x]"
    outcomes = run_calls(code, tuple(f"f({i})" for i in range(5)), True).outcomes
    assert len({repr(outcome.value) for outcome in outcomes}) == 5
    assert not any(outcome.error for outcome in outcomes)


@needs_sandbox
def test_a_ground_truth_that_does_not_run_stops_the_run(rows):
    row = {**rows[0], "ground_truth": "def tip(:"}
    with pytest.raises(RuntimeError, match=r"get_reward` failed in task 0, run 0 .*ground truth .* did not load"):
        scores([row], {row["problem_description"]: TIP})


@pytest.mark.parametrize("is_queued", [True, False])
def test_a_right_submission_that_is_cut_off_is_an_error_and_no_zero(rows, monkeypatch, is_queued):
    """Its time limit also counts while it waits for those before it."""
    ends, size = threading.Event(), pool._max_workers if is_queued else 0
    waiting = [pool.submit(ends.wait, 20) for _ in range(size)]
    monkeypatch.setattr(ColbenchEnv, "_compare", lambda self, code: float(ends.wait(20)))
    env = partial(ColbenchEnv, ScriptedUser, allow_unsafe_execution=True)
    try:
        with pytest.raises(RuntimeError, match="get_reward` failed in task 0, run 0 .*Raise `feedback_timeout`"):
            evaluate(lambda *_: submit(TIP), {"c": env}, rows[:1], feedback_timeout=1.0, show_progress=False)
    finally:
        ends.set()
        wait(waiting)


# ---- the colleague


def test_replies_are_two_sentences_and_400_characters_at_most():
    assert shorten("One. Two! Three?") == "One. Two!"
    assert shorten("At 1.5 times, e.g.this. Up.") == "At 1.5 times, e.g.this. Up."
    assert shorten("x" * 500) == "x" * 400
    assert shorten(None) is None


@needs_sandbox
def test_a_model_plays_the_colleague_who_knows_the_ground_truth(rows, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with MisbehavingServer(fails(500), says("Up. To halves. Always.")) as server:
        make_user = partial(ChatUser, model="m", base_url=server.url, backoff=0.0)
        found, (record,) = scores(rows[:1], {rows[0]["problem_description"]: rows[0]["ground_truth"]}, make_user)
        assert found == [1.0]
        assert record["messages"][3]["content"] == "Up. To halves."
        system = server.requests[-1]["messages"][0]["content"]
        assert rows[0]["ground_truth"] in system
        assert "two sentences" in system
        assert all(rows[0]["ground_truth"] not in json.dumps(message) for message in record["messages"][:4])
        server.script = (fails(401),)
        with pytest.raises(UserSimulatorError, match="The user of task 0, run 0 with the user 'colleague' failed"):
            scores(rows[:1], {}, make_user)


def test_the_metrics_of_the_user_are_those_of_whom_it_shortens():
    class Counted:
        usage = object()

        def reply(self, messages):
            return "One. Two. Three."

    assert BriefUser(Counted()).usage is Counted.usage
    assert BriefUser(Counted()).reply([]) == "One. Two."


@pytest.mark.quick(1)
@needs_sandbox
@pytest.mark.parametrize("coef", [0.5, 0.0])
def test_two_steps_of_training(tmp_path, monkeypatch, rows, coef):
    from datasets import Dataset

    monkeypatch.setattr("scripted_agents.Dataset.from_list", lambda _: Dataset.from_dict(columns))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    code = json.dumps({"code": rows[0]["ground_truth"]})
    script = ["How is it rounded?", "And then?", call('"submit"', code)]
    trainer, completions = play(
        tmp_path,
        partial(ColbenchEnv, ScriptedUser),
        script,
        max_steps=2,
        max_completion_length=1500,
        info_gain_coef=coef,
    )
    assert all(map(math.isfinite, logged(trainer, "loss") + logged(trainer, "grad_norm")))
    assert len(logged(trainer, "infopo/stop/environment_done")) == 2
    assert all(0 <= reward <= 1 for reward in logged(trainer, "rewards/ColbenchEnv/mean"))
    assert [message["role"][0] for message in completions[0][1]] == [*"auaua"]
    if coef:
        gains = logged(trainer, "infopo/information_gain/mean")
        assert len(gains) == 2
        assert all(map(math.isfinite, gains))
