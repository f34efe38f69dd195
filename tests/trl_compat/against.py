# Copyright 2026 The trl-infopo authors
# SPDX-License-Identifier: Apache-2.0
"""Run the tests against another version of TRL, which is installed beside the one that is there.

    python tests/trl_compat/against.py 1.15.0
    python tests/trl_compat/against.py 1.15.0 tests/trl_compat -k surface

Options after the version are pytest's. Without any, the default tests run.
"""

import os
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    if len(sys.argv) < 2 or not sys.argv[1][0].isdigit():
        sys.exit(__doc__)
    version, *options = sys.argv[1:]
    target = ROOT / ".trl" / version
    if not target.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(target), f"trl=={version}"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    check = "from importlib.metadata import version; import trl; print(version('trl'), trl.__file__)"
    found = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=True)
    if found.stdout.split() != [version, str(target / "trl" / "__init__.py")]:
        sys.exit(f"Wanted trl {version} from {target}, found {found.stdout.strip()}")
    print(f"trl {version}", flush=True)
    return subprocess.run([sys.executable, "-m", "pytest", *options], env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
