"""A server on loopback for what goes through S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest


@contextmanager
def s3_server(patch: pytest.MonkeyPatch, bucket: str) -> Iterator[Any]:
    """With an empty bucket; gives its file system. Skips where a package is absent."""
    s3fs = pytest.importorskip("s3fs", reason="S3: pip install s3fs")
    moto = pytest.importorskip("moto.server", reason='a server: pip install "moto[server]"')
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        at_server(patch, f"http://{host}:{port}")
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        made = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        made.mkdir(bucket)
        yield made
    finally:
        server.stop()


def at_server(patch: pytest.MonkeyPatch, address: str) -> None:
    """What clients of S3 read from the environment."""
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "a")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_MAX_ATTEMPTS", "1")
