import io

import numpy as np
import pytest
from PIL import Image

from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Suspect
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder
from bear_classifier.plots import charts, gallery
from bear_classifier.report.html import Shown

RED, GREEN, BLUE = (220, 30, 30), (30, 160, 30), (30, 30, 220)


def plain(colour):
    return decoder.encode(Image.new("RGB", (120, 80), colour), "png")


def opened(figure):
    return Image.open(io.BytesIO(figure._repr_png_())).convert("RGB")


def tiles(png, columns, rows):
    """The colour in the middle of each tile's upper half, row by row; rows are equally high."""
    picture = opened(png)
    side, height = picture.width / columns, picture.height / rows
    return [
        picture.getpixel((int((k + 0.5) * side), int(r * height + 0.4 * side)))
        for r in range(rows)
        for k in range(columns)
    ]


def near(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 12


@pytest.fixture
def catalog(tmp_path, make):
    """Three usable photos of black (red), two of teddy (blue), and one of it set aside (green)."""
    catalog = Catalog(tmp_path / "data")
    rows = [make(n, label="black" if n < 3 else "teddy") for n in range(5)]
    rows.append(make(5, label="teddy", status="dropped"))
    for photo, colour in zip(rows, [RED] * 3 + [BLUE] * 2 + [GREEN], strict=True):
        catalog.file(photo).parent.mkdir(parents=True, exist_ok=True)
        catalog.file(photo).write_bytes(plain(colour))
    with catalog.transaction():
        catalog.put_photos(rows)
    return catalog


def test_a_grid_shows_the_pictures_in_their_order():
    png = gallery.photo_grid([plain(RED), plain(GREEN), plain(BLUE)], ["a", "b", "c"], columns=2)
    found = tiles(png, 2, 2)
    assert [near(*pair) for pair in zip(found, (RED, GREEN, BLUE), strict=False)] == [True] * 3
    assert near(found[3], (255, 255, 255))
    assert opened(png).width == charts.FIGURE_WIDTH * charts.DPI


def test_long_words_make_room_and_hide_no_picture():
    short = opened(gallery.photo_grid([plain(RED)] * 2, ["a", "b"], columns=2))
    png = gallery.photo_grid([plain(RED)] * 2, ["a", "a good many words " * 20], columns=2)
    long = opened(png)
    assert long.height > short.height + 50
    red = (np.abs(np.asarray(long).astype(int) - RED).max(axis=2) < 12).sum()
    assert red == pytest.approx(
        (np.abs(np.asarray(short).astype(int) - RED).max(2) < 12).sum(), rel=0.01
    )


def test_nothing_to_show_is_an_empty_picture():
    assert opened(gallery.photo_grid([], [])).width == charts.FIGURE_WIDTH * charts.DPI


def test_what_is_no_picture_says_so():
    with pytest.raises(PhotoError, match="NOT_AN_IMAGE"):
        gallery.photo_grid([b"<html>"], ["a"])


def test_classes_shows_usable_photos_of_each_and_the_same_again(catalog):
    found = gallery.class_samples(catalog, ["black", "teddy"], each=2)
    assert [near(*p) for p in zip(tiles(found, 2, 2), [RED, RED, BLUE, BLUE], strict=True)] == [
        True
    ] * 4
    again = gallery.class_samples(catalog, ["black", "teddy"], each=2)
    assert again._repr_png_() == found._repr_png_()


def test_a_class_with_few_photos_begins_its_own_row(catalog):
    found = tiles(gallery.class_samples(catalog, ["teddy", "black"], each=3), 3, 2)
    white = (255, 255, 255)
    wanted = [BLUE, BLUE, white, RED, RED, RED]
    assert [near(*pair) for pair in zip(found, wanted, strict=True)] == [True] * 6


def test_suspects_stand_with_the_worst_first(catalog):
    rows = catalog.photos("ok")
    found = [
        Suspect(p.sha256, p.origin, p.label, "train", "grizzly", 0.9, ["looks like grizzly (90%)"])
        for p in (rows[4], rows[0])
    ]
    shown = tiles(gallery.suspect_grid(catalog, found, columns=2), 2, 1)
    assert near(shown[0], BLUE)
    assert near(shown[1], RED)


def test_mistakes_stand_beside_their_maps():
    row = {"sha256": "a", "true": "black", "said": "teddy", "sure": 0.97}
    shown = {"a": Shown(plain(RED), plain(GREEN), plain(BLUE), 2.0, 7)}
    gone = {**row, "sha256": "gone"}
    found = tiles(gallery.mistake_grid([gone, row], shown), 6, 1)
    white = (255, 255, 255)
    wanted = [RED, GREEN, BLUE, white, white, white]
    assert [near(*pair) for pair in zip(found, wanted, strict=True)] == [True] * 6


def test_a_mistake_without_maps_is_shown_alone():
    row = {"sha256": "a", "true": "black", "said": "teddy", "sure": 0.97}
    found = tiles(gallery.mistake_grid([row], {"a": Shown(plain(RED))}), 6, 1)
    assert near(found[0], RED)
    assert near(found[1], (255, 255, 255))


def test_no_mistake_is_no_picture():
    assert opened(gallery.mistake_grid([], {}))
