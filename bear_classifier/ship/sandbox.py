"""The self-test of a bundle of unknown origin, in a process with limits.

A network can ask for all memory or never end. Whoever answers with it in this process has it tried
first: it answers its test pictures there, or is refused. Of a large network as many as there is
time for, and at least one: it has as much more time as it has weights and pixels. What passed is
remembered by checksum, in the user's cache, so that this costs a second or a few once and nothing
afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from bear_classifier import __version__, errors
from bear_classifier.errors import BearsError, ModelError
from bear_classifier.runtime.process_worker import WORKER_MEMORY, limit_memory
from bear_classifier.ship.bundle import Bundle, load

_SECONDS = 5.0  # of a processor
_MORE = 1e-7  # seconds beyond that for each byte of a network for pictures of _SIDE pixels
_SIDE = 224
_BEGIN = 0.5  # of the seconds: when they are used up no further picture is begun
_TIMES = 4  # bytes of memory beyond MEMORY for each byte of the network
_PATIENCE = 6  # times as long by the clock, on a busy machine


def trust(bundle: Bundle) -> None:
    """Let a bundle pass its self-test, unless it has.

    Raises ModelError (BAD_MODEL where the network exceeds its limits or cannot be run) and
    SelfTestError (it says something else)."""
    mark = _mark(bundle)
    if mark and mark.is_file():
        return
    memory = WORKER_MEMORY + _TIMES * len(bundle.onnx)
    seconds = _SECONDS + _MORE * len(bundle.onnx) * (bundle.size / _SIDE) ** 2
    words = [str(bundle.path.resolve()), str(bundle.about["checksum"]), str(memory), str(seconds)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bear_classifier.ship.sandbox", *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=_PATIENCE * seconds,
            env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _too_slow(seconds) from None
    _judged(done.returncode, done.stdout, memory, seconds)
    remember(bundle)


def remember(bundle: Bundle) -> None:
    """A bundle that has passed; where nothing can be written, the next one tries again."""
    if mark := _mark(bundle):
        with suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _judged(code: int, said: bytes, memory: int, seconds: float) -> None:
    try:
        answer: Any = json.loads(said)
    except ValueError:
        answer = None
    if code == 0 and answer == {}:
        return
    if isinstance(answer, dict) and "error" in answer:
        kind, word, sentence = answer["error"]
        raise getattr(errors, kind)(word, sentence)
    if code < 0 and -code == getattr(signal, "SIGXCPU", 0):
        raise _too_slow(seconds)
    raise ModelError(
        "BAD_MODEL",
        f"model.onnx cannot be run: the process that tried it ended with {code}, as where"
        f" {memory / 1e6:,.0f} MB are not enough; name another model",
    )


def _too_slow(seconds: float) -> ModelError:
    return ModelError(
        "BAD_MODEL",
        f"model.onnx did not answer its test pictures in {seconds:.0f} s; name another model",
    )


def _mark(bundle: Bundle) -> Path | None:
    """Where it is remembered that this bundle passed with this program; None: nowhere."""
    words = f"{bundle.about['checksum']} {__version__}"
    try:
        folder = _cache()
    except RuntimeError:  # nobody's home
        return None
    return folder / "passed" / hashlib.sha256(words.encode()).hexdigest()


def _cache() -> Path:
    """BEARS_CACHE, or the folder of this program where the system keeps what can be made again."""
    if own := os.environ.get("BEARS_CACHE"):
        return Path(own)
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME")
    return Path(base or Path.home() / ".cache") / "bear-classifier"


def _tried(path: Path, checksum: str, seconds: float) -> dict[str, Any]:
    from bear_classifier.ship.predict import Model

    try:
        bundle = load(path)
        if bundle.about["checksum"] != checksum:
            raise ModelError("MODEL_REPLACED", "the model was published anew; start again")
        Model(bundle, threads=1).self_test(_BEGIN * seconds)
    except BearsError as exc:
        return {"error": [type(exc).__name__, exc.code, exc.sentence]}
    except MemoryError:
        words = "model.onnx takes more memory than a network of its size may; name another model"
        return {"error": ["ModelError", "BAD_MODEL", words]}
    return {}


def main(words: list[str]) -> None:
    limit_memory(int(words[2]))
    if sys.platform != "win32":
        import resource

        most = int(float(words[3])) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    answers.write(json.dumps(_tried(Path(words[0]), words[1], float(words[3]))).encode())
    answers.close()


if __name__ == "__main__":
    main(sys.argv[1:])
