"""deploy/: every file says the same as the folder it is for and the service it starts.

`deploy/check` carries out the Dockerfile for real, in minutes; here its parts are tried."""

from __future__ import annotations

import configparser
import importlib.machinery
import importlib.util
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import pytest
from corpus import ROOT

from bear_classifier.serve import uvicorn_server
from bear_classifier.ship.space import space

yaml = pytest.importorskip("yaml")
DEPLOY = ROOT / "deploy"
APP = (ROOT / "app.py").read_text(encoding="utf-8")
LEFT_BEHIND = {"README.md", ".bears-space", ".gitattributes", ".gitignore"}  # not for the container


@pytest.fixture(scope="session")
def check() -> ModuleType:
    """deploy/check as a module."""
    loader = importlib.machinery.SourceFileLoader("deploy_check", str(DEPLOY / "check"))
    spec = importlib.util.spec_from_loader("deploy_check", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["deploy_check"] = module  # where its dataclass looks
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="session")
def folder(model_dir, tmp_path_factory) -> Path:
    return space(model_dir, tmp_path_factory.mktemp("deploy") / "space").path


@pytest.fixture(scope="session")
def steps(check) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = check.instructions(
        (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    )
    return found


def only(steps: list[tuple[str, str]], name: str) -> str:
    (text,) = (text for step, text in steps if step == name)
    return text


# Dockerfile


def test_what_the_builder_copies_is_all_that_the_service_needs(steps, folder, check, tmp_path):
    image = check.Image(tmp_path / "srv", tmp_path / "venv")
    image.folder.mkdir()
    for name, text in steps:
        if name == "COPY":
            check.build(image, folder, name, text)
    assert check.listed(image.folder) == check.listed(folder) - LEFT_BEHIND
    for path in image.folder.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (folder / path.relative_to(image.folder)).read_bytes()


def test_a_file_that_is_not_there_is_noticed(folder, check, tmp_path):
    image = check.Image(tmp_path / "srv", tmp_path / "venv")
    image.folder.mkdir()
    with pytest.raises(check.Failed, match="no such file"):
        check.build(image, folder, "COPY", "setup.py ./")
    with pytest.raises(check.Failed, match="ADD in .* is not known"):
        check.build(image, folder, "ADD", "app.py ./")
    with pytest.raises(check.Failed, match="not known here"):
        check.build(image, folder, "RUN", "curl example.com")


def test_the_image_is_slim_and_of_the_python_that_the_space_names(steps, folder):
    assert only(steps, "FROM") == "python:${PYTHON}-slim"
    argument = only(steps, "ARG")
    assert re.fullmatch(r"PYTHON=3\.\d+", argument)
    named = re.search(
        r'^python_version: "(.+)"$', (folder / "README.md").read_text(encoding="utf-8"), re.M
    )
    assert named
    if sys.version_info[:2] == (3, 11):
        assert argument == f"PYTHON={named[1]}"


def test_packages_come_in_exact_versions_and_without_building(steps, folder):
    (words,) = (shlex.split(text) for step, text in steps if text.startswith("pip"))
    assert words[:2] == ["pip", "install"]
    assert words[words.index("-r") + 1] == "requirements.txt"
    assert words[words.index("-c") + 1] == "constraints.txt"
    assert words[words.index("--only-binary") + 1] == ":all:"
    for name in ("requirements.txt", "constraints.txt"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line)


def test_a_new_model_does_not_install_packages_again(steps):
    order = [text for step, text in steps if step in ("COPY", "RUN")]
    assert [text.split()[0] for text in order] == [
        "useradd", "requirements.txt", "pip", "LICENSE", "bear_classifier", "models",
    ]  # fmt: skip


def test_nobody_in_particular_runs_it(steps):
    names = [step for step, _ in steps]
    user, _, group = only(steps, "USER").partition(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    (added,) = (text for step, text in steps if text.startswith("useradd"))
    assert f"--uid {user} " in added


def test_it_is_started_as_the_first_process_and_ends_on_sigterm(steps, folder):
    command = json.loads(only(steps, "CMD"))
    assert command == ["python", "app.py"]
    assert (folder / command[1]).is_file()
    assert only(steps, "STOPSIGNAL") == "SIGTERM"


def test_ports_agree(steps):
    port = only(steps, "EXPOSE")
    assert f'"BEARS_PORT", "{port}"' in APP
    assert f"'BEARS_PORT', {port})" in only(steps, "HEALTHCHECK")
    assert '"BEARS_HOST", "0.0.0.0"' in APP


def started(monkeypatch: pytest.MonkeyPatch, **env: str) -> list[object]:
    """What app.py asks for in this environment."""
    asked: list[object] = []
    for name in ("BEARS_MODEL", "BEARS_HOST", "BEARS_PORT", "BEARS_FRAMED_BY", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(uvicorn_server, "serve", lambda *words: asked.extend(words))
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    return asked


def test_app_py_takes_its_settings_from_the_environment(monkeypatch):
    assert started(monkeypatch)[:3] == [Path("models/bears"), "0.0.0.0", 7860]
    asked = started(
        monkeypatch, BEARS_MODEL="m", BEARS_HOST="::1", BEARS_PORT="80", BEARS_FRAMED_BY="'self'"
    )
    assert asked[:3] == [Path("m"), "::1", 80]
    assert getattr(asked[3], "framed_by", None) == "'self'"


@pytest.mark.parametrize(
    ("env", "framed_by"),
    [
        ({}, ""),
        ({"SPACE_ID": "YOU/bears"}, "https://huggingface.co"),
        ({"SPACE_ID": "YOU/bears", "BEARS_FRAMED_BY": "'self'"}, "'self'"),
    ],
)
def test_only_the_hub_shows_it_inside_a_page_of_its_own(monkeypatch, env, framed_by):
    assert getattr(started(monkeypatch, **env)[3], "framed_by", None) == framed_by


class Ready(BaseHTTPRequestHandler):
    status = 200
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_asks_whether_photos_are_taken(steps, service, monkeypatch, status, code):
    monkeypatch.setattr(Ready, "status", status)
    monkeypatch.setattr(Ready, "asked", [])
    program, *words = json.loads(only(steps, "HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    nowhere = {"http_proxy": "http://127.0.0.1:9"}  # no proxy comes between
    done = subprocess.run(
        [sys.executable, *words], env=nowhere | {"BEARS_PORT": str(service.server_port)}
    )
    assert done.returncode == code
    assert Ready.asked == ["/readyz"]


def test_the_health_check_notices_that_nobody_listens(steps, check):
    _, *words = json.loads(only(steps, "HEALTHCHECK").partition("CMD ")[2])
    env = {"BEARS_PORT": str(check.free_port())}
    done = subprocess.run([sys.executable, *words], env=env, capture_output=True)
    assert done.returncode == 1


def test_what_is_ignored_is_nothing_that_is_needed(folder):
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    ignored = [line.removeprefix("**/") for line in lines if line and line[0] != "#"]
    assert {".git", "__pycache__"} <= set(ignored)
    for path in folder.rglob("*"):
        assert not set(ignored) & set(path.relative_to(folder).parts), path


def test_a_dockerfile_is_read_as_docker_reads_it(check):
    text = "# a\nFROM x\nENV A=1 \\\n    # b\n    B=2\n\nrun pip  \\\n  install\n"
    assert check.instructions(text) == [("FROM", "x"), ("ENV", "A=1 B=2"), ("RUN", "pip install")]


# compose.yaml


@pytest.fixture(scope="session")
def compose() -> dict[str, object]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert set(found) == {"name", "services"}
    (service,) = found["services"].values()
    assert isinstance(service, dict)
    return service


def seconds(text: str) -> int:
    assert re.fullmatch(r"\d+s?", text)
    return int(text.rstrip("s"))


def test_the_container_may_do_little(compose):
    assert compose["read_only"] is True
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    (temporary,) = compose["tmpfs"]
    assert temporary.startswith("/tmp:size=")
    assert {"noexec", "nosuid", "nodev"} <= set(temporary.partition(":")[2].split(","))
    assert compose["mem_limit"] == "2g"
    assert compose["pids_limit"] <= 512
    assert compose["init"] is True  # before Python listens to signals, the first process ends


def test_only_this_machine_reaches_the_container(compose, steps):
    port = only(steps, "EXPOSE")
    assert compose["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_image_is_the_one_that_was_built(compose, steps):
    assert compose["image"] == "bears"
    assert compose["pull_policy"] == "never"
    for page in ("README.md", "Dockerfile"):
        text = (DEPLOY / page).read_text(encoding="utf-8")
        assert "docker build --file deploy/Dockerfile --tag bears space" in text
    health = only(steps, "HEALTHCHECK")
    for key, value in compose["healthcheck"].items():
        assert f"--{key.replace('_', '-')}={value} " in health


def test_there_is_time_to_answer_what_was_taken(compose, check):
    longest = uvicorn_server.NOTICE + uvicorn_server.GRACE + 2  # uvicorn's own, see running.config
    unit = configured((DEPLOY / "bears.service").read_text(encoding="utf-8"))
    for limit in (seconds(compose["stop_grace_period"]), seconds(unit["TimeoutStopSec"][0])):
        assert limit > longest
        assert limit == check.STOPPED


# bears.service


def configured(text: str) -> dict[str, list[str]]:
    """What [Service] says; a key may stand there twice."""
    found: dict[str, list[str]] = {}
    for line in text.partition("[Service]")[2].partition("\n[")[0].splitlines():
        if "=" in line and line[0] != "#":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_systemd_s_unit_may_do_little():
    unit = configured((DEPLOY / "bears.service").read_text(encoding="utf-8"))
    assert {key: unit[key] for key in (
        "DynamicUser", "ProtectSystem", "ProtectHome", "NoNewPrivileges", "PrivateTmp",
        "CapabilityBoundingSet", "IPAddressDeny", "IPAddressAllow", "KillSignal", "KillMode",
        "MemoryMax",
    )} == {
        "DynamicUser": ["yes"], "ProtectSystem": ["strict"], "ProtectHome": ["yes"],
        "NoNewPrivileges": ["yes"], "PrivateTmp": ["yes"], "CapabilityBoundingSet": [""],
        "IPAddressDeny": ["any"], "IPAddressAllow": ["localhost"], "KillSignal": ["SIGTERM"],
        "KillMode": ["mixed"], "MemoryMax": ["2G"],
    }  # fmt: skip
    assert unit["ExecStart"] == ["/srv/bears/venv/bin/python app.py"]
    settings = dict(word.split("=") for line in unit["Environment"] for word in line.split())
    assert settings["BEARS_HOST"] == "127.0.0.1"
    for name in settings:
        assert not name.startswith("BEARS") or f'"{name}"' in APP


def test_systemd_s_unit_is_made_of_sections():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "bears.service").read_text(encoding="utf-8"))
    assert parser.sections() == ["Unit", "Service", "Install"]
    assert parser["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    text = (DEPLOY / "bears.service").read_text(encoding="utf-8")
    unit = tmp_path / "bears.service"
    unit.write_text(text.replace("/srv/bears/venv/bin/python", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert told.returncode == 0, told.stdout  # exposure at most 2.0 of 10


# check, README.md


def test_the_check_says_how_it_is_used():
    done = subprocess.run([DEPLOY / "check", "--help"], capture_output=True, encoding="utf-8")
    assert done.returncode == 0
    assert "--hub" in done.stdout


def test_the_check_measures_files(check, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(1000))
    (tmp_path / "c").write_bytes(bytes(24))
    assert check.size(tmp_path) == 1024
    assert check.LIMIT == 500


def test_the_check_ends_with_what_went_wrong(tmp_path):
    done = subprocess.run(
        [sys.executable, DEPLOY / "check", tmp_path / "no_model"], cwd=ROOT,
        capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1
    assert "FAILED" in done.stdout
    assert "NO_MODEL" in done.stdout


def test_the_readme_names_files_and_settings_that_exist():
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"deploy/[\w.]+", text))
    assert named == {"deploy/check", "deploy/Dockerfile", "deploy/compose.yaml",
                     "deploy/bears.service", "deploy/slurm.sh",
                     "deploy/kubernetes.yaml"}  # fmt: skip
    assert all((ROOT / name).is_file() for name in named)
    settings = set(re.findall(r"BEARS_\w+", text))
    assert settings == set(re.findall(r"BEARS_\w+", APP))
