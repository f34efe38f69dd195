# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""The notebooks run from a clean kernel, and what is committed of their outputs is complete and of no machine."""

import re
import resource
import runpy
from pathlib import Path

import nbformat
import pytest
from smollm2 import save_smollm2


ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "examples" / "notebooks"
SECONDS = 240  # of one core
PATH_OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:\w[\w.-]*/)+|[A-Z]:\\|127\.0\.0\.1|localhost:\d")

pytest.importorskip("nbclient", reason="needs the extra `test`")
script = runpy.run_path(str(NOTEBOOKS / "execute.py"))
execute, ON_A_CPU = script["execute"], script["ON_A_CPU"]


def texts(outputs) -> list[str]:
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]


def kinds(notebook) -> list[list[str]]:
    """What each cell shows: text, pictures."""
    cells = code_cells(notebook)
    return [[kind for output in cell.outputs for kind in sorted(output.get("data", ["text"]))] for cell in cells]


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def committed(request):
    return nbformat.read(request.param, as_version=4)


class TestCommitted:
    def test_all_cells_were_run_in_order(self, committed):
        cells = code_cells(committed)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
        assert any("image/png" in shown for shown in kinds(committed))

    def test_outputs_are_small_and_hold_nothing_of_a_machine(self, committed):
        outputs = [output for cell in code_cells(committed) for output in cell.outputs]
        assert all(output.get("name") != "stderr" for output in outputs)
        assert not [text for text in texts(outputs) if PATH_OF_A_MACHINE.search(text)]
        assert all(not cell.metadata for cell in committed.cells)
        assert set(committed.metadata) == {"kernelspec"}
        assert len(nbformat.writes(committed)) < 200_000

    def test_links_lead_to_files(self, committed):
        prose = "\n".join(cell.source for cell in committed.cells if cell.cell_type == "markdown")
        links = re.findall(r"\]\(([^)\s:]+)\)", prose)
        pages = re.findall(r"`((?:docs|trl_infopo|examples)/[^`]+)`", prose)
        assert links + pages
        assert all((NOTEBOOKS / link).exists() for link in links)
        assert all((ROOT / page).exists() for page in pages)


@pytest.mark.notebooks
@pytest.mark.parametrize("name", ON_A_CPU)
def test_notebook_runs_offline_within_minutes_of_one_core(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    notebook = execute(path, HF_HUB_OFFLINE="1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    assert kinds(notebook) == kinds(nbformat.read(path, as_version=4))

    text = "".join(text for cell in code_cells(notebook) for text in texts(cell.outputs))
    assert not PATH_OF_A_MACHINE.search(text)
    if success := re.search(r"success .*: ([\d.]+) before, ([\d.]+) after", text):
        assert float(success[2]) > float(success[1]) + 0.3
    else:
        assert text.count("largest difference") >= 15  # the formulas


@pytest.mark.notebooks
def test_what_a_cell_shows_is_kept_without_its_machine(tmp_path):
    source = """
    import sys
    from pathlib import Path
    print("[2026-01-31 12:00:00,000] [WARNING] from a logger")
    print("in", Path("report.html").absolute())
    print("noise", file=sys.stderr)
    print("after it", flush=True)
    Path("left").touch()
    """
    cell = nbformat.v4.new_code_cell("\n".join(line.strip() for line in source.splitlines()))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebook.ipynb")
    [ran] = execute(tmp_path / "notebook.ipynb").cells
    assert [output.text for output in ran.outputs] == ["in report.html\nafter it\n"]
    assert not (tmp_path / "left").exists()


@pytest.mark.slow
def test_chat_model_notebook_in_its_dry_run(tmp_path):
    path = NOTEBOOKS / "chat_model_on_a_gpu.ipynb"
    notebook = execute(path, DRY_RUN_MODEL=str(save_smollm2(tmp_path)), HF_HUB_OFFLINE="1")
    assert kinds(notebook) == kinds(nbformat.read(path, as_version=4))
    text = "".join(text for cell in code_cells(notebook) for text in texts(cell.outputs))
    assert re.search(r"step   1   reward [\d.]+   gain [\d.-]+", text)
