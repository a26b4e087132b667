"""One photo that a person names by its address, through the same guard as downloads.

robots.txt is not asked: it speaks to programs that go about collecting, not to a person who looks
at one picture."""

from __future__ import annotations

from bear_classifier.collect.http.client import Client, in_own_loop
from bear_classifier.collect.http.fetch_many import INTERNET, Net
from bear_classifier.collect.http.fetch_one import MOST_REDIRECTS, moved_to
from bear_classifier.collect.http.ssrf_guard import in_time
from bear_classifier.collect.http.url import parse_url
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder


def fetch_photo(url: str, net: Net = INTERNET) -> bytes:
    """The bytes of the photo. Raises PhotoError with the code that a download would record."""

    async def get() -> bytes:
        target = parse_url(url)
        async with Client(net.world, net.limits) as client:
            for _ in range(MOST_REDIRECTS + 1):
                async with client.open(target, keep=False) as answer:
                    if moved := moved_to(target, answer):
                        target = moved
                        continue
                    with await answer.read(judge=decoder.format_of_stranger) as body:
                        return body.read()
        words = f"more than {MOST_REDIRECTS}, the last to {target.host}"
        raise PhotoError("TOO_MANY_REDIRECTS", words)

    return in_own_loop(in_time(get(), net.limits.total))
