"""The list of planted faults: each finds its text in the package, and its test in the suite."""

import pytest
from mutants import MUTANTS, ROOT, planted


def test_no_fault_is_stale():
    """What a fault changes stands in its file, whichever others are planted with it."""
    package = ROOT / "bear_classifier"
    files = {m.file: (package / m.file).read_text(encoding="utf-8") for m in MUTANTS}
    gone = [m.name for m in MUTANTS if m.old not in files[m.file] or m.old == m.new]
    assert gone == []
    for mutant in MUTANTS:
        assert planted(mutant, files.__getitem__).keys() >= {mutant.file}


def test_every_fault_names_a_test():
    missing = []
    for mutant in MUTANTS:
        name, _, test = mutant.test.partition("::")
        path = ROOT / "tests" / name
        if not path.is_file() or f"def {test}" not in path.read_text(encoding="utf-8"):
            missing.append(mutant.name)
    assert missing == []
    names = [mutant.name for mutant in MUTANTS]
    assert sorted(set(names)) == sorted(names)


def test_faults_are_planted_at_once():
    (five,) = [m for m in MUTANTS if m.name == "leak: five at once"]
    found = planted(
        five, lambda file: (ROOT / "bear_classifier" / file).read_text(encoding="utf-8")
    )
    assert set(found) == {"learn/probe.py", "judge/evaluate.py", "learn/finetune.py"}
    for mutant in MUTANTS:
        if mutant.name in five.also:
            assert mutant.new in found[mutant.file]


def test_a_fault_without_its_text_is_an_error():
    with pytest.raises(ValueError, match=r"terminal\.py no longer holds"):
        planted(next(m for m in MUTANTS if m.file == "runtime/terminal.py"), lambda file: "")
