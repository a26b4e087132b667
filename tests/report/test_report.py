import dataclasses
import hashlib
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from bundles import LABELS, tiny_config, trained_dataset
from PIL import Image
from scipy.stats import binomtest

from bear_classifier.cli.main import main
from bear_classifier.config.project_file import as_toml
from bear_classifier.dataset.catalog import Catalog
from bear_classifier.dataset.schema import Decision, Source
from bear_classifier.errors import DataError
from bear_classifier.judge import evaluate, rejection
from bear_classifier.learn import weight_interpolation
from bear_classifier.pipeline import Project
from bear_classifier.report import build, html, metrics
from bear_classifier.report import sentences as words
from bear_classifier.report.html import report_page
from bear_classifier.report.markdown import as_markdown
from bear_classifier.report.provenance import origins, photos_by_place
from bear_classifier.report.shortcut_learning import look, look_accuracy
from bear_classifier.runtime.files import write_atomic
from bear_classifier.runtime.templates import template
from bear_classifier.ship import bundle
from bear_classifier.ship.export import export
from bear_classifier.stats import calibration
from bear_classifier.stats.intervals import wilson
from bear_classifier.stats.metrics import softmax

EVIL = "<img src=x onerror=alert(1)>\"'&<script>alert(2)</script>"


# -- kernels


def test_reliability_by_hand():
    confidence = np.array([0.55, 0.95, 1.0, 0.91])
    rows = calibration.reliability_bins(
        confidence, np.array([True, True, False, True]), np.arange(4)
    )
    assert [(row["from"], row["to"], row["n"]) for row in rows] == [(0.5, 0.6, 1), (0.9, 1.0, 3)]
    assert rows[1]["confidence"] == pytest.approx((0.95 + 1.0 + 0.91) / 3)
    assert rows[1]["right"] == pytest.approx(2 / 3)
    low, high = rows[1]["interval"]
    assert low < 2 / 3 < high


def test_few_photos_look_badly_calibrated_by_chance_alone():
    few, many = (calibration.chance_gap(np.full(n, 0.8), seed=0) for n in (20, 2000))
    assert many < 0.03 < 0.1 < few
    assert (
        calibration.chance_gap(np.ones(50), seed=0) == 0.0
    )  # dead sure and right: nothing to draw
    assert calibration.chance_gap(np.array([]), seed=0) is None


def test_the_histogram_counts_every_photo_once():
    right = np.array([True, True, False, True])
    found = metrics.score_histogram(np.array([0.0, 1.0, 1.0, 4.0]), right, bins=4)
    assert found["edges"] == [0, 1, 2, 3, 4]
    assert (found["right"], found["wrong"]) == ([1, 1, 0, 1], [0, 1, 0, 0])


def test_pairs_by_hand():
    table = np.array([[5, 0, 1], [3, 7, 0], [0, 0, 9]])
    targets, said = (np.repeat(k.ravel(), table.ravel()) for k in np.indices(table.shape))
    found = metrics.confused_pairs(targets, said, np.arange(25), LABELS)
    assert [(p["true"], p["said"], p["n"], p["of"]) for p in found] == [
        ("grizzly", "black", 3, 10),
        ("black", "teddy", 1, 6),
    ]
    assert found[0]["share"] == 0.3


def test_equal_values_stay_in_one_third():
    assert metrics.thirds(np.arange(6.0)).tolist() == [0, 0, 1, 1, 2, 2]
    assert len(set(metrics.thirds(np.ones(9)).tolist())) == 1
    assert metrics.thirds(np.array([0.0, 0, 0, 0, 5, 9])).tolist() == [0, 0, 0, 0, 2, 2]


def errors(*rows):
    """rows: (photos, wrong) of parts that are all the photos. Their words."""
    wrong = np.concatenate([np.arange(n) < bad for n, bad in rows])
    place = np.repeat(np.arange(len(rows)), [n for n, _ in rows])
    parts = [("kind", str(k), place == k) for k in range(len(rows))]
    return [row["word"] for row in metrics.errors_by(parts, wrong, np.arange(len(wrong)))]


def test_a_part_is_worse_only_beyond_chance():
    none = "no difference can be claimed"
    assert errors((40, 20), (100, 3)) == ["more mistakes than elsewhere", "fewer than elsewhere"]
    assert errors((40, 3), (100, 7)) == [none] * 2
    assert errors((19, 19), (100, 0)) == ["too few to say"] * 2  # as many as FEW are needed


def test_many_parts_have_to_pass_a_harder_test():
    """8 of 30 against 5 of 60 is p = 0.03 alone: with ten parts such a one is to be expected."""
    inside = np.arange(90) < 30
    wrong = np.concatenate([np.arange(30) < 8, np.arange(60) < 5])
    alone = np.arange(90)
    assert metrics.errors_by([("k", "a", inside)], wrong, alone)[0]["word"].startswith("more")
    halves = [("k", str(n), np.arange(90) % 2 == n % 2) for n in range(9)]
    told = metrics.errors_by([("k", "a", inside), *halves], wrong, alone)[0]["word"]
    assert told.startswith("no ")


def test_ten_frames_of_one_scene_are_no_weakness():
    """10 of 40 dark photos are wrong and 2 of 100 others: clear, unless the 10 are one scene."""
    dark, groups = np.arange(140) < 40, np.arange(140)
    wrong = np.arange(140) < 10
    wrong[100:102] = True
    apart = metrics.errors_by([("brightness", "dark", dark)], wrong, groups)[0]
    assert apart["word"].startswith("more")
    groups[:10] = 0
    tied = metrics.errors_by([("brightness", "dark", dark)], wrong, groups)[0]
    assert tied["word"] == "no difference can be claimed"
    assert tied["interval"][1] - tied["interval"][0] > apart["interval"][1] - apart["interval"][0]


def test_the_border_is_the_outer_tenth():
    image = Image.new("RGB", (100, 50), (255, 0, 0))
    image.paste((0, 0, 0), (10, 5, 90, 45))
    grey, red, green, blue = look(image)
    assert (round(red), round(green), round(blue)) == (255, 0, 0)
    assert grey == pytest.approx(0.299 * 255 * 0.36, abs=1)


def data(n=120, seed=0):
    rng = np.random.default_rng(seed)
    return rng, np.arange(n) % 3, np.arange(n)


def test_a_shortcut_is_found_and_noise_is_none():
    rng, targets, groups = data()
    noise = rng.normal(size=(120, 1))
    given = look_accuracy(targets[:, None] + 0.3 * noise, targets, groups, seed=0)
    assert given["clear"] is True
    assert given["accuracy"] > 0.8
    assert given["interval"][0] < given["accuracy"] < given["interval"][1]
    for seed in range(5):
        nothing = look_accuracy(data(seed=seed)[0].normal(size=(120, 3)), targets, groups, seed)
        assert nothing["clear"] is False
        assert nothing["chance"] == pytest.approx(1 / 3)


def test_the_middle_class_is_told_by_brightness_too():
    """A straight line could not: black, white and grey."""
    rng, targets, groups = data()
    between = (np.abs(targets - 1) == 0).astype(float)[:, None]
    values = (1 - between) * rng.choice([-1, 1], size=(120, 1)) + rng.normal(0, 0.1, (120, 1))
    assert look_accuracy(values, (targets == 1).astype(int), groups, seed=0)["accuracy"] > 0.9


def test_copies_are_never_on_both_sides():
    """Thirty groups of four copies, each with a mark of its own, under classes by chance."""
    groups = np.repeat(np.arange(30), 4)
    targets = np.random.default_rng(1).permutation(np.arange(30) % 2)[groups]
    found = look_accuracy(np.eye(30)[groups], targets, groups, seed=0)
    assert found["accuracy"] < 0.75
    assert look_accuracy(np.eye(30)[groups], targets, np.arange(120), seed=0)["accuracy"] == 1.0


def test_a_look_that_never_fails_is_no_certainty():
    _, targets, groups = data(60)
    found = look_accuracy(6.0 * np.eye(3)[targets], targets, groups, seed=0)
    assert found["accuracy"] == 1.0
    below = (1 - wilson(20, 20)[0]) / 3**0.5  # three classes of 20, in quadrature
    assert found["interval"] == pytest.approx((1 - below, 1.0))


def test_too_few_photos_say_nothing():
    _, targets, groups = data(27)  # nine groups of each class
    assert look_accuracy(targets[:, None], targets, groups, seed=0)["clear"] is None
    assert look_accuracy(targets[:0, None], targets[:0], groups[:0], seed=0)["clear"] is None


# -- the data's story


def test_every_photo_has_one_place(make):
    rows = [
        make(1, label="black", split="train"),
        make(2, label="black"),
        make(3, label="black", status="dropped", split="test"),
        make(4, label="old", status="duplicate"),
    ]
    table = photos_by_place(rows, ["black", "teddy"])
    assert {place: n for place, n in table["black"].items() if n} == {
        "train": 1, "no split": 1, "dropped": 1,
    }  # fmt: skip
    assert sum(table["teddy"].values()) == 0
    assert table["old"]["duplicate"] == 1


def test_sites_and_folders_have_short_names(make, tmp_path):
    rows = [
        make(1, origin="https://img.a.example.com/1.jpg"),
        make(2, origin="https://cdn.net/2.jpg"),
        make(3, origin="/home/ann/photos/teddy/red/3.jpg"),
        make(4, origin="/home/ann/photos/black/4.jpg"),
    ]
    with Catalog(tmp_path) as catalog:
        with catalog.transaction():
            page_ = "https://zoo.org/bears"
            catalog.put_sources([Source(rows[1].origin, "grizzly", "web", page=page_)])
        found = origins(catalog, rows, "")
        assert list(found.values()) == ["example.com", "zoo.org", "teddy/red", "black"]
        assert list(origins(catalog, rows[3:], "").values()) == ["black"]


# -- words


def test_no_better_inside_the_noise():
    def said(share, *wrong, p=0.01, **unseen):
        chances = [[1.0 if i == j else p for j in range(3)] for i in range(3)]
        asked = {"valid": {"n": 50, "wrong": wrong, "p": chances}, **unseen}
        shares = [0.0, 0.25, 1.0]
        return words.kept_model({"share": share, "mixtures": {"shares": shares, **asked}})

    assert "fine-tuned network was kept" in said(1.0, 9, 5, 3)
    assert "chance" not in said(1.0, 9, 5, 3)
    assert said(1.0, 15, 12, 9, p=0.31).endswith("such differences may be chance.")
    assert "first model (a linear probe) was kept" in said(0.0, 3, 5, 3)
    apart = [[1.0, 0.001, 0.2], [0.001, 1.0, 0.04], [0.2, 0.04, 1.0]]
    between = said(0.25, 9, 5, 3, unseen={"n": 80, "wrong": [30, 10, 20], "p": apart})
    assert "lies 25% of the way" in between
    assert "of 80 photos of sources that it never saw the first model was wrong on 30" in between
    assert "the fine-tuned one on 20, what was kept on 10 (paired tests: p = 0.04" in between
    assert "not recorded" in words.kept_model({})


def test_fifteen_put_right_and_nine_newly_wrong_may_be_chance():
    """p = 0.31, though six photos fewer are wrong; a record without the test claims nothing."""
    targets = np.zeros(80, dtype=int)
    first, last = (np.tile([5.0, 0.0], (80, 1)).astype(np.float32) for _ in range(2))
    first[:20] = last[15:29] = [0, 5]  # 15 put right, 5 wrong in both, 9 newly wrong
    asked = weight_interpolation.interpolation_figures(
        [first, last], targets, np.arange(80).astype(str)
    )
    assert asked["wrong"] == [20, 14]
    assert asked["p"][0][1] == pytest.approx(binomtest(15, 24).pvalue)
    record = {"share": 1.0, "mixtures": {"shares": [0.0, 1.0], "valid": asked}}
    assert words.kept_model(record).endswith("such differences may be chance.")
    del asked["p"]
    assert words.kept_model(record).endswith("such differences may be chance.")


def test_one_photo_is_a_photo(made):
    test = {**made.found["test"], "n": 1, "wrong": 0, "error": 0.0, "error_interval": (0.0, 0.8)}
    found = {**made.found, "test": test, "mistakes": [], "test_decisions": 1}
    said = words.verdict(found)
    assert said.startswith("Of 1 photo that it had never seen, the model got none wrong: an error")
    assert words.mistakes_sentence(found).startswith(
        "No mistake on 1 test photo. The true error may"
    )
    every = " ".join([said, words.mistakes_sentence(found), *words.report_warnings(found)])
    assert "1 photos" not in every and "1 test photos" not in every
    assert "1 photo of the test split got another label or was left out" in every


def test_calibration_is_compared_with_chance():
    assert "more than chance explains (up to 2.0%)" in words.calibration(
        {"ece": 0.05, "chance_gap": 0.02}
    )
    assert "as it may be by chance" in words.calibration({"ece": 0.02, "chance_gap": 0.02})


def test_certainty_that_is_off_by_more_than_chance_is_a_warning():
    fine, off = {"ece": 0.02, "chance_gap": 0.02}, {"ece": 0.05, "chance_gap": 0.02}
    unknown = {"ece": None, "chance_gap": None}
    assert words.calibration_warnings(fine, None) == []
    assert words.calibration_warnings(unknown, fine) == []
    (one,) = words.calibration_warnings(off, None)
    assert one.startswith("On the test photos the certainty that it states is off by 5.0%")
    (other,) = words.calibration_warnings(fine, off)
    assert other.startswith("On photos of sources that it never saw the certainty")


def test_a_warning_of_certainty_is_in_the_report(made):
    off = {**made.found["test"], "ece": 0.5, "chance_gap": 0.1}
    told = words.report_warnings({**made.found, "test": off})
    assert any("certainty that it states is off by 50.0%" in sentence for sentence in told)


def test_other_sources_are_a_warning_only_where_they_are_clearly_harder(made):
    near = {"error": 0.05, "interval": (0.03, 0.08)}
    far = {"error": 0.2, "interval": (0.15, 0.26)}
    for left_out, p, expected in (
        (far, 0.01, 1),
        (far, 0.2, 0),
        ({**near, "error": 0.01}, 0.01, 0),
    ):
        other = {"random": near, "left_out": left_out, "paired": {"p": p}}
        told = words.report_warnings({**made.found, "elsewhere": other})
        assert sum("sources that it never saw" in sentence for sentence in told) == expected


def test_many_looks_at_the_test_side_are_a_warning(made):
    assert made.found["test_looks"] == 1
    assert not any("were judged" in sentence for sentence in words.report_warnings(made.found))
    told = words.report_warnings({**made.found, "test_looks": 3})
    assert any(sentence.startswith("3 models of this dataset were judged") for sentence in told)


def test_what_other_stages_leave_is_read_whatever_its_form():
    assert words.sentences("One.") == ["One."]
    assert words.sentences({"code": "fine", "sentence": "Two."}) == ["Two."]
    assert words.sentences(["a", {"sentence": "b"}, 3, None]) == ["a", "b"]
    assert words.sentences(None) == []


# -- charts


def test_a_span_shows_share_and_interval():
    span = template(html.__file__, "report_macros.html").module.span
    found = span(0.25, (0.1, 0.5), 0.5)
    assert 'x1="20.00%" x2="100.00%"' in found
    assert 'cx="50.00%"' in found
    assert "circle" not in span(None, None)
    assert 'class="mark" x1="50.00%"' in span(0.25, (0.1, 0.5), 0.5, 0.25)


# -- the whole


@dataclasses.dataclass
class Made:
    project: Project
    catalog: Catalog
    found: dict
    html: str


def leave(catalog, config):
    """Predictions and judgement by hand: of eight test photos two are wrong, one of them refused;
    nine train, seven valid."""
    photos = catalog.photos("ok")
    rows = [
        dataclasses.replace(p, split=("test", "train", "valid")[(i // 3 + i) % 3])
        for i, p in enumerate(photos)
    ]
    with catalog.transaction():
        catalog.put_photos(rows)
    targets = np.array([LABELS.index(p.label) for p in rows])
    logits = 6.0 * np.eye(3)[targets]
    test = [i for i, p in enumerate(rows) if p.split == "test"]
    sure, unsure = test[0], test[1]
    logits[sure] = 6.0 * np.eye(3)[(targets[sure] + 1) % 3]
    logits[unsure] = 0.3 * np.eye(3)[(targets[unsure] + 2) % 3]
    file = np.load(catalog.root / "evaluate" / "reference.npz")
    pooled = np.resize(file["features"].astype(np.float32), (len(rows), file["features"].shape[1]))
    buffer = io.BytesIO()
    names = np.array([p.sha256 for p in rows])
    np.savez(buffer, sha256=names, logits=logits, pooled=pooled, chosen=np.array("tuned"))
    write_atomic(catalog.root / "train" / "predictions.npz", buffer.getvalue())
    record = {
        **json.loads((catalog.root / "train" / "history.json").read_bytes()),
        "valid": 8,
        "valid_loss": {"tuned": 0.2, "probe": 0.3},
        "valid_wrong": {"tuned": 1, "probe": 2, "kept": 1},
        "share": 0.25,
        "mixtures": {
            "shares": [0.0, 0.25, 1.0],
            "valid": {"n": 8, "wrong": [2, 1, 1], "calibrated": [0.3, 0.2, 0.2]},
            "unseen": {"n": 16, "wrong": [5, 2, 3], "calibrated": [0.4, 0.3, 0.35], "sources": 4},
        },
        "lr": 3e-4,
        "lr_reason": "the LR finder's valley",
        "finder": {
            "rates": [1e-6 * 10 ** (n / 4) for n in range(20)],
            "losses": [1.0 - n / 40 if n < 14 else 2.0**n for n in range(20)],
            "smoothed": [1.0 - n / 50 if n < 15 else 2.0**n for n in range(20)],
        },
        "history": [
            {"epoch": 1, "train_loss": 0.9, "valid_loss": 0.8, "error": 0.25},
            {"epoch": 2, "train_loss": 0.5, "valid_loss": 0.4, "error": 0.125},
        ],
        "diagnosis": {"code": "fine", "sentence": "Rate and epochs fit."},
    }
    write_atomic(catalog.root / "train" / "history.json", json.dumps(record).encode())
    judged = json.loads((catalog.root / "evaluate" / "report.json").read_bytes())
    p = softmax(logits[test], judged["temperature"])
    verdict = np.where(p.max(1) < 0.5, "too_close", "ok")
    right = p.argmax(1) == targets[test]
    alone = np.arange(len(test))
    made = evaluate.evaluation_report(p, targets[test], config.labels, alone, verdict == "ok")
    judged["test"] = made
    judged["rejection"] |= {
        "test": rejection.refusals(verdict, right, alone), "least": -4.0, "close": 0.2,
        "left_out": {"teddy": rejection.false_accepts(np.array(["ok", "unlike_training"]),
        alone[:2])},
    }  # fmt: skip
    judged["membership"] = {"auc": 0.61, "interval": [0.52, 0.7], "members": 9, "others": 8}
    write_atomic(catalog.root / "evaluate" / "report.json", json.dumps(judged).encode())
    row = rejection.false_accepts(np.array(["ok", "unlike_training", "too_close"]), alone[:3])
    weights = (catalog.root / "train" / "weights.safetensors").read_bytes()
    strangers = {
        **row, "kinds": {"pets": row}, "folder": "not_bears",
        "weights": hashlib.sha256(weights).hexdigest(),
    }  # fmt: skip
    write_atomic(catalog.root / "evaluate" / "ood.json", json.dumps(strangers).encode())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    config = tiny_config(export={"parity": 1})
    catalog = trained_dataset(root / "data" / "tiny", config)
    leave(catalog, config)
    (root / "tiny.toml").write_text(as_toml(config), encoding="utf-8")
    project = Project(config, root / "data" / "tiny", root / "models" / "tiny")
    export(catalog, config, project.model)
    found, html, _ = build.make_report(catalog, project, project.model)
    return Made(project, catalog, found, html)


def test_ood_figures_of_another_model_are_not_shown(made):
    path = made.catalog.root / "evaluate" / "ood.json"
    before = path.read_bytes()
    path.write_text(json.dumps({**json.loads(before), "weights": "0" * 64}), encoding="utf-8")
    try:
        found, _, _ = build.make_report(made.catalog, made.project, made.project.model)
    finally:
        path.write_bytes(before)
    assert made.found["rejection"]["measured"]["n"] == 3
    assert found["rejection"]["measured"] is None


def run(made, out, *more):
    root = made.project.data.parents[1]
    return main(
        ["report", "--project", str(root / "tiny.toml"), "--data", str(root / "data"),
         "--models", str(root / "models"), "--out", str(out), *more]
    )  # fmt: skip


class Seen(HTMLParser):
    """Tags, attributes and text as a browser takes them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_figures(made):
    found = made.found
    assert (found["test"]["n"], found["test"]["now"], found["test"]["wrong"]) == (8, 8, 2)
    assert found["belongs"] == {"photos": True, "weights": True}
    assert [row["verdict"] for row in found["mistakes"]] == ["ok", "too_close"]  # the surest first
    assert found["mistakes"][0]["sure"] > 0.9
    assert sum(row["n"] for row in found["test"]["reliability"]) == 8
    shape = found["rejection"]["familiarity"]
    assert sum(shape["right"]) + sum(shape["wrong"]) == 16  # valid and test
    assert sum(shape["wrong"]) == 2
    assert {row["word"] for row in found["slices"]} == {"too few to say"}
    assert [row["clear"] for row in found["shortcuts"]] == [None] * 4
    json.dumps(found)


def test_the_verdict_is_one_sentence_with_its_interval(made):
    said = made.found["verdict"]
    assert said.startswith(
        "Of 8 photos that it had never seen, the model got 2 wrong: an error of 25.0% (7.1%"
    )
    assert "it answers 87.5% (52.9% to 97.8%) of them and refuses pictures unlike" in said
    assert said.count(".") == 1 + sum(c == "." for c in said[:-1])
    assert said.endswith(".")


def test_the_page_holds_what_it_should(made):
    seen = Seen(made.html)
    for sentence in (
        made.found["verdict"],
        "8 test photos cannot measure the error well",
        "2 of 8 test photos got a wrong answer; here are all of them.",
        "Rate and epochs fit.",
        "What was kept lies 25% of the way from the first model to the fine-tuned one",
        "such differences may be chance",
        "25% were taken: of those whose log loss, calibrated, is within one standard error of",
        "sources never seen",
        "Of pictures of none of the classes in not_bears it answers 1 of 3 (33.3% (6.1% to",
        "1 of 3 pets",
        "How the learning rate was found",
        "The learning rate was 0.0003: the LR finder's valley.",
        "Not given as an answer: too close to call.",
        "teddy, had it never been seen",
        "picks the former with a chance of 0.61 (95 % interval 0.52 to 0.70, 9 and 8 photos)",
        "learn.arch",
        "onnxruntime",
    ):
        assert sentence in seen.text, sentence
    for label in LABELS:
        assert label in seen.text
    assert seen.tags.count("img") == 6  # two mistakes, each with two maps
    names = [value for tag, name, value in seen.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(set(names)) == 6  # charts


def test_the_page_needs_nothing_else(made):
    seen = Seen(made.html)
    assert set(seen.tags) & {"script", "link", "iframe", "object", "base", "form"} == set()
    sources = [value for tag, name, value in seen.attributes if name in ("src", "href")]
    assert all(value.startswith(("data:image/", "#")) for value in sources)
    assert "http" not in made.html.replace("http-equiv", "")
    assert "url(" not in made.html
    assert "default-src 'none'" in made.html


def test_the_pictures_are_small_jpegs_of_what_the_model_saw(made):
    shown = build.mistake_pictures(made.catalog, made.found, bundle.load(made.project.model))
    first = shown[made.found["mistakes"][0]["sha256"]]
    for data_ in (first.photo, first.predicted, first.true):
        assert data_[:2] == b"\xff\xd8"
        assert Image.open(io.BytesIO(data_)).size == (64, 64)
    assert first.predicted != first.true
    assert first.cells == 3
    assert first.strongest > 0


def hostile(found):
    """The same with a text that would be HTML wherever a text of somebody stands."""
    evil = json.loads(json.dumps(found).replace('"teddy"', json.dumps(EVIL)))
    evil["name"] = evil["verdict"] = EVIL
    for row in evil["mistakes"]:
        row["origin"] = row["site"] = EVIL
    for row in evil["slices"]:
        row["name"] = row["by"] = EVIL
    evil["data"]["sites"] = [{"site": EVIL, "n": 1, "classes": [EVIL]}]
    evil["data"]["unusable"] = evil["data"]["failed"] = evil["data"]["kinds"] = {EVIL: 3}
    evil["data"]["decisions"] = {EVIL: 1}
    evil["training"] |= {"lr_reason": EVIL, "notes": [EVIL], "diagnosis": EVIL}
    evil["settings"]["search"]["source"] = evil["versions"]["numpy"] = EVIL
    evil["model"]["architecture"] = EVIL
    evil["curve"] = {"verdict": EVIL}
    evil["warnings"] = [*words.report_warnings(evil), EVIL]
    return evil


def test_texts_of_strangers_stay_texts(made):
    evil = hostile(made.found)
    assert EVIL in evil["labels"]
    shown = build.mistake_pictures(made.catalog, made.found, bundle.load(made.project.model))
    seen = Seen(report_page(evil, shown))
    plain = Seen(made.html)
    assert "script" not in seen.tags
    assert seen.tags.count("img") == plain.tags.count("img")
    assert [name for _, name, _ in seen.attributes if name.startswith("on")] == []
    assert seen.text.count(EVIL) > 20
    assert "<img" not in as_markdown(evil)
    assert "<script" not in as_markdown(evil)


def test_a_model_of_other_photos_is_told(made, tmp_path):
    about = bundle.load(made.project.model).about
    strange = {**about, "data": {**about["data"], "fingerprint": "0" * 64}}
    with Catalog(made.project.data) as catalog:
        from bear_classifier.report.facts import belongs, report_facts

        found = report_facts(catalog, made.project.config, strange)
        assert belongs(catalog, about)["photos"] is True
    assert found["belongs"] == {"photos": False, "weights": True}
    assert found["warnings"][0].startswith("The model and the dataset do not belong together")
    assert found["warnings"][0] in Seen(report_page(found, {})).text


def test_another_model_explains_nothing(made):
    found = {**made.found, "belongs": {"photos": True, "weights": False}}
    assert words.report_warnings(found)[0].startswith("This bundle is not the last training")
    shown = build.mistake_pictures(made.catalog, found, bundle.load(made.project.model))
    assert len(shown) == 2
    assert {(one.predicted, one.true) for one in shown.values()} == {(None, None)}
    assert Seen(report_page(found, shown)).tags.count("img") == 2


def test_the_command_writes_three_files(made, tmp_path, capsys):
    out = tmp_path / "here" / "page.html"
    assert run(made, out) == 0
    said = capsys.readouterr().out
    assert made.found["verdict"] in said
    assert "warning: 8 test photos cannot measure the error well" in said
    assert sorted(p.name for p in out.parent.iterdir()) == ["page.html", "page.json", "page.md"]
    assert json.loads((out.parent / "page.json").read_text(encoding="utf-8"))["test"]["wrong"] == 2
    words_ = (out.parent / "page.md").read_text(encoding="utf-8")
    assert words_.startswith("# tiny, version 1\n\nOf 8 photos")
    assert "| grizzly |" in words_
    assert run(made, out, "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == LABELS
    assert run(made, tmp_path / "page.json") == 2
    assert "BAD_SETTING" in capsys.readouterr().err


def test_the_curve_is_shown_where_there_is_one(made):
    folder = made.project.data / "curve"
    folder.mkdir()
    try:
        (folder / "curve.json").write_text(
            json.dumps({"verdict": "More would help."}), encoding="utf-8"
        )
        (folder / "curve.png").write_bytes(b"<html>")
        assert "More would help." in Seen(remade(made)).text
        assert "image/png" not in remade(made)
        Image.new("RGB", (4, 4)).save(folder / "curve.png")
        assert "data:image/png;base64," in remade(made)
        (folder / "curve.json").write_text("[1]", encoding="utf-8")
        assert "Would more photos help?" in remade(made)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def remade(made):
    return build.make_report(made.catalog, made.project, made.project.model)[1]


def test_what_is_missing_names_the_next_step(made, tmp_path):
    project = dataclasses.replace(made.project, data=tmp_path / "none")
    missing = pytest.raises(DataError, match="NOT_TRAINED.*bears run")
    with Catalog(tmp_path / "none") as catalog, missing:
        build.make_report(catalog, project, project.model)
    for name, code in (
        ("train/history.json", "NOT_TRAINED"),
        ("train/predictions.npz", "NOT_TRAINED"),
        ("evaluate/report.json", "NOT_JUDGED"),
        ("evaluate/reference.npz", "NOT_JUDGED"),
    ):
        path = made.project.data / name
        content = path.read_bytes()
        try:
            path.write_bytes(b"half")
            with pytest.raises(DataError, match=code):
                remade(made)
        finally:
            path.write_bytes(content)


def test_decisions_since_then_are_told(tmp_path):
    """Photos of the test split that were dropped after the model was judged."""
    config = tiny_config(export={"parity": 1})
    catalog = trained_dataset(tmp_path / "data", config)
    leave(catalog, config)
    project = Project(config, tmp_path / "data", tmp_path / "models" / "tiny")
    export(catalog, config, project.model)
    from bear_classifier.dataset.decisions import decide

    gone = next(p for p in catalog.photos("ok") if p.split == "test")
    decide(catalog, LABELS, [Decision(gone.sha256, "drop")], "ann", "later")
    found, html, _ = build.make_report(catalog, project, project.model)
    assert found["belongs"] == {"photos": False, "weights": True}
    assert "has 7 usable photos now and had 8" in Seen(html).text
    assert found["data"]["decisions"] == {"drop": 1}


def test_a_judgement_of_before_membership_was_measured_is_shown_too(made):
    path = made.catalog.root / "evaluate" / "report.json"
    before = path.read_bytes()
    old = {k: v for k, v in json.loads(before).items() if k != "membership"}
    path.write_text(json.dumps(old), encoding="utf-8")
    try:
        found, html, _ = build.make_report(made.catalog, made.project, made.project.model)
    finally:
        path.write_bytes(before)
    said = "Whether it gives away which photos it was trained on was not measured."
    assert said in Seen(html).text
    assert said in as_markdown(found)
    assert "chance of 0.61" in as_markdown(made.found)
