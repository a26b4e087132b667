"""Photos as an iPhone stores them: upright, walked before they are decoded, and that in a process
which a bad one cannot leave."""

from __future__ import annotations

import base64
import io
import multiprocessing
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import corpus
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from waiting import STUCK

from bear_classifier.collect.rights.attribution import attribution
from bear_classifier.config.project_file import build
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Photo, Source
from bear_classifier.errors import PhotoError
from bear_classifier.images import decoder, formats, heic, heic_worker, heif
from bear_classifier.plots import gallery
from bear_classifier.runtime import process_worker
from bear_classifier.web.thumbnails import ThumbnailCache

SIZE = (96, 64)


def encoded(*images: Image.Image, **how) -> bytes:
    file = pillow_heif.from_pillow(images[0])
    for image in images[1:]:
        file.add_from_pillow(image)
    out = io.BytesIO()
    file.save(out, **({"quality": 95} | how))
    return out.getvalue()


@cache
def plain() -> bytes:
    return encoded(corpus.drawn(*SIZE))


@cache
def turned(tag: int = 6) -> bytes:
    """By the container and by EXIF."""
    return encoded(corpus.drawn(*SIZE), exif=corpus.exif(tag))


def refusal(data: bytes) -> PhotoError:
    with pytest.raises(PhotoError) as caught:
        decoder.decode_with_size(data)
    return caught.value


def apart(image: Image.Image, other: Image.Image) -> float:
    assert image.size == other.size
    return float(np.abs(np.asarray(image, float) - np.asarray(other.convert("RGB"), float)).mean())


def test_it_is_known_by_content() -> None:
    assert formats.format_of(plain()) == "heic"
    assert formats.inspect(plain()).size == SIZE


@pytest.mark.parametrize("tag", range(1, 9))
def test_the_turns_of_container_and_exif_are_one(tag: int) -> None:
    upright = corpus.drawn(*SIZE)
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    back |= {n: turn for n, turn in decoder._TURNS.items() if n not in back}
    stored = upright.transpose(back[tag]) if tag > 1 else upright
    image, size = decoder.decode_with_size(encoded(stored, exif=corpus.exif(tag)))
    assert size == SIZE
    assert apart(image, upright) < 10
    assert image.info == {}


def test_exif_alone_turns_nothing() -> None:
    """As the standard of the format wants it, and as with AVIF."""
    data = turned().replace(b"irot", b"free")
    assert b"Exif" in data
    assert decoder.decode_with_size(data)[1] == SIZE
    assert decoder.decode_with_size(turned())[1] == SIZE[::-1]


def test_what_no_pixel_depends_on_never_reaches_the_decoder() -> None:
    whole = encoded(corpus.drawn(*SIZE), exif=corpus.exif(1), xmp=b"<x:xmpmeta/>")
    assert b"Exif" in whole
    assert b"mime" in whole
    found = formats.inspect(whole)
    assert b"infe\x02\0\0\0\0\x02\0\0Exif" not in found.pixels
    opened = pillow_heif.open_heif(io.BytesIO(found.pixels))
    assert not opened.info.get("exif")
    assert not opened.info.get("xmp")


def test_kinds_of_photos() -> None:
    photo = corpus.drawn(*SIZE)
    clear = photo.copy()
    clear.putalpha(Image.new("L", SIZE, 0))
    assert apart(decoder.decode(encoded(clear)), Image.new("RGB", SIZE, "white")) < 3
    assert apart(decoder.decode(encoded(photo.convert("L"))), photo.convert("L")) < 10
    two = encoded(photo, corpus.drawn(200, 120, 1), primary_index=0)
    assert apart(decoder.decode(two), photo) < 10
    wide = np.asarray(photo).astype("<u2") * 257
    ten = pillow_heif.from_bytes("RGB;16", SIZE, wide.tobytes())
    out = io.BytesIO()
    ten.save(out, quality=95)
    assert b"\x03\x0a\x0a\x0a" in out.getvalue()  # pixi: three channels of ten bits
    assert apart(decoder.decode(out.getvalue()), photo) < 10
    swapped = encoded(photo, icc_profile=corpus.profile(swapped=True))
    red, green, blue = photo.split()
    assert apart(decoder.decode(swapped), Image.merge("RGB", (blue, green, red))) < 12


def test_less_is_decoded_where_less_is_enough() -> None:
    data = encoded(corpus.drawn(256, 192), quality=50)
    image, size = decoder.decode_with_size(data, least=40)
    assert (image.size, size) == ((64, 48), (256, 192))
    assert decoder.decode_with_size(data)[0].size == (256, 192)


@pytest.mark.parametrize("data", [plain, turned], ids=["plain", "turned"])
def test_every_cut_is_noticed_without_decoding(data) -> None:
    whole = data()
    for at in [*range(24, len(whole), 7), len(whole) - 1]:
        with pytest.raises(PhotoError) as caught:
            formats.inspect(whole[:at])
        assert caught.value.code == "TRUNCATED", at


def test_a_cut_of_data_without_an_end_is_noticed() -> None:
    """A box of length 0 reaches to the end, wherever that is: the items tell what was there."""
    start = plain().index(b"mdat") - 4
    open_end = plain()[:start] + bytes(4) + plain()[start + 4 :]
    assert decoder.decode_with_size(open_end)[1] == SIZE
    assert refusal(open_end[:-50]).code == "TRUNCATED"


def bomb(kind: str) -> bytes:
    data, sizes = plain(), {"pixels": (30_000, 30_000), "side": (20_000, 600), "small": (8, 8)}
    if kind in sizes:
        return data.replace(struct.pack(">II", *SIZE), struct.pack(">II", *sizes[kind]))
    if kind == "boxes":
        return data[:28] + b"\0\0\0\x08free" * 6_000 + data[28:]
    if kind == "loop":  # a box of no length of its own
        return data[:28] + b"\0\0\0\x04free" + data[28:]
    assert kind == "sequence"
    return b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc" + b"\0\0\0\x08moov" + b"\0\0\0\x08mdat"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        *(("pixels", "TOO_MANY_PIXELS"), ("side", "TOO_MANY_PIXELS"), ("small", "TOO_SMALL")),
        *(("boxes", "TOO_COMPLEX"), ("loop", "DAMAGED"), ("sequence", "UNSUPPORTED_FORMAT")),
    ],
)
def test_bombs_are_refused_before_they_are_decoded(kind: str, code: str, monkeypatch) -> None:
    monkeypatch.setattr(heic, "decode", lambda *_: pytest.fail("it was decoded"))
    assert refusal(bomb(kind)).code == code


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def made(items: int, extents: list[tuple[int, int]], kind: bytes = b"hvc1", idat=b"") -> bytes:
    """A file put together by hand: so many items, the first one in these pieces."""
    infe = b"".join(
        box(b"infe", struct.pack(">BxxxHH4sB", 2, 1 + n, 0, kind, 0)) for n in range(items)
    )
    places = b"".join(struct.pack(">II", *extent) for extent in extents)
    where = struct.pack(">HHHH", 1, 1, 0, len(extents)) + places
    if idat:
        where = struct.pack(">HHHHH", 1, 1, 1, 0, len(extents)) + places
    meta = bytes(4) + box(b"pitm", struct.pack(">IH", 0, 1))
    meta += box(b"iinf", struct.pack(">IH", 0, items) + infe)
    meta += box(b"iloc", struct.pack(">BxxxBB", int(bool(idat)), 0x44, 0) + where)
    meta += box(b"iprp", box(b"ipco", box(b"ispe", struct.pack(">III", 0, 64, 64))))
    meta += box(b"idat", idat) if idat else b""
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    return head + box(b"meta", meta) + box(b"mdat", bytes(1000))


def test_the_walk_counts_its_steps() -> None:
    assert heif.walk(made(2, [(0, 100)]))[0] == (64, 64)
    for data, code in (
        (made(heif.MAX_ITEMS + 1, [(0, 100)]), "TOO_COMPLEX"),
        (made(2, [(0, 1)] * (heif.MAX_EXTENTS + 1)), "TOO_COMPLEX"),
        (made(2, [(0, 1000)] * 2000), "TOO_COMPLEX"),  # the same bytes over and over
        (made(2, [(0, 10**6)]), "TRUNCATED"),
        (made(2, [(0, 100)], b"av01"), "UNSUPPORTED_FORMAT"),
        (made(2, [(0, 100)], b"j\xff\n\x1b"), "UNSUPPORTED_FORMAT"),
    ):
        error = refusal(data)
        assert error.code == code
        assert error.sentence.isprintable()
    grid = struct.pack(">BBBBHH", 0, 0, 0, 0, 20_000, 20_000)
    assert refusal(made(1, [(0, 8)], b"grid", grid)).code == "TOO_MANY_PIXELS"


def survive(count: int, seed: int) -> None:
    dice = random.Random(seed)
    codes = set()
    for _ in range(count):
        data = corpus.mutated(dice.choice((plain(), turned())), dice)
        try:
            image = decoder.decode(data)
            assert image.mode == "RGB"
        except PhotoError as exc:
            codes.add(exc.code)
            assert exc.sentence.isprintable()
    assert {"TRUNCATED", "DAMAGED"} <= codes


def test_mutations() -> None:
    survive(150, 1)


@pytest.mark.long
def test_many_mutations() -> None:
    survive(3000, 2)


# the process


def test_the_process_that_decodes_is_kept_and_replaced() -> None:
    decoder.decode(plain())
    child = heic._pool().idle[-1]
    decoder.decode(plain())
    assert heic._pool().idle[-1] is child
    child.kill()
    child.wait()
    assert decoder.decode_with_size(plain())[1] == SIZE
    assert heic._pool().idle[-1] is not child


class _Played(heic._Pool):
    """Processes that do something else with a photo."""

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code

    def take(self):
        words = [sys.executable, "-c", self.code]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_photo_that_crashes_or_hangs_is_a_row(monkeypatch) -> None:
    monkeypatch.setattr(heic, "_pool", lambda: _Played("import os; os.abort()"))
    assert str(refusal(plain())) == "DAMAGED: the decoder crashes on it (exit code -6)"
    monkeypatch.setattr(heic, "_pool", lambda: _Played("import time; time.sleep(60)"))
    monkeypatch.setattr(heic, "_SECONDS", 0.3)
    assert refusal(plain()).code == "TOO_COMPLEX"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are of Linux")
def test_the_process_has_a_limit_of_memory() -> None:
    decoder.decode(plain())
    child = heic._pool().idle[-1]
    limits = Path(f"/proc/{child.pid}/limits").read_text(encoding="utf-8")
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert int(line.split()[3]) == process_worker.WORKER_MEMORY


def _in_fork(answers) -> None:
    answers.put((decoder.decode_with_size(plain())[1], heic._pool().owner == os.getpid()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_has_processes_of_its_own() -> None:
    """As workers of a data loader: two that shared pipes would take each other's pixels."""
    decoder.decode(plain())
    before = list(heic._pool().idle)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_fork, args=(answers,))
    child.start()
    assert answers.get(timeout=STUCK) == (SIZE, True)
    child.join()
    assert heic._pool().idle == before


# who reads it, and with what


@pytest.mark.parametrize(
    ("libheif", "libde265", "named"),
    [
        ("1.23.6", "libde265 HEVC decoder, version 1.1.3", ""),
        ("1.23.4", "libde265 HEVC decoder, version 1.1.3", ""),
        ("1.24.0", "libde265 HEVC decoder, version 2.0.0", ""),
        ("1.23.3", "libde265 HEVC decoder, version 1.1.3", "libheif 1.23.3"),
        ("1.9.9", "libde265 HEVC decoder, version 1.1.3", "libheif 1.9.9"),
        ("1.23.6", "libde265 HEVC decoder, version 1.1.2", "libde265 1.1.2"),
        ("1.23.6", "libde265 HEVC decoder", "libde265 of an unknown version"),
        ("1.23.6", None, ""),
    ],
)
def test_libraries_with_known_faults_are_named(libheif, libde265, named) -> None:
    decoders = {} if libde265 is None else {"libde265": libde265}
    assert heic_worker.unsafe({"libheif": libheif, "decoders": decoders}) == named


def test_what_is_installed_here_is_safe() -> None:
    assert heic_worker.refusal() is None


def test_an_unsafe_library_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(pillow_heif, "libheif_info", lambda: {"libheif": "1.21.2", "decoders": {}})
    error = heic_worker.refusal()
    assert error is not None
    assert error.code == "UNSUPPORTED_FORMAT"
    assert "libheif 1.21.2" in error.sentence
    assert 'pip install "bear-classifier[heic]"' in error.sentence


def test_without_the_extra_the_sentence_names_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    advice = 'run: pip install "bear-classifier[heic]", or save as JPEG'
    missing = f"UNSUPPORTED_FORMAT: HEIC photos need another package; {advice}"
    assert str(heic_worker.refusal()) == missing


def test_visitors_and_the_web_are_refused() -> None:
    with pytest.raises(PhotoError, match="UNSUPPORTED_FORMAT: HEIC photos are not supported; save"):
        decoder.format_of_stranger(plain())
    assert decoder.format_of_stranger(corpus.good()["avif"]) == "avif"


# pages


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """Two photos as they are stored: a HEIC, and one whose file is damaged."""
    with Catalog(tmp_path / "data") as made:
        for number, data in enumerate((turned(), plain()[:300])):
            origin = f"/photos/black/{number}.heic"
            photo = Photo(
                f"{number:064x}", origin, "black", "heic", *SIZE, len(data), "0" * 100, 9.0
            )
            made.file(photo).parent.mkdir(parents=True, exist_ok=True)
            made.file(photo).write_bytes(data)
            with made.transaction():
                made.put_photos([photo])
                made.put_sources([Source(photo.origin, "black", "folder", sha256=photo.sha256)])
        yield made


def test_the_page_of_credits_shows_what_browsers_can_show(catalog: Catalog) -> None:
    attribution(catalog, build({"classes": {"black": ["x"], "teddy": ["y"]}}, where="test"))
    page = (catalog.root / "attribution.html").read_text(encoding="utf-8")
    shown = re.findall(r'<img src="(.*?)"', page)
    assert [address.partition(",")[0] for address in shown] == ["data:image/jpeg;base64"]
    with Image.open(io.BytesIO(base64.b64decode(shown[0].partition(",")[2]))) as image:
        assert (image.format, image.size) == ("JPEG", (64, 96))  # upright
    assert "This photo cannot be shown" in page
    table = (catalog.root / "attribution.csv").read_text(encoding="utf-8-sig")
    assert f"{0:064x}.heic" in table


def test_the_pages_of_the_review_and_the_gallery_show_it(catalog: Catalog) -> None:
    photo = catalog.photos()[0]
    with Image.open(io.BytesIO(ThumbnailCache().get(catalog.file(photo), 400))) as image:
        assert (image.format, image.size) == ("JPEG", (64, 96))
    figure = gallery.photo_grid([catalog.file(photo)], ["a"])
    assert Image.open(io.BytesIO(figure._repr_png_())).format == "PNG"
