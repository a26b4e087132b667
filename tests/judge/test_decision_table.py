import csv
import dataclasses

import pytest

from bear_classifier.dataset.decisions import Refusal
from bear_classifier.dataset.schema import Decision, Event, Suspect
from bear_classifier.errors import DataError
from bear_classifier.judge.decision_table import (
    COLUMNS,
    Table,
    automatic,
    read_decisions,
    rows_refused,
    write_suspects,
)

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
    (only,) = automatic([suspect(3, quality=0.9, score=0.95)], 0.7)
    assert only == Decision(
        f"{3:064x}", "drop", why="very dark; looks like teddy (97%)", score=0.95
    )


def test_a_doubtful_label_alone_is_never_enough():
    found = [suspect(1, label=1.0, score=1.0), suspect(2, label=0.99, quality=0.69, score=0.997)]
    assert automatic(found, 0.7) == []


def test_the_test_side_stays():
    found = [
        suspect(1, split="test", outlier=1.0),
        suspect(3, outlier=1.0, split="valid"),
        suspect(4, outlier=1.0, split=""),
    ]
    dropped = automatic(found, 0.7)
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
    assert bool(automatic([suspect(**scores)], precision)) == dropped


# -- the table -------------------------------------------------------------------------------------


def decided(path):
    """The decisions of a table without bad rows, in its order."""
    table = read_decisions(path)
    assert table.bad == {}
    return list(table.decisions.values())


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
    assert decided(path) == []  # nothing filled in yet
    fill(path, ("drop", ""), (" Relabel ", " teddy "), ("KEEP", ""), ("", "teddy"), ("restore", ""),
         **form)  # fmt: skip
    assert decided(path) == EXPECTED


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
        assert [d.label for d in decided(path)] == [label]
        write_suspects(path, [one], 12)


def test_other_quotes_are_part_of_a_name(tmp_path):
    (tmp_path / "d.csv").write_text(
        f"sha256,action,new_label\n'{SHA},relabel,'t Hooft\n", encoding="utf-8"
    )
    assert decided(tmp_path / "d.csv") == [Decision(SHA, "relabel", "'t Hooft")]


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
    assert decided(path) == [EXPECTED[0]]


@pytest.mark.parametrize("text", [f"sha256,action\n{SHA},drop\n", f"action;sha256\ndrop;{SHA}"])
def test_two_columns_are_enough(tmp_path, text):
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    assert decided(tmp_path / "d.csv") == [Decision(SHA, "drop")]


def test_a_short_row_and_capital_digits(tmp_path):
    (tmp_path / "d.csv").write_text(
        f"sha256,action,new_label,score\n{SHA}\n{SHA.upper()},keep\n", encoding="utf-8"
    )
    assert read_decisions(tmp_path / "d.csv").decisions == {3: Decision(SHA, "keep")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "sha256 and action, and has nothing; to write one, run: bears clean --list --csv"),
        ("hash,action\n1,drop\n", "needs the columns sha256 and action, and has hash, action"),
        ("sha256\n1\n", "and has sha256"),
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


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        (f"sha256,action\n{SHA},keep\n{SHA},burn\n",
         {3: "'burn' is no action; one of keep, relabel, drop, restore"}),
        (f'sha256,origin,action\n{SHA},"two\nlines",keep\n{SHA},a,undo\n',
         {4: "'undo' is no action; one of keep, relabel, drop, restore"}),
        (f"sha256,action\n{SHA},{'x' * 90}\n",
         {2: f"'{'x' * 60}' is no action; one of keep, relabel, drop, restore"}),
        (f"sha256,action,new_label\n\n{SHA},relabel,  \n",
         {3: "relabel needs the class in the column new_label"}),
        (f"sha256,action\n{SHA},relabel\n",
         {2: "relabel needs the class in the column new_label"}),
        (f"sha256,action,revision\n{SHA},,x\n{SHA},drop,4.5\n", {3: "'4.5' is no revision"}),
        (f"sha256,action,revision\n{SHA},burn,\n{SHA},keep,\n{SHA},drop,4.5\n{SHA},relabel,\n",
         {2: "'burn' is no action; one of keep, relabel, drop, restore",
          4: "'4.5' is no revision", 5: "relabel needs the class in the column new_label"}),
    ],
)  # fmt: skip
def test_every_row_that_means_nothing_is_found(tmp_path, text, bad):
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    table = read_decisions(tmp_path / "d.csv")
    assert table.bad == {line: Refusal("BAD_TABLE", why) for line, why in bad.items()}
    assert not table.decisions.keys() & bad.keys()


# -- rows that are refused -------------------------------------------------------------------------


def refusal(tmp_path, bad, origins=None):
    return rows_refused(Table(tmp_path / "my t.csv", {}, {}), bad, origins or {}, "ann")


def test_one_refused_row_is_one_sentence(tmp_path):
    error = refusal(tmp_path, {7: Refusal("NO_SUCH_PHOTO", "no photo here", "reload the list")})
    assert (error.code, error.rows) == ("NO_SUCH_PHOTO", ())
    assert error.sentence == f"{tmp_path / 'my t.csv'}, line 7: no photo here"  # no page to reload


@pytest.mark.parametrize("number", [2, 20, 21, 45])
def test_the_first_twenty_refused_rows_are_shown_in_order(tmp_path, number):
    bad = {n: Refusal("BAD_TABLE", f"why {n}") for n in reversed(range(2, 2 + number))}
    error = refusal(tmp_path, bad)
    assert error.code == "BAD_TABLE"
    path = tmp_path / "my t.csv"
    assert error.sentence == f"{number} rows of {path} cannot be carried out, so none was:"
    rest = [f"  ... and {number - 20} more"] if number > 20 else []
    assert list(error.rows) == [f"  line {n}: why {n}" for n in sorted(bad)[:20]] + rest


def test_refusals_of_several_kinds_are_a_bad_table(tmp_path):
    no_class = Refusal("UNKNOWN_CLASS", "'panda' is no class", "choose black, teddy")
    error = refusal(tmp_path, {2: no_class, 3: Refusal("NO_SUCH_PHOTO", "none")})
    assert error.code == "BAD_TABLE"
    assert error.rows[0] == "  line 2: 'panda' is no class; choose black, teddy"
    assert refusal(tmp_path, {2: no_class, 3: no_class}).code == "UNKNOWN_CLASS"


def event(who, action, **more):
    at = "2026-01-02T03:04:05+00:00"
    return Event(9, at, who, action, SHA, "black", "teddy", "", **more)


def test_a_later_decision_in_words_for_a_table(tmp_path):
    """Nothing of windows and pages; a hint that writes another table than the one filled in."""
    undone = Refusal("CONFLICT", "Another window did", "reload", event("ann", "undo", undoes=8))
    page = Refusal("CONFLICT", "Another window did", "reload", event("review", "keep"))
    other = Refusal("CONFLICT", "Another window did", "reload", event("bob", "relabel"))
    every = refusal(tmp_path, {2: undone, 5: other, 6: page}, {SHA: "/photos/a.png"})
    mine, theirs, looked_at, again, anew = every.rows
    photo = f"photo {SHA[:12]} (/photos/a.png)"
    assert mine.startswith(
        f"  line 2: after the table was written, you took back a decision on {photo} on 2026-01-0"
    )
    assert f'bob changed {photo} from "black" to "teddy" on ' in theirs
    assert f'somebody on the review page kept {photo} as "teddy" on ' in looked_at
    assert again == "to decide all the same, empty the cell of such a row in the column revision"
    table = f"'{tmp_path / 'my t-new.csv'}'"
    assert anew.endswith(f"decided on, run: bears clean --list --csv {table}")
    alone = refusal(tmp_path, {2: undone})
    assert alone.sentence.endswith(anew)
    assert not any(w in str(every) + str(alone) for w in ("window", "reload", "overwrite"))
