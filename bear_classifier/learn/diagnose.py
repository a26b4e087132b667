"""Diagnosis of a training from its history: learning rate, number of epochs, overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# epoch, train_loss, valid_loss, error; since version 0.2 train_error, valid_error: `BestCheckpoint`
EpochRow = Mapping[str, float]

_LITTLE = 0.05  # share: random crops change the loss of an epoch by a few per cent
_JUMP = 2.0  # times: overfitting raises the validation loss by tenths in an epoch, not to twice ...
_LEAP = 0.2  # ... nats, more than confident models vary by, which go from 0.01 to 0.02 unharmed
_SOLVED = 0.1  # nats: a training loss below leaves little to learn, at whatever rate
_CLEARLY = 0.95  # validation losses of some dozens of photos change by a few per cent by chance
_SURE = 3.0  # standard errors by which a training loss must rise; several epochs are tested
_LIKELY = 2.0  # standard errors by which a validation loss must change
_WORTH = 0.02  # nats: a smaller difference is of no use


@dataclass(frozen=True)
class Finding:
    """code: rate_too_high, rate_too_low, harmful, under_trained, over_trained or fine. sentence:
    the symptom, and which setting to change to what."""

    code: str
    sentence: str


def diagnose(
    rows: Sequence[EpochRow],
    lr: float,
    start: float,
    photos: int,
    diverged: bool = False,
    start_error: float = 0.0,
) -> Finding:
    """The first finding that holds: a wrong rate, then too many or too few epochs.

    rows: one per epoch, losses in nats; start: validation loss before training; photos: training
    photos; start_error: standard error of the change of that loss by the kept epoch, photo by
    photo."""
    if not rows and not diverged:
        return Finding(
            "untuned",
            "Nothing was fine-tuned, as train.epochs = 0 asks; to see whether it would help, run:"
            " bears compare train.epochs=0 train.epochs=4",
        )
    if diverged or _too_high(rows, start, _swing(photos)):
        return Finding(
            "rate_too_high",
            "The loss rose instead of falling: the learning rate is too high; try"
            f" --set train.lr={lr / 10:.1g}",
        )
    first, last, epochs = rows[0], rows[-1], len(rows)
    solved = first["train_loss"] < _SOLVED
    still = last["train_loss"] > (1 - _swing(photos)) * first["train_loss"]
    if epochs > 1 and still and not solved:
        return Finding(
            "rate_too_low",
            f"The training loss hardly fell ({first['train_loss']:.2f} to"
            f" {last['train_loss']:.2f}): the learning rate is too low; try"
            f" --set train.lr={lr * 10:.1g}",
        )
    best = min(rows, key=lambda row: row["valid_loss"])
    before = rows[-2]["valid_loss"] if epochs > 1 else start
    falling = _clearly_below(last["valid_loss"], before, _step(last))
    if _clearly_below(start, best["valid_loss"], start_error) and not falling:
        return Finding(
            "harmful",
            f"Every epoch was worse on validation (loss {best['valid_loss']:.2f} at best) than the"
            f" model that training began with ({start:.2f}), which knows these photos well already;"
            f" try a lower rate: --set train.lr={lr / 10:.1g}",
        )
    learned = last["train_loss"] < best["train_loss"]
    since = math.hypot(*(_step(r) for r in rows if r["epoch"] > best["epoch"]))
    if learned and _clearly_below(best["valid_loss"], last["valid_loss"], since):
        return Finding(
            "over_trained",
            f"The loss on validation rose after epoch {best['epoch']:.0f} while the training loss"
            " fell: the model learns the photos by heart; try"
            f" --set train.epochs={best['epoch']:.0f}, more photos, or harder crops:"
            " --set train.crop=0.3",
        )
    if falling:
        return Finding(
            "under_trained",
            "The loss on validation was still falling at the end: more epochs may help; try"
            f" --set train.epochs={2 * epochs}",
        )
    return Finding("fine", "Rate and epochs fit: the loss fell and then levelled off")


def diagnose_interpolated(finding: Finding, alpha: float, loss: float, start: float) -> Finding:
    """The finding where interpolated weights are kept, which may be better than start and end.

    alpha: share of the tuned weights; loss: of the kept weights on validation."""
    if finding.code not in ("rate_too_high", "harmful") or alpha in (0, 1) or loss >= start:
        return finding
    return Finding(
        finding.code,
        f"{finding.sentence}. What is kept, {alpha:.0%} of the way, is better than the start all"
        f" the same (loss {loss:.3f} instead of {start:.3f}); another rate may help or not",
    )


def _swing(photos: int) -> float:
    """Relative chance variation of an epoch's training loss, where it was not measured.

    The standard deviation of photos' log losses is about their mean, so the mean of n varies by
    1/sqrt(n); by much more in a nearly perfect model, whose loss a few photos make."""
    return max(_LITTLE, 1 / math.sqrt(photos))


def _too_high(rows: Sequence[EpochRow], start: float, swing: float) -> bool:
    """The training loss rises well above the first epoch's, or the validation loss leaps while the
    training loss has not fallen, so that it is no overfitting."""
    first, lowest = rows[0]["train_loss"], start
    for row in rows:
        loss, valid = row["train_loss"], row["valid_loss"]
        leaps = valid > max(_JUMP * lowest, lowest + _LEAP, lowest + _SURE * _step(row))
        error = math.hypot(*(r.get("train_error", 0.0) for r in (rows[0], row)))
        rises = loss > first + max(2 * swing * first, _SURE * error)
        if rises or (leaps and loss > (1 - swing) * first):
            return True
        lowest = min(lowest, valid)
    return False


def _step(row: EpochRow) -> float:
    return row.get("valid_error", 0.0)


def _clearly_below(one: float, other: float, error: float) -> bool:
    """error: standard error of the difference; 0 where nobody measured it."""
    return one < min(_CLEARLY * other, other - _WORTH, other - _LIKELY * error)


def kept_epoch(rows: Sequence[EpochRow]) -> int:
    """The epoch with the fewest errors on validation; of equal ones, that with the least loss.

    rows: one per epoch, at least one. Rounded, since a mean over batches is not exact."""
    best = min(rows, key=lambda row: (round(row["error"], 6), row["valid_loss"]))
    return int(best["epoch"])
