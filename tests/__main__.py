"""All that has to pass before a change is merged: ``python -m tests``.

Lint and format, the import contracts, the tests with compiled kernels, and the tests
again with ``NUMBA_DISABLE_JIT=1``, where coverage sees into the kernels (but for
scikit-learn's own checks of estimators, the code of the pages, and what is drawn where
there is little room). Stops at the first failure with its exit code.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# One BLAS thread per worker, or two workers fight for the same cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PYTEST = ["-m", "pytest", "-q", "-n", "2"]
# scikit-learn's own checks, thousands of them, the code of the pages and the layout of
# figures say nothing of a kernel.
COMPILED_ONLY = (
    "test_common_checks or test_code_of_a_page_runs or test_room "
    "or test_texts_are_whole_apart"
)
LINT_IMPORTS = "from importlinter.cli import lint_imports_command as run; run()"

STEPS = [
    ("Lint", ["-m", "ruff", "check", "."], {}),
    ("Format", ["-m", "ruff", "format", "--check", "."], {}),
    ("Import contracts", ["-c", LINT_IMPORTS], {}),
    ("Tests, kernels compiled", PYTEST, {}),
    (
        "Tests, kernels as plain Python, with coverage",
        [*PYTEST, "--cov", "--cov-report=term", "-k", f"not ({COMPILED_ONLY})"],
        {"NUMBA_DISABLE_JIT": "1"},
    ),
]


def main():
    for title, arguments, extra in STEPS:
        print(f"== {title}", flush=True)
        code = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT, **extra},
            check=False,
        ).returncode
        if code:
            print(f"== {title}: failed", flush=True)
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
