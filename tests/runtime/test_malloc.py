"""Memory that batches use again, asked of the processor's counter of page faults, each time in a
process of its own: what other tests leave in the heap would be used again in any case."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has it")
MANY = 50_000  # of 4 KB: half of those below
COUNT = """
import resource
from contextlib import suppress
from bear_classifier.runtime.malloc import pages_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        b"x" * 40_000_000  # beyond 32 MB, up to which glibc learns to map no longer
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

"""


def counted(steps: str) -> list[int]:
    """What `steps`, which calls `print(faults())`, prints."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT + steps], capture_output=True, encoding="utf-8", check=True
    )
    return [int(line) for line in done.stdout.split()]


def test_what_is_freed_is_used_again_within_and_given_back_after() -> None:
    before, first, within, after = counted(
        "print(faults())\nwith pages_kept():\n    print(faults())\n    print(faults())\n"
        "print(faults())"
    )
    assert before > MANY and after > MANY
    assert first < MANY / 2 and within < MANY / 100


def test_one_inside_another_does_not_end_the_outer_one() -> None:
    _, within, after = counted(
        "with pages_kept():\n    with pages_kept():\n        print(faults())\n    print(faults())\n"
        "print(faults())"
    )
    assert within < MANY / 100
    assert after > MANY


def test_it_ends_with_an_error_too() -> None:
    (after,) = counted(
        "with suppress(KeyError), pages_kept():\n    raise KeyError\nprint(faults())"
    )
    assert after > MANY
