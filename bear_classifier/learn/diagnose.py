"""Diagnosis of a training from its history: learning rate, number of epochs, overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# epoch, train_loss, valid_loss, error; since version 0.2 also train_error and valid_error, the
# standard errors of `callbacks.Keeper`
EpochRow = Mapping[str, float]

_LITTLE = 0.05  # share: epochs of random crops differ by a few per cent, however many photos
_JUMP = 2.0  # over-fitting raises the validation loss by tenths in an epoch; twice is a leap ...
_LEAP = 0.2  # ... and more than confident models vary by, which go from 0.01 to 0.02 unharmed
_SOLVED = 0.1  # nats: a training loss below leaves little to learn, at whatever rate
_CLEARLY = 0.95  # validation losses of some dozens of photos change by a few per cent by chance
_SURE = 3.0  # standard errors that a training loss has to rise by: any of several epochs may
_LIKELY = 2.0  # standard errors that a validation loss has to change by
_WORTH = 0.02  # nats: a difference of less is of no use, whatever its share of a small loss


@dataclass(frozen=True)
class Finding:
    """code: rate_too_high, rate_too_low, harmful, under_trained, over_trained or fine. sentence:
    what was seen, and which setting to change to what."""

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
    """The first of these that holds: the rate was wrong, then the epochs were too many or too few.

    rows: one per epoch, losses in nats; start: loss on validation before training; photos: number
    of those on the training split; start_error: standard error of how much that loss changed by the
    kept epoch, photo by photo."""
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


def diagnose_interpolated(found: Finding, share: float, lost: float, start: float) -> Finding:
    """The same of a training of which a mixture with its start is kept (`blend`), which may be
    better than both. share: of the tuned weights; lost: loss of the mixture on validation."""
    if found.code not in ("rate_too_high", "harmful") or share in (0, 1) or lost >= start:
        return found
    return Finding(
        found.code,
        f"{found.sentence}. What is kept, {share:.0%} of the way, is better than the start all the"
        f" same (loss {lost:.3f} instead of {start:.3f}); another rate may help or not",
    )


def _swing(photos: int) -> float:
    """By what share of itself the training loss of an epoch differs from another by chance, where
    nobody measured it.

    Log losses of photos spread about as far as their mean, so that of n swings by 1/sqrt(n). Where
    a model is nearly right, a few photos make the mean, and it swings much further."""
    return max(_LITTLE, 1 / math.sqrt(photos))


def _too_high(rows: Sequence[EpochRow], start: float, swing: float) -> bool:
    """Training loss well above that of the first epoch; or validation loss leaping while that has
    not fallen, so that the photos are not being learned by heart either."""
    first, lowest = rows[0]["train_loss"], start
    for row in rows:
        loss, valid = row["train_loss"], row["valid_loss"]
        leaps = valid > max(_JUMP * lowest, lowest + _LEAP, lowest + _SURE * _step(row))
        if loss > first + max(2 * swing * first, _SURE * _apart(rows[0], row)) or (
            leaps and loss > (1 - swing) * first
        ):
            return True
        lowest = min(lowest, valid)
    return False


def _apart(one: EpochRow, other: EpochRow) -> float:
    """Standard error of the difference of two epochs' training losses, as if of other photos: they
    are the same, but cropped otherwise."""
    return math.hypot(one.get("train_error", 0.0), other.get("train_error", 0.0))


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
