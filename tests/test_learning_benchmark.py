# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The runner of the learning benchmark: what is done stays done, and is the same when it is done again."""

import json
import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from learning_results import TINY, result, write


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning import check, grid, shift
from benchmarks.learning.arms import ARMS, ShuffledTrainer
from benchmarks.learning.families import FAMILIES
from benchmarks.learning.measurement import measured
from benchmarks.learning.regimes import REGIMES
from benchmarks.learning.results import read_result, result_path, write_atomically
from benchmarks.learning.run import make_config, train
from benchmarks.learning.settings import Sizes, run_settings, warm_start_settings
from benchmarks.learning.warm_start import load_warm_start
from trl_infopo import InfoPOTrainer
from trl_infopo.users import PERSONAS


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
        assert "the same to the digit" in capsys.readouterr().out
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
