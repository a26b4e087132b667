"""The command line within this process, which has imported the libraries already: a process of its
own needs six seconds for that. Whole runs in one are those of test_web_run.py."""

from __future__ import annotations

import io
import os
import subprocess
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from bear_classifier.cli.main import main


def bears(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` of `bears` in that folder tells it; folder, environment and warnings of
    this process stay as they are."""
    said, errors = io.StringIO(), io.StringIO()
    here, environment = Path.cwd(), dict(os.environ)
    os.chdir(cwd)
    try:
        with redirect_stdout(said), redirect_stderr(errors), warnings.catch_warnings():
            code = main([str(word) for word in words])
    except SystemExit as exc:  # of argparse
        code = int(exc.code or 0)
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)
    return subprocess.CompletedProcess(words, code, said.getvalue(), errors.getvalue())
