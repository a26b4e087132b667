"""The examples in docs/SERVING.md of asking the service, word for word but for the port."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import LABELS
from corpus import ROOT, drawn, saved
from serving import Serving
from waiting import STUCK

GUIDE = (ROOT / "docs" / "SERVING.md").read_text(encoding="utf-8")
CURLS = re.findall(r"^    (curl .+)$", GUIDE, re.MULTILINE)
CODE = next(c for c in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "gradio" in c)
PLACE = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def server(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("examples")
    for number, name in enumerate(["photo.jpg", "1.jpg", "2.jpg"]):
        (folder / name).write_bytes(saved(drawn(seed=number), "JPEG"))
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.write(folder / "1.jpg", "1.jpg")
        archive.write(folder / "2.jpg", "2.jpg")
    with Serving(model_dir, folder) as running:
        yield running


def said(server: Serving, command: list[str] | str) -> str:
    shell = isinstance(command, str)
    done = subprocess.run(
        command,
        shell=shell,
        cwd=server.folder,
        capture_output=True,
        encoding="utf-8",
        timeout=STUCK,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("line", CURLS)
def test_each_curl_is_answered(server: Serving, line: str) -> None:
    answer = said(server, line.replace(PLACE, f"http://127.0.0.1:{server.port}"))
    if "csv=true" in line:
        assert [row["name"] for row in csv.DictReader(answer.splitlines())] == ["1.jpg", "2.jpg"]
    elif "classify-many" in line:
        rows = [json.loads(row) for row in answer.splitlines()]
        assert [row["name"] for row in rows] == ["1.jpg", "2.jpg"]
        assert {row["label"] for row in rows} <= set(LABELS)
    elif "models" in line:
        assert json.loads(answer)["models"][0]["labels"] == LABELS
    else:
        found = json.loads(answer)
        assert found["label"] in LABELS and found["sentence"]
        assert ("maps" in found) == ("explain=true" in line)


def test_there_is_an_example_of_each_way() -> None:
    assert len(CURLS) == 5 and all(PLACE in line for line in (*CURLS, CODE))


def test_gradio_s_client_is_answered(server: Serving) -> None:
    code = CODE.replace(PLACE, f"http://127.0.0.1:{server.port}")
    answer = said(server, [sys.executable, "-c", code])
    assert any(word in answer for word in ("quite sure", "certainly", "Probably", "Between", "not"))
