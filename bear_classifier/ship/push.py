"""`bears push`: a bundle as a model repository on the Hugging Face Hub, in one commit.

Only bundle.json and the files that it names go up. Every commit holds a whole bundle: what an
earlier one had besides is taken out by the same commit. What has gone up before a break is not sent
again. A downloaded repository is a bundle: ship/bundle.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError
from huggingface_hub.utils import disable_progress_bars, validate_repo_id

from bear_classifier import __version__
from bear_classifier.errors import ConfigError, ModelError
from bear_classifier.runtime import terminal
from bear_classifier.ship import bundle, manifest
from bear_classifier.ship.predict import Model
from bear_classifier.ship.sandbox import trust

_OF_THE_HUB = ".gitattributes"  # which it puts into each repository
_LOG_IN = "log in with: hf auth login (or set HF_TOKEN); the token needs the right to write"
_AGAIN = "what has gone up is not sent again; run the same command once more"


@dataclass(frozen=True)
class Pushed:
    """repo: OWNER/NAME; private: None where nothing was sent; files: bytes by name; removed: files
    of an earlier bundle; commit: its address, empty where nothing was sent."""

    repo: str
    model: str
    version: int | None
    private: bool | None
    files: dict[str, int]
    removed: list[str]
    commit: str


def push(model: Path, repo: str, public: bool = False, dry_run: bool = False) -> Pushed:
    """Upload a bundle that passes its self-test. repo: NAME or OWNER/NAME, made if it is not there,
    private unless `public`; one that is there stays as visible as it is. dry_run: ask nobody.

    The token is that of huggingface_hub: HF_TOKEN, or of `hf auth login`; HF_ENDPOINT names another
    Hub. Raises ModelError and SelfTestError (the bundle; MODEL_REPLACED), ConfigError (BAD_REPO,
    NO_TOKEN, FOREIGN_REPO, HUB_REFUSED, HUB_FAILED, HUB_UNREACHABLE)."""
    try:
        validate_repo_id(repo)
    except HFValidationError as exc:
        raise ConfigError("BAD_REPO", f"{repo!r} is no name of a repository: {exc}") from exc
    if not dry_run and not huggingface_hub.get_token():
        raise ConfigError("NO_TOKEN", f"the Hub has to know who you are: {_LOG_IN}")
    trust(opened := bundle.load(model))
    Model(opened).self_test()
    place = bundle.standing(model)
    sizes = {"bundle.json": (place / "bundle.json").stat().st_size}
    sizes |= {name: entry["size"] for name, entry in sorted(opened.about["files"].items())}
    name, version = str(opened.about["name"]), manifest.optional_field(opened.about, "version", int)
    if dry_run:
        return Pushed(repo, name, version, None, sizes, [], "")
    if not sys.stderr.isatty() or os.environ.get("TQDM_DISABLE"):
        disable_progress_bars()
    hub = huggingface_hub.HfApi(library_name="bear-classifier", library_version=__version__)
    with _in_words(hub.endpoint, repo):
        whole = hub.create_repo(repo, private=not public, exist_ok=True).repo_id
        there = hub.model_info(whole)
        stored = {file.rfilename for file in there.siblings or ()}
        removed = _of_an_earlier_bundle(whole, stored) - set(sizes)
        commit = hub.create_commit(
            whole,
            [
                *(huggingface_hub.CommitOperationAdd(file, place / file) for file in sizes),
                *(huggingface_hub.CommitOperationDelete(file) for file in sorted(removed)),
            ],
            commit_message=terminal.one_line(f"{name}, version {version}"),
        )
    if bundle.load(model).about["checksum"] != opened.about["checksum"]:
        words = f"{model} was replaced while it was sent, and the repository may hold parts of both"
        raise ModelError("MODEL_REPLACED", f"{words}; run the same command once more")
    return Pushed(
        whole, name, version, there.private, sizes, sorted(removed), str(commit.commit_url)
    )


def _of_an_earlier_bundle(repo: str, stored: set[str]) -> set[str]:
    """Files in the repository that an earlier bundle had. Raises ConfigError (FOREIGN_REPO)."""
    ours = {file for file in stored if manifest.is_part(file) or file == "bundle.json"}
    if strange := sorted(stored - ours - {_OF_THE_HUB}):
        words = f"{repo} holds {terminal.one_line(strange[0])}, which belongs to no bundle"
        raise ConfigError("FOREIGN_REPO", f"{words}; name another repository, or remove it there")
    return ours


@contextmanager
def _in_words(endpoint: str, repo: str) -> Iterator[None]:
    """What the Hub or the network had against it. Raises ConfigError."""
    try:
        yield
    except HfHubHTTPError as exc:
        raise _refused(exc, endpoint, repo) from exc
    except (HTTPError, OSError) as exc:  # before ValueError, of which some are
        words = f"{endpoint} cannot be reached ({_brief(exc)}): look at the network"
        raise ConfigError("HUB_UNREACHABLE", f"{words}; {_AGAIN}") from exc
    except (RuntimeError, ValueError) as exc:  # of the transfer of large files
        raise ConfigError("HUB_FAILED", f"{endpoint}: {_brief(exc)}; {_AGAIN}") from exc


def _refused(exc: HfHubHTTPError, endpoint: str, repo: str) -> ConfigError:
    status = exc.response.status_code
    if status == 401:
        words = f"{endpoint} does not know the token, or it has expired (error 401): {_LOG_IN}"
        return ConfigError("HUB_REFUSED", words)
    if status == 403:
        words = f"the token may not write to {repo} (error 403): make one at {endpoint}"
        return ConfigError("HUB_REFUSED", f"{words}/settings/tokens that may; {_LOG_IN}")
    if status == 404:
        words = f"{endpoint} has no {repo}, or the token may not see it (error 404)"
        return ConfigError("HUB_REFUSED", f"{words}: check the name and whose it is; {_LOG_IN}")
    said = _brief(exc.server_message or exc)
    return ConfigError("HUB_FAILED", f"{endpoint} answered with error {status}: {said}; {_AGAIN}")


def _brief(what: object) -> str:
    return terminal.one_line(" ".join(str(what).split()))[:200] or type(what).__name__


def push_text(done: Pushed) -> str:
    """What went up, or would, and the next step."""
    files = terminal.count(len(done.files), "file")
    what = f"{done.model}, version {done.version}: {files} of {sum(done.files.values()) / 1e6:.1f}"
    if not done.commit:
        lines = "\n".join(f"{size:>12,}  {name}" for name, size in done.files.items())
        return f"{lines}\nwould send {what} MB to {done.repo}; nothing was sent"
    seen = "everybody" if done.private is False else "you alone, and the members of its owner"
    gone = (
        f", {terminal.count(len(done.removed), 'earlier file')} taken out" if done.removed else ""
    )
    return f"""\
sent       {what} MB{gone}: {done.commit}
seen by    {seen}
load it    hf download {done.repo} --local-dir {done.model}
             then, run: bears predict --model {terminal.quoted(done.model)} photo.jpg"""
