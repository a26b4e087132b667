import csv
import dataclasses

import pytest

from bear_classifier.dataset.schema import Decision, Suspect
from bear_classifier.errors import DataError
from bear_classifier.judge.decision_table import COLUMNS, automatic, read_decisions, write_suspects

SHA = "0123456789abcdef" * 4


def suspect(number=0, split="train", score=0.9, origin="", **scores):
    usual = {"label": 0.0, "outlier": 0.0, "duplicate": 0.0, "quality": 0.0}
    return Suspect(
        sha256=f"{number:064x}",
        origin=origin or f"/photos/{number}.png",
        label="black",
        split=split,
        suggested="teddy",
        score=score,
        reasons=["very dark", "looks like teddy (97%)"],
        scores=usual | scores,
        probabilities={"black": 0.03, "teddy": 0.97},
        neighbours=[SHA],
    )


# -- what is beyond doubt --------------------------------------------------------------------------


def test_what_does_not_belong_here_is_dropped():
    (only,) = automatic([suspect(3, quality=0.9, score=0.95)], {}, 0.7)
    assert only == Decision(
        f"{3:064x}", "drop", why="very dark; looks like teddy (97%)", score=0.95
    )


def test_a_doubtful_label_alone_is_never_enough():
    found = [suspect(1, label=1.0, score=1.0), suspect(2, label=0.99, quality=0.69, score=0.997)]
    assert automatic(found, {}, 0.7) == []


def test_the_test_side_and_what_was_decided_on_stay():
    found = [
        suspect(1, split="test", outlier=1.0),
        suspect(2, outlier=1.0),
        suspect(3, outlier=1.0, split="valid"),
        suspect(4, outlier=1.0, split=""),
    ]
    dropped = automatic(found, {f"{2:064x}": "any event"}, 0.7)
    assert [d.sha256 for d in dropped] == [f"{3:064x}", f"{4:064x}"]


@pytest.mark.parametrize(
    ("scores", "precision", "dropped"),
    [
        ({"duplicate": 0.75}, 0.75, True),  # the threshold is enough
        ({"duplicate": 0.75}, 0.7500001, False),
        ({"duplicate": 0.5, "outlier": 0.5}, 0.75, True),  # two halves are three quarters
        ({"duplicate": 0.5, "outlier": 0.5, "label": 1.0}, 0.76, False),
        ({"outlier": 1.0}, 1.0, True),
        ({"outlier": 0.9, "quality": 0.9}, 1.0, False),
    ],
)
def test_the_threshold(scores, precision, dropped):
    assert bool(automatic([suspect(**scores)], {}, precision)) == dropped


# -- the table -------------------------------------------------------------------------------------


def fill(path, *answers, **form):
    """Write actions and new labels into the rows, as a person does with a spreadsheet."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, (action, label) in zip(rows, answers, strict=True):
        row |= {"action": action, "new_label": label}
    with path.open("w", encoding=form.pop("encoding", "utf-8"), newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, **form)
        writer.writeheader()
        writer.writerows(rows)


ORIGINS = ["=HYPERLINK(1)", "a;b\tc.png", "/düster/ß.png", "-1+1", "/photos/x,y.png"]
EXPECTED = [
    Decision(f"{0:064x}", "drop", score=0.913, based=41),
    Decision(f"{1:064x}", "relabel", "teddy", score=0.913, based=41),
    Decision(f"{2:064x}", "keep", score=0.913, based=41),
    Decision(f"{4:064x}", "restore", score=0.913, based=41),
]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"encoding": "utf-8-sig"},
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"delimiter": ";", "quoting": csv.QUOTE_ALL, "encoding": "utf-8-sig"},
        {"lineterminator": "\n"},
        {"lineterminator": "\r"},
        {"delimiter": "\t", "encoding": "utf-16"},  # Excel's "Unicode Text"
    ],
)
def test_a_table_that_was_filled_in(tmp_path, form):
    path = tmp_path / "suspects.csv"
    write_suspects(path, [suspect(i, score=0.91309, origin=o) for i, o in enumerate(ORIGINS)], 41)
    assert read_decisions(path) == []  # nothing filled in yet
    fill(path, ("drop", ""), (" Relabel ", " teddy "), ("KEEP", ""), ("", "teddy"), ("restore", ""),
         **form)  # fmt: skip
    assert read_decisions(path) == EXPECTED


def test_excel_knows_the_encoding_and_numbers_stay_numbers(tmp_path):
    write_suspects(tmp_path / "s.csv", [suspect(7, origin="/düster/ß.png", score=0.5)], 12)
    data = (tmp_path / "s.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfsha256,origin,")
    assert b",0.500," in data
    assert b",12,," in data


@pytest.mark.parametrize("label", ["=first", "-1", "+second", "@home", "\uff1dthird", "'=fourth"])
def test_a_class_that_looks_like_a_formula_comes_back(tmp_path, label):
    """Excel keeps the quote that makes a cell harmless, and copies it into another cell."""
    path = tmp_path / "s.csv"
    one = dataclasses.replace(suspect(7), suggested=label)
    write_suspects(path, [one], 12)
    with path.open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["suggested"] == f"'{label}"
    for written in (row["suggested"], label) if label[0] != "'" else (row["suggested"],):
        fill(path, ("relabel", written), delimiter=";", encoding="utf-8-sig")
        assert [d.label for d in read_decisions(path)] == [label]
        write_suspects(path, [one], 12)


def test_other_quotes_are_part_of_a_name(tmp_path):
    (tmp_path / "d.csv").write_text(
        f"sha256,action,new_label\n'{SHA},relabel,'t Hooft\n", encoding="utf-8"
    )
    assert read_decisions(tmp_path / "d.csv") == [Decision(SHA, "relabel", "'t Hooft")]


def test_what_is_written(tmp_path):
    write_suspects(tmp_path / "s.csv", [suspect(7, origin="=1+1", score=0.5)], 12)
    with (tmp_path / "s.csv").open(encoding="utf-8-sig", newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert row == [f"{7:064x}", "'=1+1", "black", "teddy", "0.500",
                   "very dark; looks like teddy (97%)", "train", "12", "", ""]  # fmt: skip


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_quotes_in_a_cell_move_nothing(tmp_path, quoting):
    path = tmp_path / "suspects.csv"
    write_suspects(path, [suspect(origin='/my "best", drop/a.png', score=0.913)], 41)
    fill(path, ("drop", ""), quoting=quoting)
    assert read_decisions(path) == [EXPECTED[0]]


@pytest.mark.parametrize("text", [f"sha256,action\n{SHA},drop\n", f"action;sha256\ndrop;{SHA}"])
def test_two_columns_are_enough(tmp_path, text):
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    assert read_decisions(tmp_path / "d.csv") == [Decision(SHA, "drop")]


def test_a_short_row_and_capital_digits(tmp_path):
    (tmp_path / "d.csv").write_text(
        f"sha256,action,new_label,score\n{SHA}\n{SHA.upper()},keep\n", encoding="utf-8"
    )
    assert read_decisions(tmp_path / "d.csv") == [Decision(SHA, "keep")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "sha256 and action, and has nothing; to write one, run: bears clean --list --csv"),
        ("hash,action\n1,drop\n", "needs the columns sha256 and action, and has hash, action"),
        ("sha256\n1\n", "and has sha256"),
        (f"sha256,action\n{SHA},keep\n{SHA},burn\n",
         "d.csv, line 3: 'burn' is no action; one of keep, relabel, drop, restore"),
        (f'sha256,origin,action\n{SHA},"two\nlines",keep\n{SHA},a,undo\n', "line 4: 'undo'"),
        (f"sha256,action\n{SHA},{'x' * 90}\n", f"'{'x' * 60}' is no action"),
        (f"sha256,action,new_label\n\n{SHA},relabel,  \n",
         "line 3: relabel needs the class in the column new_label"),
        (f"sha256,action\n{SHA},relabel\n", "line 2: relabel needs the class"),
        (f"sha256,action,revision\n{SHA},,x\n{SHA},drop,4.5\n", "line 3: '4.5' is no revision"),
        (f"sha256,action\n{SHA},{'x' * 200_000}\n", "d.csv, line 1: field larger than field limit"),
        ("sha256,action\n\xff", "cannot be read: it is not UTF-8; save it as CSV UTF-8"),
        (None, "cannot be read: "),
    ],
)  # fmt: skip
def test_tables_that_cannot_be_used(tmp_path, text, words):
    if text is not None:
        (tmp_path / "d.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        read_decisions(tmp_path / "d.csv")
    assert caught.value.code == "BAD_TABLE"
    assert str(tmp_path / "d.csv") in caught.value.sentence
    assert words in caught.value.sentence
