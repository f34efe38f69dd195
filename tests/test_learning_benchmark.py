# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The runner of `benchmarks/learning`: what it trains on is sound, and what is done stays done."""

import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning import check, grid, shift, statistics, tables
from benchmarks.learning.arms import ARMS, ShuffledTrainer
from benchmarks.learning.families import FAMILIES
from benchmarks.learning.families.booking import classify_booking
from benchmarks.learning.families.clarify import classify_clarify
from benchmarks.learning.families.common import first_call, tool_call
from benchmarks.learning.families.explore import classify_explore
from benchmarks.learning.families.helpdesk import classify_helpdesk
from benchmarks.learning.measurement import measured
from benchmarks.learning.regimes import CHOOSING, CHOOSING_SEEDS, CONFIRMING_SEEDS, REGIMES
from benchmarks.learning.results import RESULTS, read_result, result_path, write_atomically
from benchmarks.learning.run import make_config, train
from benchmarks.learning.settings import Sizes, run_settings, warm_start_settings
from benchmarks.learning.warm_start import demonstrations, load_warm_start
from trl_infopo import InfoPOTrainer
from trl_infopo.evaluation import evaluate
from trl_infopo.scripts.tiny_agent import build_tokenizer
from trl_infopo.users import PERSONAS


TINY = Sizes(
    warm_start_steps=3, num_demonstrations=64, steps=2, eval_steps=1, num_prompts=2, num_generations=2, num_held_out=4
)
HARD = {"silent": 0.8, "explore": 0.9}  # where patience is not always enough, and where ten steps are not


@pytest.mark.parametrize("regime_name", list(REGIMES))
class TestRegimes:
    def test_the_oracle_succeeds(self, regime_name):
        regime = REGIMES[regime_name]
        family = FAMILIES[regime.family]
        tasks = family.make_dataset("test", 60, **regime.dataset)
        make_environment = partial(family.make_environment, **regime.environment)
        evaluation = evaluate(family.oracle, {"user": make_environment}, tasks, max_turns=20, show_progress=False)
        successes = [record["reward"] == 1.0 for record in evaluation.records]
        assert sum(successes) / len(successes) >= HARD.get(regime_name, 1.0)

    def test_its_words_are_known(self, regime_name):
        """Of the demonstrations, and of its own user."""
        regime = REGIMES[regime_name]
        family = FAMILIES[regime.family]
        tokenizer = build_tokenizer(family.phrases)
        tasks = family.make_dataset("test", 40, **regime.dataset)
        make_environment = partial(family.make_environment, **regime.environment)
        own = evaluate(family.oracle, {"user": make_environment}, tasks, max_turns=20, show_progress=False)
        talks = [record["messages"] for record in own.records]
        talks += demonstrations(family, regime.habits, 80, seed=0)["messages"]
        for messages in talks:
            text = tokenizer.apply_chat_template(messages, tokenize=False)
            ids = tokenizer.encode(text, add_special_tokens=False)
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_demonstrations_follow_from_the_seed(family):
    one, same, other = (demonstrations(FAMILIES[family], {}, 40, seed)["messages"][:] for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_settings_are_confirmed_where_they_were_not_chosen():
    assert set(CHOOSING) < set(REGIMES)
    assert not set(CHOOSING_SEEDS) & set(CONFIRMING_SEEDS)


@pytest.mark.parametrize(
    ("regime_name", "arm_name"), [*((regime, "group") for regime in REGIMES), *(("booking", arm) for arm in ARMS)]
)
def test_the_settings_of_every_regime_and_arm_make_a_configuration(regime_name, arm_name, tmp_path):
    regime, arm = REGIMES[regime_name], ARMS[arm_name]
    settings = run_settings(regime_name, arm_name, 0, TINY)
    config = make_config(settings["options"], FAMILIES[regime.family], str(tmp_path), 0, TINY)
    for name, value in settings["options"].items():
        assert getattr(config, name) == value
    assert json.loads(json.dumps(settings)) == settings
    assert issubclass(arm.trainer, InfoPOTrainer)


def test_kinds_of_questions_about_a_booking():
    goal = {"city": "paris", "day": "monday", "size": "two", "time": None, "music": None, "food": None}
    talk = [
        ("city", "i have nothing to add", "useful"),
        ("city", "i want paris", "useful"),
        ("city", "i have nothing to add", "repeated"),
        ("music", "i want jazz", "useless"),
        ("music", "i have nothing to add", "repeated"),
        ("colour", "there is no such slot", "useless"),
    ]
    messages, kinds = [], []
    for slot, answer, kind in talk:
        messages += [tool_call("", "ask", slot=slot), {"role": "tool", "name": "ask", "content": answer}]
        kinds.append(kind)
    messages += [tool_call("", "book", city="paris"), {"role": "tool", "name": "book", "content": ""}]
    messages.append({"role": "assistant", "content": "goodbye"})
    assert classify_booking({"goal": goal}, messages) == [*kinds, None, None]


def test_kinds_of_questions_in_plain_text():
    [row] = FAMILIES["clarify"].make_dataset("test", 1)
    wanted = json.loads(row["goal"])
    topics = FAMILIES["clarify"].make_environment()
    topics.reset(**row)
    useful, useless = next(iter(wanted)), next(name for name in topics.domain.topics if name not in wanted)
    messages = []
    for topic in (useful, useful, useless):
        messages += [
            {"role": "assistant", "content": f"Any wishes for {topic}?"},
            {"role": "user", "content": "whatever"},
        ]
    messages.append(tool_call("", "propose", choices=""))
    assert classify_clarify(row, messages) == ["useful", "repeated", "useless", None]


def test_kinds_of_questions_and_lookups_at_the_help_desk():
    row = FAMILIES["helpdesk"].make_dataset("test", 1)[0]
    environment = FAMILIES["helpdesk"].make_environment()
    environment.reset(**row)
    order = row["goal"]["order_id"]
    talk = [
        ("What is the new address?", "useless"),
        ("Which order is it?", "useful"),
        ("Noted. Which order is it?", "repeated"),
        (tool_call("", "get_order", order_id="W0"), "useless"),
        (tool_call("", "get_order", order_id=order), "useful"),
        (tool_call("", "get_order", order_id=order), "repeated"),
        ("What is the reason?", "useful"),
        ("What is the new address?", "repeated"),
        (tool_call("", "cancel_order", order_id=order, reason="mistake"), None),
        ("Done, you are refunded $1.00.", None),
        (tool_call("", "close_ticket"), None),
    ]
    messages = []
    for action, _ in talk:
        message = {"role": "assistant", "content": action} if isinstance(action, str) else action
        messages.append(message)
        name, arguments = first_call(message)
        if name:
            messages.append({"role": "tool", "name": name, "content": getattr(environment, name)(**arguments)})
        else:
            messages.append({"role": "user", "content": environment.user.reply(messages)})
    assert classify_helpdesk(row, messages) == [kind for _, kind in talk]


def test_kinds_of_steps_on_the_ice():
    environment = FAMILIES["explore"].make_environment()
    environment.reset(lake=["SFF", "FHF", "FFG"], seed=0)
    steps = [
        ("left", "useless"),
        ("right", "useful"),
        ("left", "repeated"),
        ("down", "useful"),
        ("north", "useless"),
        ("right", None),
        ("right", "useless"),
    ]
    messages = []
    for direction, _ in steps:
        messages.append(tool_call("", "move", direction=direction))
        messages.append({"role": "tool", "name": "move", "content": environment.move(direction)})
    messages.append({"role": "assistant", "content": "I have finished."})
    assert classify_explore({}, messages) == [*(kind for _, kind in steps), None]


def result(regime="booking", arm="group", seed=0, sizes=TINY, successes=(0.0, 0.5, 1.0), asked=3.0):
    return {
        "settings": run_settings(regime, arm, seed, sizes),
        "versions": {"trl": "1"},
        "seconds": {"wall": 2.0, "cpu": 1.0},
        "curve": [
            {
                "step": step,
                "success": success,
                "reward": success,
                "questions": {"useful": asked, "useless": 0.0, "repeated": 0.0},
                "gains": {},
                "stop": {"answered": 1.0},
                "training": {},
            }
            for step, success in enumerate(successes)
        ],
    }


def write(directory, **options):
    content = result(**options)
    settings = content["settings"]
    path = result_path(settings["regime"], settings["arm"], settings["seed"], directory)
    write_atomically(path, json.dumps(content))
    return path


class TestGrid:
    def started(self, monkeypatch, tmp_path, runs):
        """The runs that a grid starts, each done at once by a process that writes its result."""
        started = []

        def start(run, sizes, results):
            started.append(run)
            regime, arm, seed = run
            if regime == "dense":  # it fails
                code = "raise SystemExit('no such luck')"
            else:
                content = json.dumps(result(regime, arm, seed))
                path = result_path(*run, results)
                path.parent.mkdir(parents=True, exist_ok=True)
                code = f"open({str(path)!r}, 'w').write({content!r})"
            log = (tmp_path / f"{len(started)}.log").open("w")
            process = grid.subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
            return process, log

        monkeypatch.setattr(grid, "start", start)
        monkeypatch.setattr(grid, "POLL_SECONDS", 0.02)
        failures = grid.run_all(runs, TINY, tmp_path / "results")
        return started, failures

    def test_what_is_done_is_not_run_again(self, monkeypatch, tmp_path):
        runs = grid.all_runs(["booking", "silent"], ["grpo", "group"], [0, 1])
        assert runs[:3] == [("booking", "grpo", 0), ("booking", "group", 0), ("silent", "grpo", 0)]
        for run in runs[:3]:
            write(tmp_path / "results", regime=run[0], arm=run[1], seed=run[2])
        started, failures = self.started(monkeypatch, tmp_path, runs)
        assert sorted(started) == sorted(runs[3:])
        assert failures == {}
        assert self.started(monkeypatch, tmp_path, runs) == ([], {})

    def test_half_a_result_and_one_of_other_settings_are_run_again(self, monkeypatch, tmp_path):
        half = write(tmp_path / "results", arm="group")
        half.write_text(half.read_text()[:100])
        write(tmp_path / "results", arm="grpo", sizes=Sizes())
        runs = grid.all_runs(["booking"], ["grpo", "group", "kl"], [0])
        assert self.started(monkeypatch, tmp_path, runs) == (runs, {})
        assert all(grid.is_done(run, TINY, tmp_path / "results") for run in runs)

    def test_a_failed_run_is_said_and_does_not_stop_the_others(self, monkeypatch, tmp_path):
        runs = grid.all_runs(["dense", "booking"], ["grpo"], [0])
        started, failures = self.started(monkeypatch, tmp_path, runs)
        assert started == runs
        assert failures == {("dense", "grpo", 0): "no such luck"}
        assert grid.is_done(runs[1], TINY, tmp_path / "results")

    def test_an_interruption_ends_the_runs(self, monkeypatch, tmp_path):
        processes = []

        def start(run, sizes, results):
            process = grid.subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            processes.append(process)
            return process, (tmp_path / "log").open("w")

        def interrupt(seconds):
            raise KeyboardInterrupt

        monkeypatch.setattr(grid, "start", start)
        monkeypatch.setattr(grid, "time", SimpleNamespace(sleep=interrupt))
        with pytest.raises(KeyboardInterrupt):
            grid.run_all(grid.all_runs(["booking"], ["grpo", "group"], [0]), TINY, tmp_path)
        assert [process.poll() is not None for process in processes] == [True, True]


class TestTables:
    def test_area_is_that_of_the_trapezoids(self):
        assert statistics.area(result(successes=(0.0, 0.5, 1.0))) == pytest.approx(0.5)
        assert statistics.area(result(successes=(0.0, 1.0, 1.0))) == pytest.approx(0.75)

    def test_a_graded_task_is_measured_by_its_reward(self):
        graded, whole = result("clarify"), result("booking")
        for point in [*graded["curve"], *whole["curve"]]:
            point["reward"] = 0.5
        assert statistics.area(graded) == 0.5
        assert statistics.area(whole) == pytest.approx(0.5)
        assert (statistics.last_value(graded), statistics.last_value(whole)) == (0.5, 1.0)

    def test_a_collapse_is_silence_or_half_of_what_grpo_reaches(self):
        baseline = result(arm="grpo", successes=(0.0, 0.8))
        assert not statistics.collapsed(result(successes=(0.0, 0.41)), baseline)
        assert statistics.collapsed(result(successes=(0.0, 0.39)), baseline)
        assert statistics.collapsed(result(successes=(0.0, 0.9), asked=0.9), baseline)
        assert not statistics.collapsed(result(successes=(0.0, 0.1)), None)

    def test_the_interval_is_paired(self):
        """Seeds that differ do not blur a ratio that is the same for each."""
        ratio, low, high = statistics.paired_ratio([0.2, 0.4, 1.0], [0.1, 0.2, 0.5])
        assert (ratio, low, high) == pytest.approx((2.0, 2.0, 2.0))
        ratio, low, high = statistics.paired_ratio([0.2, 0.4, 0.6, 0.2], [0.3, 0.2, 0.5, 0.4])
        assert low < 1 < high
        assert low < ratio < high

    def test_a_verdict_needs_an_interval_that_excludes_grpo(self):
        assert [statistics.verdict(*ends) for ends in ((1.1, 2), (0.9, 1.1), (0.5, 0.9))] == [
            "helps",
            "neutral",
            "hurts",
        ]

    def test_the_page_is_made_of_results_alone(self, tmp_path):
        for seed in range(3):
            write(tmp_path, arm="grpo", seed=seed, successes=(0.0, 0.2, 0.4 + 0.1 * seed))
            write(tmp_path, arm="group", seed=seed, successes=(0.0, 0.4, 0.8 + 0.1 * seed))
        write(tmp_path, regime="dense", arm="group_scale")
        (tmp_path / "dense" / "group_scale" / "1.json").write_text('{"settings":')  # cut short
        page = tables.markdown_page(statistics.read_results(tmp_path), shift={})
        assert "## `booking`" in page
        assert "| GRPO | 3 |" in page
        assert "| InfoPO, `group` (paper) | 3 | 0.425 ± 0.025 | 1.89 [1.80, 2.00] |" in page
        assert "| InfoPO, `group_scale` | 1 | 0.500 |  |" in page
        assert "| [`booking`](#booking) | 0.225 ± 0.025 | 1.89 [1.80, 2.00], helps |  |" in page
        assert "7 runs" in page
        unknown = page.split("## What is not known")[1]
        assert "`booking` 0, " in unknown  # the default has no seed
        assert "Never run: InfoPO (default), " in unknown
        assert "(paper)" not in unknown

    def test_what_settings_were_chosen_on_does_not_confirm_them(self, tmp_path):
        for regime, seed in (("booking", 0), ("booking", 3), ("dense", 0)):
            write(tmp_path, regime=regime, arm="grpo", seed=seed)
        results = statistics.read_results(tmp_path)
        runs = {
            is_choosing: {(regime, seed) for regime, arms in half.items() for seed in arms["grpo"]}
            for is_choosing in (True, False)
            for half in [statistics.half_of(results, is_choosing)]
        }
        assert runs == {True: {("booking", 0)}, False: {("booking", 3), ("dense", 0)}}

    def test_users_of_the_training_are_no_shift(self, tmp_path):
        tests = dict.fromkeys(shift.TESTS, {"success": 0.2, "questions": 3.0})
        for arm, gained in (("grpo", 0.0), ("agreement", 0.1)):
            for seed in range(3):
                tests["forgetful"] = {"success": 0.9, "questions": 3.0}
                tests["terse"] = {"success": 0.2 + 7 * gained, "questions": 3.0}
                write_atomically(shift.shift_path("forgetful", arm, seed, tmp_path), json.dumps({"tests": tests}))
        shift.shift_path("forgetful", "agreement", 3, tmp_path).write_text("{")  # cut short
        lines = tables.shift_section(shift.read_shift(tmp_path))
        cells = {line.split(" | ")[1]: line.split(" | ") for line in lines if line.startswith("| `")}
        assert cells["GRPO"][2] == "3"
        assert [cell for cell in cells["GRPO"] if "**" in cell] == ["**0.900 ± 0.000**"]
        assert cells["GRPO"][-2:] == ["0.200 ± 0.000", " |"]
        assert cells["InfoPO (default)"][-2:] == ["0.300 ± 0.000", "1.50 [1.50, 1.50] |"]

    def test_the_same_results_make_the_same_figure(self, tmp_path):
        pytest.importorskip("matplotlib")
        write(tmp_path, arm="grpo")
        write(tmp_path, arm="group", regime="dense")
        results = statistics.read_results(tmp_path)
        figures = [tmp_path / "one.svg", tmp_path / "two.svg"]
        for figure in figures:
            tables.draw_curves(results, figure)
        assert figures[0].read_bytes() == figures[1].read_bytes()


class TestRuns:
    @pytest.mark.thorough
    @pytest.mark.parametrize("regime_name", ["forced", pytest.param("clarify", marks=pytest.mark.slow)])
    def test_the_same_seed_gives_the_same_result(self, regime_name, tmp_path):
        first, second = (train(regime_name, "shuffled", 0, TINY, tmp_path) for _ in range(2))
        for run in (first, second):
            assert set(run.pop("seconds")) == {"wall", "cpu"}
        assert first == second
        assert first["settings"]["sizes"] == asdict(TINY)
        assert [point["step"] for point in first["curve"]] == [0, 1, 2]
        assert all({"success", "questions", "gains", "stop"} <= set(point) for point in first["curve"])
        assert all("tied_groups" in point["training"] for point in first["curve"][1:])
        assert len(json.dumps(first)) < 10_000

    @pytest.mark.thorough
    def test_arms_of_a_seed_start_from_the_same_weights(self, tmp_path):
        starts = [train("booking", arm, 0, TINY, tmp_path)["curve"][0] for arm in ("grpo", "group")]
        assert starts[0] == starts[1]
        other = train("booking", "grpo", 1, TINY, tmp_path)
        assert len(list((tmp_path / "warm_starts").glob("*.pt"))) == 2
        assert other["settings"]["warm_start"]["seed"] == 1

    @pytest.mark.thorough
    def test_a_row_that_is_not_what_it_was_is_named(self, tmp_path, capsys):
        for seed in (0, 1):
            path = result_path("booking", "group", seed, tmp_path)
            write_atomically(path, json.dumps(train("booking", "group", seed, TINY, tmp_path)))
        args = check.CheckArguments(rows=1, results=str(tmp_path))
        check.main(args)
        assert "inside" in capsys.readouterr().out
        for seed in (0, 1):
            write(tmp_path, seed=seed, successes=(1.0, 1.0 - seed / 100))
        with pytest.raises(SystemExit, match="1 rows are not"):
            check.main(args)

    @pytest.mark.thorough
    def test_a_policy_is_tested_with_all_users_and_trained_once(self, monkeypatch, tmp_path):
        train("mixed", "grpo", 0, TINY, tmp_path)
        first = shift.measure_shift("mixed", "grpo", 0, TINY, tmp_path)
        monkeypatch.setattr(shift, "train", None)  # the policy is there
        assert shift.measure_shift("mixed", "grpo", 0, TINY, tmp_path) == first
        assert list(first["tests"]) == [*PERSONAS, "four slots"]

    @pytest.mark.thorough
    def test_other_demonstrations_make_another_warm_start(self, monkeypatch, tmp_path):
        """Where only the code of a family changed, no weights of before are taken."""
        settings = warm_start_settings(REGIMES["booking"], 0, TINY)
        load_warm_start(settings, tmp_path)
        load_warm_start(settings, tmp_path)
        assert len(list((tmp_path / "warm_starts").glob("*.pt"))) == 1
        silent = partial(FAMILIES["booking"].demonstrate, has_notes=False)
        monkeypatch.setitem(FAMILIES, "booking", replace(FAMILIES["booking"], demonstrate=silent))
        load_warm_start(settings, tmp_path)
        assert len(list((tmp_path / "warm_starts").glob("*.pt"))) == 2


def test_the_control_deals_the_gains_of_a_group_out_anew(monkeypatch):
    gains = torch.arange(12.0).view(4, 3)
    gains[1, 2] = torch.nan
    monkeypatch.setattr(InfoPOTrainer, "_score", lambda self: gains.clone())
    trainer = object.__new__(measured(ShuffledTrainer))
    trainer.model = torch.nn.Linear(1, 1)
    trainer.args = Sizes  # any object with a seed
    trainer.args.seed, trainer.num_generations = 0, 2
    trainer.state = type("State", (), {"global_step": 1})
    shuffled = trainer._score()
    assert shuffled.isnan().equal(gains.isnan())
    assert not shuffled[~gains.isnan()].equal(gains[~gains.isnan()])
    for group in (slice(0, 2), slice(2, 4)):
        there = ~gains[group].isnan()
        assert shuffled[group][there].sort().values.equal(gains[group][there].sort().values)
    trainer.model.eval()
    assert trainer._score()[~gains.isnan()].equal(gains[~gains.isnan()])


def test_no_result_is_none(tmp_path):
    assert read_result(tmp_path / "no.json") is None


def test_arms_of_a_seed_start_from_the_same_policy():
    """The committed results: before the first step, all of them answer the held-out tasks alike."""
    for regime, arms in statistics.read_results(RESULTS).items():
        starts = {}
        for arm, runs in arms.items():
            for seed, result in runs.items():
                start = {
                    name: value for name, value in result["curve"][0].items() if name not in ("training", "gains")
                }
                assert starts.setdefault(seed, start) == start, (regime, arm, seed)
