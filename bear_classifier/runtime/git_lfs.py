"""Git LFS pointer files: what a clone without git-lfs holds in place of a large file."""

from __future__ import annotations

MAX_POINTER_BYTES = 1024  # bytes of a pointer, by the specification
_STARTS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
ADVICE = "a pointer of Git LFS and not the file itself; fetch what it stands for with: git lfs pull"


def is_pointer(head: bytes) -> bool:
    """head: the first bytes of a file, 50 or more where it has so many."""
    return head.lstrip(b"\xef\xbb\xbf").startswith(_STARTS)
