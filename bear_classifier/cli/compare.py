"""`bears compare`: train alternatives alike, or probe backbones, and say which does better."""

from __future__ import annotations

import argparse

from bear_classifier.cli import project
from bear_classifier.cli.options import add_engine_option, add_number
from bear_classifier.cli.output import print_outcome
from bear_classifier.experiments.backbones import study as backbones
from bear_classifier.experiments.compare import study
from bear_classifier.runtime.heartbeat import heartbeat

_COMPARISONS = """comparisons:
  balance    unequal classes: nothing against it, oversampling, a weighted loss
  method     from the probe (LP-FT), fastai's fine_tune, the head only, all layers at once
  layers     only the last stage, or all of the network
  cycles     one long cycle, or two or three short ones
  rates      the LR finder's rate, a tenth, a third and three times of it
  crops      random-crop, crop, squish, pad, presize
  backbones  a probe on the present network, on those that are named, and on all whose weights
             are on this computer: size, time, errors, those on unseen sources too; minutes

examples:
  bears compare balance
  bears compare train.epochs=2 train.epochs=4
  bears compare "train.crop=0.5" "train.crop=0.9,train.dropout=0.2" --seeds 5
  bears compare train.dropout=0.3               against the present settings
  bears compare backbones resnet18 vgg11=FILE   their weights are fetched, or read from a file
  bears compare learn.arch=resnet18             trains both networks

All are set against the first, which is what the settings say, or what was named first. Each is
trained with each seed from the same start on the same photos in the same order, and judged on
validation. An alternative is called better only where chance (photos, seeds) does not
explain the difference, for all alternatives together. Nothing is trained for backbones: --seeds,
--epochs and --by are for the others. Every finished training is kept in
compare/trainings; after Ctrl-C the same command goes on. The rest of the dataset stays as it is.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _COMPARISONS
    presets = "balance, method, layers, cycles, rates, crops, backbones"
    what = f"{presets} [ARCH[=WEIGHTS] ...]; or TABLE.KEY=VALUE, several joined by commas"
    parser.add_argument("what", metavar="WHAT", nargs="+", help=what)
    seeds = "trainings of each alternative (default: 3); more narrow the intervals"
    add_number(parser, "--seeds", seeds, default=3)
    add_number(parser, "--epochs", "of each training (default: train.epochs)")
    by = "what decides: log loss, error, or the mean of the classes' errors"
    default = "macro for balance, otherwise loss"
    choices = ["loss", "error", "macro"]
    parser.add_argument("--by", choices=choices, help=f"{by} (default: {default})")
    add_engine_option(parser)


def run(options: argparse.Namespace) -> None:
    opened = project.named_project(options)
    if options.what[0] == "backbones":
        with heartbeat("compare"):
            result = backbones.compare_backbones(opened, options.what[1:])
        print_outcome(options, result, "\n".join(backbones.text(result)))
        return
    with heartbeat("compare"):
        result = study.compare_recipes(
            opened, options.what, options.seeds, options.epochs, options.by
        )
    print_outcome(options, result, "\n".join(study.text(result)))
