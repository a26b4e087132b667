"""Which networks go all the way, from photos to a bundle, with random weights: the table of
docs/TRAINING.md. Speed and accuracy are not measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from versus import ROOT

TRIED = (
    *("resnet34", "resnet50", "convnext_tiny", "vgg16_bn", "densenet121", "regnet_y_400mf"),
    *("mobilenet_v3_large", "swin_t", "tf_efficientnet_lite2", "vit_tiny_patch16_224"),
    *("convnextv2_atto", "mobilenetv4_conv_small"),
)


def main(names: list[str], size: int) -> None:
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "learn")]
    from from_folder_to_bundle import walked

    from bear_classifier.errors import BearsError
    from bear_classifier.learn.architectures import architecture

    print("| network | of | features | last stage learns | bundle | int8 | map | evidence |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                steps = walked(name, Path(folder), size)
            except BearsError as exc:
                print(f"| `{name}` | {exc}")
                continue
        tuned = "yes" if steps.tuned == "last-stage" else "no: all layers do"
        integers = "no" if steps.int8 is None else "yes"
        print(
            f"| `{name}` | {architecture(name).library} | yes ({steps.features[1]}) | {tuned} | yes"
            f" ({steps.parity:.0e}) | {integers} | {steps.cells} x {steps.cells} | exact"
            f" ({steps.evidence:.0e}) |",
            flush=True,
        )
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arch", nargs="*", help=f"as learn.arch; without any: {', '.join(TRIED)}")
    parser.add_argument("--size", type=int, default=96, help="pixels of the pictures (96)")
    options = parser.parse_args()
    main(options.arch or list(TRIED), options.size)
