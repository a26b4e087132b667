"""Chains of near-copies are cut: groups are bounded, and no near-copies stand in two of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bear_classifier.collect.screen import screen, tie, tied
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import SPLITS, Photo
from bear_classifier.images.dhash import hash_bits
from bear_classifier.report.stage_lines import stage_text
from bear_classifier.stats.hamming import pair_blocks

Make = Callable[..., Photo]
NEAR, SAME = 45, 8


def scene(rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.permutation(400) < 200


def pan(make: Make, n: int, step: int) -> list[Photo]:
    """Frames of a pan: each differs in `step` bits from the one before, its hash in its number."""
    rng = np.random.default_rng(1)
    bits, photos = scene(rng), []
    for number in range(n):
        photos.append(photo(make, number, bits))
        bits = bits ^ (rng.permutation(400) < step)
    return photos


def photo(make: Make, number: int, bits: NDArray[np.bool_]) -> Photo:
    return make(number, dhash=np.packbits(bits).tobytes().hex(), group=None)


def groups(photos: list[Photo]) -> Counter[str | None]:
    return Counter(p.group for p in photos if p.status == "ok")


def across(photos: list[Photo], limit: int = NEAR) -> int:
    """Near pairs of photos in use that are in two groups."""
    used = [p for p in photos if p.status == "ok"]
    blocks = pair_blocks(hash_bits([p.dhash for p in used]), limit)
    return sum(used[i].group != used[j].group for pairs, _ in blocks for i, j in pairs.tolist())


def anew(photos: list[Photo]) -> list[Photo]:
    """As the next screening finds them."""
    return [replace(p, status="ok", reason="") for p in photos]


@pytest.mark.parametrize("step", [12, 20, 40])
def test_a_chain_is_cut_into_bounded_groups(make: Make, step: int) -> None:
    photos = pan(make, 1000, step)
    after, limits = tied(photos, NEAR, SAME)
    assert max(groups(after).values()) <= 100
    assert across(after) == 0
    aside = [p for p in after if p.status != "ok"]
    assert {p.status for p in aside} == {"duplicate"}
    assert all(p.reason.startswith("BETWEEN_GROUPS: near-copy of ") for p in aside)
    assert 5 <= len(aside) <= 100
    assert limits == {NEAR: 1000}
    used = {p.sha256 for p in after if p.status == "ok"}
    hashes = dict(
        zip([p.sha256 for p in photos], hash_bits([p.dhash for p in photos]), strict=True)
    )
    for p in aside:  # each is near to the photo that it names, which is in use
        other = p.reason.split()[3]
        assert other in used
        assert np.bitwise_count(hashes[p.sha256] ^ hashes[other]).sum() <= NEAR
    assert tie(anew(after), NEAR, SAME) == after
    shuffled = [photos[i] for i in np.random.default_rng(2).permutation(1000)]
    assert {p.sha256: p for p in tie(shuffled, NEAR, SAME)} == {p.sha256: p for p in after}


def test_a_set_that_was_one_group_and_has_no_split_is_cut_as_a_new_one(make: Make) -> None:
    """Screened by a version that did not bound groups."""
    photos = pan(make, 400, 20)
    old = [replace(p, group=photos[0].sha256) for p in photos]
    assert groups(tie(old, NEAR, SAME)) == groups(tie(photos, NEAR, SAME))


def test_a_chain_of_fewer_photos_is_one_group(make: Make) -> None:
    assert len(groups(tie(pan(make, 100, 20), NEAR, SAME))) == 1


def test_a_chain_of_one_in_twenty_photos_is_one_group(make: Make) -> None:
    rng = np.random.default_rng(3)
    others = [photo(make, 10_000 + n, scene(rng)) for n in range(2900)]
    chain = pan(make, 150, 20)
    after = tie(chain + others, NEAR, SAME)
    assert len({p.group for p in after[:150]}) == 1
    assert len({p.group for p in tie(chain + others[:2800], NEAR, SAME)[:150]}) > 1


def test_photos_of_one_scene_are_never_cut(make: Make) -> None:
    """All within two steps of one photo, however many."""
    rng = np.random.default_rng(4)
    start = scene(rng)
    frames = [photo(make, n, start ^ (rng.permutation(400) < 21)) for n in range(600)]
    after, limits = tied(frames, NEAR, SAME)
    assert list(groups(after).values()) == [600]
    assert limits == {}


def test_photos_keep_their_splits_and_what_was_one_group_stays_one(make: Make) -> None:
    """A catalog from before groups were bounded: a chain of 300 in train, and new frames of it."""
    photos = pan(make, 600, 20)
    old = [replace(p, group=photos[0].sha256, split="train") for p in photos[:300]]
    after = tie([*old, *photos[300:]], NEAR, SAME)
    assert after[:300] == old
    assert {p.split for p in after[300:]} == {None}
    sizes = groups(after[300:])
    sizes.pop(photos[0].sha256)
    assert max(sizes.values()) <= 100
    assert across(after) == 0


def test_groups_in_splits_stay_as_they_are(make: Make) -> None:
    """The cut was before the split: the next screening neither moves a photo nor sets one aside."""
    once = tie(pan(make, 1000, 20), NEAR, SAME)
    names = sorted(map(str, groups(once)))
    placed = [
        replace(p, split=SPLITS[names.index(str(p.group)) % 3] if p.status == "ok" else None)
        for p in once
    ]
    again = tie(anew(placed), NEAR, SAME)
    for before, after in zip(placed, again, strict=True):
        assert before.split == after.split
        if before.status == "ok":
            assert after == before
    assert across(again) == 0
    assert max(groups(again).values()) <= 110
    assert tie(anew(again), NEAR, SAME) == again


def test_groups_of_one_split_that_turn_out_to_be_near_stay_in_use(make: Make) -> None:
    """As when screen.near is raised: all have a split, so that nothing is set aside."""
    photos = pan(make, 400, 20)
    placed = [
        replace(p, group=photos[n // 50 * 50].sha256, split="train") for n, p in enumerate(photos)
    ]
    after = tie(placed, NEAR, SAME)
    assert [(p.split, p.status) for p in after] == [("train", "ok")] * 400


def test_new_photos_join_a_part_of_a_chain_in_several_splits(make: Make) -> None:
    """They are not set aside because some other part of the chain is in another split."""
    photos = pan(make, 400, 20)
    parts = [range(50 * k, 50 * k + 47) for k in range(8)]
    placed = [
        replace(photos[n], group=photos[part[0]].sha256, split=SPLITS[k % 3])
        for k, part in enumerate(parts)
        for n in part
    ]
    bits = np.unpackbits(hash_bits([photos[20].dhash])).astype(bool)
    new = photo(make, 9000, bits ^ (np.arange(400) < 10))
    rest = [photos[n] for n in range(400) if not any(n in part for part in parts)]
    after = {p.sha256: p for p in tie([*placed, *rest, new], NEAR, SAME)}
    assert after[new.sha256].status == "ok"
    assert after[new.sha256].group == photos[0].sha256
    assert all(after[p.sha256] == p for p in placed)
    assert across(list(after.values())) == 0


def test_where_layers_are_not_thin_fewer_bits_may_differ(make: Make) -> None:
    """Scenes of two photos each; some ten others are near to each by chance. To set aside what
    lies between would cost many of them."""
    rng = np.random.default_rng(5)
    start = scene(rng)
    scenes = [start ^ (rng.permutation(400) < 28) for _ in range(700)]
    photos = [
        photo(make, 2 * n + k, bits ^ (rng.permutation(400) < 10 * k))
        for n, bits in enumerate(scenes)
        for k in range(2)
    ]
    after, limits = tied(photos, NEAR, SAME)
    assert max(limits) < NEAR
    assert sum(limits.values()) > 1200
    assert sum(p.status == "ok" for p in after) > 0.9 * 1400
    assert max(groups(after).values()) <= 100
    pairs = zip(after[::2], after[1::2], strict=True)
    kept = [(a, b) for a, b in pairs if a.status == b.status == "ok"]
    assert len(kept) > 500
    assert all(one.group == other.group for one, other in kept)  # 10 bits apart
    assert across(after, min(limits)) == 0
    assert tie(anew(after), NEAR, SAME) == after


def test_what_was_cut_is_told(tmp_path: Path, make: Make) -> None:
    config = build({"classes": {"grizzly": ["g"], "teddy": ["t"]}}, where="test")
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            catalog.put_photos(pan(make, 400, 20))
        outcome = screen(catalog, config)
        aside = sum(p.status == "duplicate" for p in catalog.photos())
        first = catalog.photos()
        assert screen(catalog, config) == outcome
        assert catalog.photos() == first
    assert outcome["chains"] == {"photos": 400, "set_aside": aside, "limits": {NEAR: 400}}
    (line,) = [
        line
        for line in stage_text("screen", outcome | {"outcome": "done", "seconds": 1.0}).splitlines()
        if "chains" in line
    ]
    assert line.strip() == (
        "400 photos hung together in chains of near-copies, which were cut into groups within 45 of"
        f" 400 bits; {aside} photos between two groups set aside"
    )


def test_frames_of_a_chain_stay_in_their_order(make: Make) -> None:
    """Neighbours are in one group, but for those around what was set aside."""
    after = tie(pan(make, 1000, 20), NEAR, SAME)
    cuts = sum(one.group != other.group for one, other in pairwise(after))
    assert cuts <= 3 * len([p for p in after if p.status != "ok"])
