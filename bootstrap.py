# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Set up what is missing in `.venv`, then run the quick start or the tests. Needs Python >= 3.11 and nothing else.

python3 bootstrap.py quickstart [options of `trl-infopo quickstart`]
python3 bootstrap.py test [options of pytest]
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import venv
from pathlib import Path


ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
BIN = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
TORCH = "torch==2.13.0"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


def pip_install(*arguments: str) -> None:
    command = [str(BIN / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, cwd=ROOT)


def main() -> int:
    tasks = {"quickstart": [str(BIN / "trl-infopo"), "quickstart"], "test": [str(BIN / "python"), "-m", "pytest"]}
    if sys.version_info < (3, 11):  # noqa: UP036 (it runs before anything has checked)
        sys.exit(f"trl-infopo needs Python 3.11 or newer, this is {sys.version.split()[0]}.")
    if len(sys.argv) < 2 or sys.argv[1] not in tasks:
        sys.exit(__doc__)
    task, *options = sys.argv[1:]

    installed = ENVIRONMENT / f"installed-for-{task}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != wanted:
        install(task)
        installed.write_text(wanted)
    return subprocess.run([*tasks[task], *options], cwd=ROOT).returncode


def install(task: str) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            "This Python cannot make virtual environments. On Debian or Ubuntu, install the package python3-venv."
        )
    print(f"Installing what is missing into {ENVIRONMENT}; the first time, this takes a few minutes", flush=True)
    if not (BIN / "python").exists():
        venv.create(ENVIRONMENT, with_pip=True)
    has_torch = subprocess.run([str(BIN / "python"), "-c", "import torch"], capture_output=True).returncode == 0
    if not has_torch:
        # On Linux, the usual build brings gigabytes of CUDA: without a GPU, prefer the one for the CPU
        without_gpu = sys.platform == "linux" and shutil.which("nvidia-smi") is None
        pip_install(TORCH, *(["--retries", "1", "--extra-index-url", CPU_BUILDS] if without_gpu else []))
    # The quick start ends with the command of a report, which draws its curves with an extra
    pip_install("--editable", ".[test]" if task == "test" else ".[report]")


if __name__ == "__main__":
    sys.exit(main())
