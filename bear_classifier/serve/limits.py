"""Limits of HTTP requests: bytes, photos, seconds, and photos a minute from one address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, ip_network
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from bear_classifier.images import decoder
from bear_classifier.web.addresses import parse_ip
from bear_classifier.web.guard import Refused

MAX_PHOTO_BYTES = decoder.MAX_BYTES  # of any photo that is decoded
AROUND = 65_536  # bytes that a form may add to a photo
SMALL = 65_536  # bytes of a body that is no photo
MAX_BATCH_BYTES = 100_000_000  # of a request with many photos
MAX_BATCH_PHOTOS = 200
MAX_BATCHES = 2  # at once, of which each may take 100 MB
BODY_SECONDS = 30.0  # for a whole body
HEADER_SECONDS = 30.0  # for the first line and the headers of a request
_KNOWN = 10_000  # addresses at once; of more, those that have been silent longest are forgotten
_NETWORK = 64  # bits of an IPv6 address that its owner cannot choose freely

# Scripts that run WebAssembly: the page's, and the library's in its threads (Firefox asks each).
WORKERS = ("/page_worker.js", "/ort/ort-wasm-simd-threaded.mjs")
CLASSIFY_MANY = "/api/v1/classify-many"
GRADIO = "/gradio"
ONE_PHOTO = ("/api/v1/classify", "/api/v1/corrections", f"{GRADIO}/gradio_api/upload")


def body_limit(path: str) -> int:
    """Bytes of the body of a request."""
    if path in ONE_PHOTO:
        return MAX_PHOTO_BYTES + AROUND
    return MAX_BATCH_BYTES if path == CLASSIFY_MANY else SMALL


def photo_limits() -> dict[str, Any]:
    """For the page: bytes and photos at most, and of a picture those of the decoder. deep:
    megapixels of an AVIF of 10 or 12 bits; side: shortest and longest, in pixels."""
    return {
        "bytes": MAX_PHOTO_BYTES,
        "photos": MAX_BATCH_PHOTOS,
        "megapixels": decoder.MEGAPIXELS | {"deep": decoder.DEEP_AVIF},
        "side": decoder.PIXEL_LIMITS,
        "aspect": decoder.MAX_ASPECT,
    }


def client_of(scope: Scope) -> str:
    """The address that the connection comes from; empty where there is none."""
    return str((scope.get("client") or ("",))[0])


class Fair:
    """A token bucket for each address, which holds one minute's photos.

    per_minute: photos from one address; 0: any number. proxy: the address that is believed about
    whom it forwards for (X-Forwarded-For); "": nobody is. clock: seconds."""

    def __init__(
        self, per_minute: int = 0, proxy: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.per_minute, self.proxy, self.clock = per_minute, proxy, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # photos, at what time

    def who(self, scope: Scope) -> str:
        """Whose request it is: an address, or the network of an IPv6 address."""
        host = client_of(scope)
        if self.proxy and host == self.proxy:  # the last one is what the proxy itself has seen
            host = Headers(scope=scope).get("x-forwarded-for", host).rpartition(",")[2].strip()
        address = parse_ip(host)
        if address is None or isinstance(address, IPv4Address):
            return host[:50]
        return str(address.ipv4_mapped or ip_network((int(address), _NETWORK), strict=False))

    def take(self, who: str) -> None:
        """Count a photo. Raises Refused (429, TOO_MANY_REQUESTS), with the seconds until the next
        one may be sent."""
        left = self.charge(who, 0)
        if left < 1:
            after = math.ceil((1 - left) * 60 / self.per_minute)
            words = f"Too many photos came from your address; {self.per_minute} a minute are"
            words += f" answered. Try again in {after} seconds"
            raise Refused(429, "TOO_MANY_REQUESTS", words, after)
        self.charge(who, 1)

    def charge(self, who: str, photos: int) -> float:
        """Count photos, of which there may be too many: a batch is answered whole, and the next
        ones wait for it. Returns how many are left of the address's share."""
        if not self.per_minute:
            return math.inf
        now = self.clock()
        left, at = self._left.pop(who, (float(self.per_minute), now))
        left = min(left + (now - at) * self.per_minute / 60, self.per_minute) - photos
        self._left[who] = left, now
        if len(self._left) > _KNOWN:
            self._left.popitem(last=False)
        return left
