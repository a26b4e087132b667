"""Run notebooks/bears.ipynb from top to bottom, in a folder that is gone afterwards.

    python tests/execute_notebook.py [EXECUTED.ipynb]

Fails where a cell fails, says something on stderr, or no bundle comes of it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "bears.ipynb"
_LONGEST = 900  # seconds for a cell


def main(words: list[str]) -> int:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    book = nbformat.read(NOTEBOOK, as_version=4)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="notebook-") as scratch:
        for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):  # all that is left lies there
            os.environ[name] = scratch
        client = NotebookClient(
            book,
            timeout=_LONGEST,
            kernel_name="python3",
            startup_timeout=_LONGEST,
            extra_arguments=["--IPKernelApp.log_level=ERROR"],  # it warns of what loopback is
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        failed = []
        try:
            client.execute()
        except CellExecutionError as exc:
            failed.append(str(exc))
        failed += disturbing(book)
        if not failed and len(list(Path(scratch).glob("bears-*/models/*/bundle.json"))) != 1:
            failed.append("no bundle came of it")
    if words:
        nbformat.write(book, words[0])
    print("\n\n".join(failed), file=sys.stderr, end="\n" if failed else "")
    said = "failed" if failed else "ran without a complaint"
    print(f"{NOTEBOOK.name} {said}  [{time.monotonic() - began:.0f} s]")
    return int(bool(failed))


def disturbing(book: dict[str, list[dict[str, object]]]) -> list[str]:
    """What cells of an executed notebook said on stderr, each with its cell."""
    return [
        f"cell {cell['id']} said on stderr: {output['text']}"
        for cell in book["cells"]
        for output in cell.get("outputs", ())
        if output.get("name") == "stderr"
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
