# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tables and figures of the learning benchmark are made of its results, and say what these allow."""

import json
import sys
from pathlib import Path

import pytest
from learning_results import result, write


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning import shift, statistics, tables
from benchmarks.learning.results import RESULTS, write_atomically


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


def test_arms_of_a_seed_start_from_the_same_policy():
    """The committed results: before the first step, all of them answer the held-out tasks alike."""
    for regime, arms in statistics.read_results(RESULTS).items():
        starts = {}
        for arm, runs in arms.items():
            for seed, run in runs.items():
                start = {name: value for name, value in run["curve"][0].items() if name not in ("training", "gains")}
                assert starts.setdefault(seed, start) == start, (regime, arm, seed)
