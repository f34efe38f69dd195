# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0

import json
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from trl_infopo import cli
from trl_infopo.report import build_report, log_curves, sample_groups, trace_curves
from trl_infopo.scripts import quickstart
from trl_infopo.traces import FIELDS, load_traces, read_traces


HOSTILE = "</script><img src='http://example.com/x.png' onerror='window.broken = 1'> & more"
PHONE = {"width": 390, "height": 844}


def write_traces(
    run_dir: Path,
    num_steps: int,
    num_groups: int = 2,
    num_generations: int = 4,
    scored: bool = True,
    greetings: list[str] | None = None,
) -> Path:
    """Traces of made-up dialogues, each with two questions; odd groups tie."""
    directory = run_dir / "traces"
    directory.mkdir(parents=True)
    schema = pa.schema([*FIELDS, ("rewards", pa.struct([("success", pa.float32())]))])
    rng = np.random.default_rng(0)
    request = {"role": "user", "content": "i need a table please"}
    for step in range(1, num_steps + 1):
        rows = []
        for group in range(num_groups):
            for rollout in range(num_generations):
                reward = float(rollout % 2) if group % 2 == 0 else 0.0
                turns = []
                for k in range(3):
                    move = [3.0 * rng.random(), -1.0, 0.0] if scored and k else None
                    turns.append(
                        {
                            "tokens": ["ask ", HOSTILE if k == 2 else "city", "<|im_end|>"],
                            "logps": move and [-0.1, -1.5, -0.2],
                            "masked_logps": move and [-0.1 - move[0], -0.5, -0.2],
                            "feedback": f"answer {k} of step {step}" if k < 2 else None,
                            "masked_feedback": "i do not mind" if k < 2 and scored else None,
                            "information_gain": float(rng.normal()) if k < 2 and scored else None,
                            "information_advantage": 0.5 if k < 2 and scored else None,
                            "advantage": reward - 0.5 + (0.25 * (1 - k) if scored else 0.0),
                        }
                    )
                rows.append(
                    {
                        "step": step,
                        "split": "train",
                        "group": group,
                        "rollout": rollout,
                        "prompt": json.dumps(
                            [request, *([{"role": "user", "content": greetings[rollout]}] if greetings else [])]
                        ),
                        "completion": "[]",
                        "turns": turns,
                        "reward": reward,
                        "outcome_advantage": reward - 0.5 if group % 2 == 0 else 0.0,
                        "gate": (0.27 if group % 2 == 0 else 0.5) if scored else None,
                        "scale": 1.0 if scored else None,
                        "stop_reason": "answered" if rollout else "max_turns",
                        "rewards": {"success": reward},
                    }
                )
        table = pa.Table.from_pylist(rows, schema)
        pyarrow.parquet.write_table(table, directory / f"train-{step:07d}-0.parquet")
    return run_dir


@contextmanager
def opened(browser, path: Path, **options):
    """A page that shows a report, and in the end has made no request and no mistake."""
    context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    page.wait_for_selector(".chart .main-svg")
    yield page
    assert errors == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    context.close()


def shade(token) -> float:
    return float(re.search(r"--strength: ([\d.]+)", token.get_attribute("style"))[1])


# ---- the file


def test_report_is_one_file_without_addresses_to_load_from(tmp_path):
    run_dir = write_traces(tmp_path / "run", 3)
    assert build_report([run_dir], tmp_path / "report.html") == 24
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|img|link|iframe)[^>]*(src|href)=[\"'](?!data:)", page[: page.index("plotly.js")])
    assert "http://example.com" not in page  # packed


def test_curves_come_from_the_log_and_else_from_the_traces(tmp_path):
    run_dir = write_traces(tmp_path, 3)
    curves = trace_curves(read_traces(run_dir))
    assert log_curves(run_dir, 3) == {}
    assert curves["reward"] == [[1, 2, 3], [0.25] * 3]
    assert curves["frac_reward_zero_std"] == [[1, 2, 3], [0.5] * 3]
    assert curves["infopo/turns/mean"] == [[1, 2, 3], [3.0] * 3]
    assert curves["infopo/stop/max_turns"] == [[1, 2, 3], [0.25] * 3]
    gains = [[turn["information_gain"] for turn in row["turns"][:2]] for row in load_traces(run_dir)][:8]
    assert curves["infopo/information_gain/mean"][1][0] == pytest.approx(np.mean(gains), rel=1e-3)
    assert 0 < curves["infopo/intrinsic_share"][1][0] < 1

    (run_dir / "checkpoint-2").mkdir()
    history = [{"step": 2, "reward": 0.5, "loss": 1.0}, {"step": 2, "eval_reward": 0.75}, {"step": 3, "reward": None}]
    state = {"global_step": 2, "log_history": history}
    (run_dir / "checkpoint-2" / "trainer_state.json").write_text(json.dumps(state))
    curves = {"reward": [[2], [0.5]], "eval_reward": [[2], [0.75]]}
    assert log_curves(run_dir, 3) == curves

    # The run had ended before, and went on
    (run_dir / "trainer_state.json").write_text(json.dumps({"global_step": 1, "log_history": []}))
    (run_dir / "checkpoint-best").mkdir()
    (run_dir / "checkpoint-best" / "trainer_state.json").write_text(json.dumps({"global_step": 1, "log_history": []}))
    assert log_curves(run_dir, 3) == log_curves(run_dir, 2) == curves

    # An earlier run had gone further
    (run_dir / "checkpoint-500").mkdir()
    stale = {"global_step": 500, "log_history": [{"step": 500, "reward": 9.0}]}
    (run_dir / "checkpoint-500" / "trainer_state.json").write_text(json.dumps(stale))
    assert log_curves(run_dir, 2) == curves

    (run_dir / "trainer_state.json").write_text("{")
    with pytest.raises(ValueError, match="trainer_state.json' is not what a trainer saves"):
        log_curves(run_dir, 2)


def test_runs_without_gains_have_the_other_curves(tmp_path):
    curves = trace_curves(read_traces(write_traces(tmp_path, 2, scored=False)))
    assert set(curves) == {
        "reward",
        "frac_reward_zero_std",
        "infopo/turns/mean",
        "infopo/stop/answered",
        "infopo/stop/max_turns",
    }


@pytest.mark.parametrize("most", [1, 4, 9, 40, 48, 1000])
def test_samples_are_whole_groups_at_even_distances(tmp_path, most):
    groups = sample_groups(read_traces(write_traces(tmp_path, 6)), most)
    assert all([row["rollout"] for row in group] == [0, 1, 2, 3] for group in groups)
    assert len(groups) == min(max(most // 4, 1), 12)
    if len(groups) > 1:
        assert (groups[0][0]["step"], groups[-1][0]["step"]) == (1, 6)


def test_names_of_runs_tell_them_apart(tmp_path):
    for seed in ("a", "b"):
        write_traces(tmp_path / seed / "InfoPO", 1)
    build_report([tmp_path / "a" / "InfoPO", tmp_path / "b" / "InfoPO"], tmp_path / "report.html")
    assert "<title>InfoPO: a/InfoPO and b/InfoPO</title>" in (tmp_path / "report.html").read_text(encoding="utf-8")


# ---- the commands


@pytest.mark.parametrize("command", ["report", "inspect"])
def test_a_directory_without_traces_is_said_in_a_line(tmp_path, capsys, command):
    with pytest.raises(SystemExit) as error:
        cli.main([command, str(tmp_path)])
    assert error.value.code == 2
    assert "holds no traces" in capsys.readouterr().err.splitlines()[-1]


def test_runs_below_a_directory_are_named(tmp_path, capsys):
    run_dir = write_traces(tmp_path / "InfoPO", 1)
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(tmp_path)])
    assert f"There are some in '{run_dir}'." in capsys.readouterr().err


def test_inspect_shows_a_dialogue(tmp_path, capsys):
    run_dir = str(write_traces(tmp_path, 3))
    cli.main(["inspect", run_dir, "--step", "2", "--group", "1", "--rollout", "3"])
    output = capsys.readouterr().out
    assert "step 2, group 1: rewards 0 0 0 0, gate 0.50" in output
    for text in ("i need a table please", "ask city", "answer 1 of step 2", "i do not mind", "information gain", "█"):
        assert text in output
    cli.main(["inspect", run_dir])
    assert "step 3, group 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "9"], "there is no step 9, the traces hold 1, 2, 3."),
        (["--split", "eval"], "there is no split eval"),
        (["--rollout", "7"], "there is no rollout 7, the traces hold 0, 1, 2, 3."),
    ],
)
def test_inspect_says_what_there_is(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(write_traces(tmp_path, 3)), *options])
    assert message in capsys.readouterr().err


# ---- in a browser


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    directory = tmp_path_factory.mktemp("small")
    runs = [write_traces(directory / "InfoPO", 20), write_traces(directory / "GRPO", 20, scored=False)]
    build_report(runs, directory / "report.html")
    return directory / "report.html"


def test_a_click_opens_a_dialogue(chromium, small):
    with opened(chromium, small) as page:
        assert page.locator("#runs li").count() == 2
        assert page.locator(".chart").count() == 7
        assert page.locator("#count").inner_text() == "80 groups"
        page.locator("#list button", has_text="step 3, group 1").first.click()
        page.wait_for_selector(".rollout")
        assert page.locator(".rollout").count() == 4
        assert "All rewards are 0" in page.locator(".why").inner_text()
        assert "that is what this group teaches" in page.locator(".why").inner_text()
        tokens = page.locator(".turn .token")
        assert tokens.count() == 4 * 2 * 3
        strengths = [shade(token) for token in tokens.all()[:3]]
        assert strengths[0] > 0
        assert strengths[1] == pytest.approx(0.65 / 3, abs=0.01)
        assert strengths[2] == 0
        assert "less" in tokens.nth(1).get_attribute("class")
        bars = page.locator(".measure.gain i")
        assert bars.count() == 8
        assert max(bar.bounding_box()["width"] for bar in bars.all()) > 10
        assert page.evaluate("window.broken") is None  # text is text
        assert "</script><img" in page.locator(".rollout").first.inner_text()


def test_the_counterfactual_is_a_click_away(chromium, small):
    with opened(chromium, small) as page:
        page.locator("#list button").first.click()
        masked = page.locator(".masked").first
        assert not masked.is_visible()
        page.locator(".open").first.click()
        assert masked.is_visible()
        assert "i do not mind" in masked.inner_text()
        assert "with the feedback" in masked.inner_text()
        page.keyboard.press("c")
        assert all(element.is_visible() for element in page.locator(".masked").all())
        page.keyboard.press("c")
        assert not any(element.is_visible() for element in page.locator(".masked").all())


@pytest.mark.thorough
def test_what_a_group_is_asked_in_common_is_shown_once(chromium, tmp_path):
    run_dir = write_traces(tmp_path, 1, num_groups=1, greetings=["hello", "good day", "hi", "hey"])
    build_report([run_dir], tmp_path / "report.html")
    with opened(chromium, tmp_path / "report.html") as page:
        page.locator("#list button").first.click()
        page.wait_for_selector(".rollout")
        shown = page.locator("#group > .prompt").all_inner_texts()
        assert len(shown) == 1
        assert "i need a table please" in shown[0]
        own = [rollout.locator(".prompt").all_inner_texts() for rollout in page.locator(".rollout").all()]
        assert [len(texts) for texts in own] == [1, 1, 1, 1]
        assert all(word in text for [text], word in zip(own, ("hello", "good day", "hi", "hey"), strict=True))


@pytest.mark.thorough
def test_a_run_without_gains_says_so(chromium, small):
    with opened(chromium, small) as page:
        page.locator("select[name=run]").select_option("1")
        page.locator("input[name=tied]").check()
        assert page.locator("#count").inner_text() == "20 groups"
        page.locator("#list button").first.click()
        page.wait_for_selector(".rollout")
        assert "teaches nothing" in page.locator(".why").inner_text()
        assert page.locator(".measure.gain").count() == page.locator(".open").count() == 0


@pytest.mark.thorough
def test_the_keyboard_is_enough(chromium, small):
    with opened(chromium, small) as page:
        titles = []
        for key in ("j", "j", "k", "n", "j"):
            page.keyboard.press(key)
            page.wait_for_timeout(200)
            titles.append(page.locator("#group h3").inner_text())
        assert titles[:3] == [f"InfoPO, step 1, group {group}" for group in (0, 1, 0)]
        assert titles[3] == titles[2]  # a page further, the same group
        page.keyboard.press("Escape")
        focused = page.evaluate("document.activeElement.closest('#list') !== null")
        assert focused
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".rollout")
        while not page.evaluate("document.activeElement.classList.contains('open')"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.locator(".masked").first.is_visible()


@pytest.mark.thorough
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(chromium, small, scheme):
    with opened(chromium, small, viewport=PHONE, color_scheme=scheme, has_touch=True) as page:
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", background)[:3])) < 60) == (scheme == "dark")
        page.locator("#list button").first.tap()
        page.wait_for_selector(".rollout")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.locator(".rollout").first.bounding_box()["width"] <= PHONE["width"]
        assert not page.locator("#list").is_visible()
        page.locator("#back").tap()
        assert page.locator("#list").is_visible()
        page.locator("#list button").first.tap()
        page.locator(".turn .token").first.tap()
        assert "without: moved by" in page.locator(".said").first.inner_text()


@pytest.mark.thorough
def test_20_000_rollouts_do_not_freeze_it(chromium, tmp_path):
    run_dir = write_traces(tmp_path / "run", 250, num_groups=10, num_generations=8)
    assert build_report([run_dir], tmp_path / "report.html") == 4000
    assert (tmp_path / "report.html").stat().st_size < 10 * 2**20
    with opened(chromium, tmp_path / "report.html") as page:
        assert "20,000 rollouts, 4,000 of them here" in page.locator("#runs").inner_text()
        assert page.locator("#count").inner_text() == "500 groups"
        assert page.locator("#list button").count() == 25
        for _ in range(20):
            page.keyboard.press("n")
        assert page.locator("#page").inner_text() == "20 of 20"
        page.locator("#list button").last.click()
        page.wait_for_selector(".rollout", timeout=2000)
        assert page.locator("#group h3").inner_text() == "step 250, group 9"
        longest = page.evaluate("""() => {
            const start = performance.now();
            document.querySelector("#filters").dispatchEvent(new Event("change"));
            return performance.now() - start;
        }""")
        assert longest < 500


@pytest.mark.thorough
def test_report_of_the_quick_start(chromium, tmp_path, capsys):
    options = ["--warm_start_steps", "40", "--steps", "5", "--num_held_out", "16", "--compare"]
    quickstart.main([*options, "--output_dir", str(tmp_path / "out")])
    runs = [str(tmp_path / "out" / name) for name in ("InfoPO", "GRPO")]
    assert f"trl-infopo report {' '.join(runs)}" in capsys.readouterr().out
    cli.main(["report", *runs, "--output", str(tmp_path / "report.html")])
    with opened(chromium, tmp_path / "report.html") as page:
        names = page.locator("#runs b").all_inner_texts()
        assert names == ["InfoPO", "GRPO"]
        assert "Reward in evaluation" in page.locator("#charts").inner_text()
        page.locator("#list button").first.click()
        page.wait_for_selector(".rollout")
        assert page.locator(".rollout").count() == 8
        assert "i need a" in page.locator(".prompt").inner_text()
