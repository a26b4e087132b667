"""Memory that batches use again, asked of the processor's counter of page faults."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable

import pytest
import torch

from bear_classifier.pages import pages_kept

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone has it")
MANY = 9000  # of 4 KB: one array of those below


def faults(work: Callable[[], object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def arrays() -> None:
    for _ in range(10):
        # Beyond 32 MB, up to which glibc learns from what other tests freed to map no longer; and
        # numpy asks for larger pages.
        torch.ones(10_000_000)


def test_what_is_freed_is_used_again_within_and_given_back_after() -> None:
    assert faults(arrays) > MANY
    with pages_kept():
        arrays()
        assert faults(arrays) < MANY / 4
    assert faults(arrays) > MANY


def test_one_inside_another_does_not_end_the_outer_one() -> None:
    with pages_kept():
        with pages_kept():
            arrays()
        assert faults(arrays) < MANY / 4
    assert faults(arrays) > MANY


def test_it_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), pages_kept():
        raise KeyError
    assert faults(arrays) > MANY
