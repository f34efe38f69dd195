# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Run notebooks from a clean kernel and keep what they show: outputs, but nothing of the machine that made them.

```bash
pip install -e ".[test]"
python examples/notebooks/execute.py                         # those that need no GPU
DRY_RUN_MODEL=/path/of/a/model python examples/notebooks/execute.py chat_model_on_a_gpu
```
"""

import base64
import io
import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from PIL import Image


DIRECTORY = Path(__file__).parent
ON_A_CPU = ("infopo_in_ten_minutes", "your_own_environment", "information_gain_under_the_microscope")
KEPT_METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
COLOURS = 256  # of a plot
LOG_LINE = re.compile(r"(?m)^\[\d{4}-\d\d-\d\d .*\n?")  # with the time, as DeepSpeed writes them to stdout


def execute(path: Path, **environment: str) -> nbformat.NotebookNode:
    """
    Run a notebook in a folder of its own that is removed afterwards.

    Args:
        path (`Path`):
            The notebook, which stays as it is.
        **environment:
            Environment variables that it is to see, besides those of this process.

    Returns:
        [`~nbformat.NotebookNode`]: The notebook with its outputs, cleaned by [`clean`].

    Raises:
        [`~nbclient.exceptions.CellExecutionError`]: If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1", **environment}
    with TemporaryDirectory() as folder:
        folder = str(Path(folder).resolve())
        client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}})
        client.execute(env=environment)
        return clean(notebook, folder)


def clean(notebook: nbformat.NotebookNode, folder: str) -> nbformat.NotebookNode:
    """
    Keep what a reader wants to see of a notebook's outputs.

    Times of execution, what libraries say on stderr and HTML that has a text beside it go; plots are made small.

    Args:
        notebook (`nbformat.NotebookNode`):
            Notebook, changed in place.
        folder (`str`):
            Folder that it ran in, which is cut out of paths.

    Returns:
        [`~nbformat.NotebookNode`]: The notebook.
    """
    notebook.metadata = nbformat.from_dict(KEPT_METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            if output.output_type == "stream":
                text = LOG_LINE.sub("", output.text.replace(f"{folder}/", ""))
                if output.name == "stderr" or not text:
                    continue
                if outputs and outputs[-1].output_type == "stream":
                    outputs[-1].text += text
                    continue
                output.text = text
            elif "data" in output:
                output.data = {
                    kind: shrink(content) if kind == "image/png" else content.replace(f"{folder}/", "")
                    for kind, content in output.data.items()
                    if kind in ("image/png", "text/plain")
                }
            outputs.append(output)
        cell.outputs = outputs
    return notebook


def shrink(png: str) -> str:
    """A picture with fewer colours, in Base64 as it came."""
    shrunk = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").quantize(COLOURS).save(shrunk, "PNG", optimize=True)
    return base64.b64encode(shrunk.getvalue()).decode()


if __name__ == "__main__":
    for name in sys.argv[1:] or ON_A_CPU:
        path = (DIRECTORY / name).with_suffix(".ipynb")
        print(path.name, flush=True)
        nbformat.write(execute(path), path)
