"""The names of ImageNet's classes, in the order of the weights' classes."""

import subprocess
import sys

from bear_classifier.learn.own_classes import own_class_names


def test_the_names_are_in_the_order_of_the_weights() -> None:
    names = own_class_names(1000)
    assert names is not None
    assert len(names) == 1000
    known = {0: "tench", 294: "brown bear", 295: "American black bear", 850: "teddy"}
    assert {n: names[n] for n in known} == known
    assert own_class_names(7) is None


def test_reading_them_imports_no_torch() -> None:
    code = (
        "import sys; from bear_classifier.learn.own_classes import own_class_names;"
        "own_class_names(1000); sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
