# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Tables and figures of the learning benchmark are made of its results, and say what these allow."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_results import result, write


sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.learning import shift, statistics, tables
from benchmarks.learning.arms import TITLES
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

    def test_collapses_are_counted_in_both_directions(self):
        low, high = result(successes=(0.0, 0.3)), result(successes=(0.0, 0.9))
        arms = {"grpo": {0: low, 1: high, 2: high}, "agreement": {0: high, 1: low, 3: low}, "group": {0: high, 1: low}}
        assert {arm: statistics.num_collapses(arms, arm) for arm in arms} == {"grpo": 1, "agreement": 1, "group": 1}

    def test_the_interval_is_paired(self):
        """Seeds that differ do not blur a ratio that is the same for each."""
        ratio, low, high = statistics.paired_ratio([0.2, 0.4, 1.0], [0.1, 0.2, 0.5])
        assert (ratio, low, high) == pytest.approx((2.0, 2.0, 2.0))
        ratio, low, high = statistics.paired_ratio([0.2, 0.4, 0.6, 0.2], [0.3, 0.2, 0.5, 0.4])
        assert low < 1 < high
        assert low < ratio < high

    @given(st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=1, max_size=7))
    def test_the_test_counts_the_ways_to_swap(self, differences):
        """The oracle adds up twice the differences that a swap takes away."""
        total, at_least = sum(differences), 0
        for swapped in range(2 ** len(differences)):
            flipped = total - 2 * sum(d for i, d in enumerate(differences) if swapped >> i & 1)
            at_least += abs(flipped) > abs(total) - 1e-9
        assert statistics.sign_flip_test(differences) == pytest.approx(at_least / 2 ** len(differences))

    def test_a_verdict_needs_six_seeds(self):
        def compared(num_seeds, ratio):
            others = {seed: 0.4 + 0.05 * seed for seed in range(num_seeds)}
            return statistics.compare_values({seed: ratio * value for seed, value in others.items()}, others)

        assert compared(2, 2.0) is None
        assert [compared(n, 2.0).verdict for n in (3, 5, 6)] == ["open", "open", "helps"]
        assert [compared(n, 0.8).verdict for n in (5, 6)] == ["open", "hurts"]
        assert compared(5, 1.05).verdict == "neutral"
        assert (compared(6, 2.0).num_above, compared(6, 0.8).num_above) == (6, 0)

    def test_regimes_of_one_warm_start_count_once(self, tmp_path):
        for regime, factor in (("booking", 0.5), ("dense", 1.0), ("clarify", 0.1)):
            for seed in range(6):
                write(tmp_path, regime=regime, arm="grpo", seed=seed, successes=(0.2, 0.2, 0.2))
                ends = 0.2 + factor * (0.1 + 0.01 * seed)
                write(tmp_path, regime=regime, arm="agreement", seed=seed, successes=(ends, ends, ends))
        write(tmp_path, regime="dense", arm="grpo", seed=6)  # which no other has
        results = statistics.read_results(tmp_path)
        assert statistics.shared_starts(results) == [["booking", "dense"], ["clarify"]]
        together = statistics.compare_together(results, ["booking", "dense"])
        assert (together.num_seeds, together.num_above, together.verdict) == (6, 6, "helps")
        assert together.ratio == pytest.approx(1 + 0.75 * 0.125 / 0.2)

    def test_ratios_are_of_the_same_seeds(self, tmp_path):
        for seed, success in ((0, 0.4), (1, 0.8)):
            write(tmp_path, arm="agreement", seed=seed, successes=(success,) * 3)
        write(tmp_path, arm="coef_1", seed=0, successes=(0.5,) * 3)
        [row] = [
            line
            for line in tables.regime_section("booking", statistics.read_results(tmp_path)["booking"])
            if line.startswith("| coefficient 1")
        ]
        assert row.split(" | ")[1:5] == ["0", "0.500", "", "1.25"]

    def test_seeds_are_listed_as_ranges(self):
        assert [tables.seed_list(seeds) for seeds in ([5, 0, 1, 3], [2], [0, 1, 2])] == ["0-1, 3, 5", "2", "0-2"]

    def test_the_page_is_made_of_results_alone(self, tmp_path):
        for seed in range(3):
            write(tmp_path, arm="grpo", seed=seed, successes=(0.0, 0.2, 0.4 + 0.1 * seed))
            write(tmp_path, arm="group", seed=seed, successes=(0.0, 0.4, 0.8 + 0.1 * seed))
        write(tmp_path, regime="dense", arm="group_scale")
        (tmp_path / "dense" / "group_scale" / "1.json").write_text('{"settings":')  # cut short
        page = tables.markdown_page(statistics.read_results(tmp_path), shift={})
        assert "## `booking`" in page
        assert "| GRPO | 0-2 |" in page
        assert "| InfoPO, `group` (paper) | 0-2 | 0.425 ± 0.025 | 1.89 [1.80, 2.00] |" in page
        assert "| InfoPO, `group_scale` | 0 | 0.500 |  |" in page
        assert "| [`booking`](#booking) | 0.225 ± 0.025 | 1.89 [1.80, 2.00], 3 of 3: open |  |" in page
        assert "7 runs" in page
        unknown = page.split("## What is not known")[1]
        assert "`booking` 0, " in unknown  # the default has no seed
        assert "Never run: InfoPO (default), " in unknown
        [never] = [line for line in unknown.splitlines() if "Never run" in line]
        assert "(paper)" not in never
        assert "In no regime 4 seeds: GRPO; InfoPO, `group` (paper); InfoPO, `group_scale`." in unknown

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

    def test_an_arm_has_one_colour_in_all_panels(self, tmp_path):
        pytest.importorskip("matplotlib")
        panels = {"booking": tables.MAIN_ARMS, "dense": ("grpo", "agreement"), "terse": ("grpo", "group", "agreement")}
        for regime, arms in panels.items():
            for arm in arms:
                for seed in range(3):
                    write(tmp_path, regime=regime, arm=arm, seed=seed)
        tables.draw_curves(statistics.read_results(tmp_path), tmp_path / "curves.svg")
        panes, legend = (tmp_path / "curves.svg").read_text().split('id="legend_1"')
        lines = re.findall(r'<g id="(\w+)-(\w+)">.*?stroke: (#\w+)', panes, re.DOTALL)
        colours = {(regime, arm): colour for regime, arm, colour in lines}
        strokes, titles = re.findall(r"stroke: (#\w+)", legend), re.findall(r"<text[^>]*>([^<]+)</text>", legend)
        named = dict(zip(titles, strokes, strict=False))
        legend = {arm: named[TITLES[arm]] for arm in tables.MAIN_ARMS}
        assert len(set(legend.values())) == 4
        assert set(colours) == {(regime, arm) for regime, arms in panels.items() for arm in arms}
        assert all(colour == legend[arm] for (_, arm), colour in colours.items())

    def test_a_panel_shows_the_seeds_that_its_arms_share(self):
        arms = {"grpo": range(7), "agreement": range(1, 7), "group": range(4), "group_scale": range(2)}
        runs = {arm: dict.fromkeys(seeds, {}) for arm, seeds in arms.items()}
        assert tables.shown_together(runs) == (["grpo", "group", "agreement"], [1, 2, 3])


def test_arms_of_a_seed_start_from_the_same_policy():
    """The committed results: before the first step, all of them answer the held-out tasks alike."""
    for regime, arms in statistics.read_results(RESULTS).items():
        starts = {}
        for arm, runs in arms.items():
            for seed, run in runs.items():
                start = {name: value for name, value in run["curve"][0].items() if name not in ("training", "gains")}
                assert starts.setdefault(seed, start) == start, (regime, arm, seed)
