"""One photo by its address: guarded as downloads are."""

from __future__ import annotations

import answers as a
import pytest
from hosts import Hosts

from bear_classifier.collect.http.fetch_many import Net
from bear_classifier.collect.http.fetch_photo import fetch_photo
from bear_classifier.collect.http.ssrf_guard import Limits, World
from bear_classifier.errors import PhotoError

LIMITS = Limits(bytes=2_000_000, in_memory=100_000, connect=20, read=20, total=60)


def test_a_photo_is_fetched_through_redirects_and_the_guard() -> None:
    places = {
        ("a.example", "/bear.jpg"): a.photo(1),
        ("a.example", "/moved"): a.redirect("http://a.example/bear.jpg"),
        ("a.example", "/inside"): a.redirect("http://10.0.0.1/secret.jpg"),
        ("a.example", "/page"): a.foreign("html"),
        ("a.example", "/gone"): a.status(404),
        ("a.example", "/round"): a.redirect("http://a.example/round"),
        ("a.example", "/large"): a.announced(),
    }
    with Hosts(places) as hosts:
        net = Net(World(hosts.resolve, hosts.allowed, hosts.tls), LIMITS)
        for place in ("bear.jpg", "moved"):
            assert fetch_photo(f"http://a.example/{place}", net) == a.picture(1)
        refusals = {
            "inside": "BLOCKED_ADDRESS",
            "page": "NOT_AN_IMAGE",
            "gone": "HTTP_404",
            "round": "TOO_MANY_REDIRECTS",
            "large": "TOO_LARGE",
        }
        for place, code in refusals.items():
            with pytest.raises(PhotoError) as refused:
                fetch_photo(f"http://a.example/{place}", net)
            assert refused.value.code == code, place
        asked = {visit.request.path for visit in hosts.log}
    assert "/robots.txt" not in asked and "/secret.jpg" not in asked
