"""The self-test of a bundle of unknown origin, in a process with limits on time and memory.

A network can ask for all memory or never end. So it first answers its test pictures in a process of
its own, at least one and as many as there is time for; the time grows with its weights and pixels.
Bundles that passed are remembered by checksum in the user's cache: this costs a few seconds once.
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
from bear_classifier.runtime.user_cache import cache_folder
from bear_classifier.ship.bundle import Bundle, load

_SECONDS = 5.0  # of a processor
_MORE = 1e-7  # seconds beyond that for each byte of a network for pictures of _SIDE pixels
_SIDE = 224
_BEGIN = 0.5  # of the seconds, after which no further picture is begun
_TIMES = 4  # bytes of memory beyond WORKER_MEMORY for each byte of the network
_PATIENCE = 6  # times as long by the clock, on a busy machine


def trust(bundle: Bundle) -> None:
    """Run the self-test of a bundle, unless it has passed before. Raises SelfTestError and
    ModelError (BAD_MODEL where the network exceeds its limits or cannot be run)."""
    mark = _mark(bundle)
    if mark and mark.is_file():
        return
    memory = WORKER_MEMORY + _TIMES * len(bundle.onnx)
    seconds = _SECONDS + _MORE * len(bundle.onnx) * (bundle.size / _SIDE) ** 2
    words = map(str, (bundle.path.resolve(), bundle.about["checksum"], memory, seconds))
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
    """That a bundle has passed; where nothing can be written, it is tried again next time."""
    if mark := _mark(bundle):
        with suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _judged(code: int, output: bytes, memory: int, seconds: float) -> None:
    answer: Any = None
    with suppress(ValueError):
        answer = json.loads(output)
    if code == 0 and answer == {}:
        return
    if isinstance(answer, dict) and "error" in answer:
        kind, word, sentence = answer["error"]
        raise getattr(errors, kind)(word, sentence)
    if code < 0 and -code == getattr(signal, "SIGXCPU", 0):
        raise _too_slow(seconds)
    ended = f"the process that tried it ended with {code}"
    words = f"{ended}, as where {memory / 1e6:,.0f} MB are not enough; name another model"
    raise ModelError("BAD_MODEL", f"model.onnx cannot be run: {words}")


def _too_slow(seconds: float) -> ModelError:
    words = f"model.onnx did not answer its test pictures in {seconds:.0f} s; name another model"
    return ModelError("BAD_MODEL", words)


def _mark(bundle: Bundle) -> Path | None:
    """The file that records that this bundle passed with this program."""
    words = f"{bundle.about['checksum']} {__version__}"
    cache = cache_folder()
    return cache and Path(cache, "passed", hashlib.sha256(words.encode()).hexdigest())


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


def main(path: str, checksum: str, memory: str, seconds: str) -> None:
    limit_memory(int(memory))
    if sys.platform != "win32":
        import resource

        most = int(float(seconds)) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # output of libraries is no answer
        answers.write(json.dumps(_tried(Path(path), checksum, float(seconds))).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
