"""Answers by models that have seen neither the photos nor their sources."""

import dataclasses

import numpy as np
import pytest
from test_ood import crowd

from bear_classifier.judge import out_of_sample
from bear_classifier.judge.out_of_sample import KnownPhotos, of_probe, of_tuned
from bear_classifier.judge.predictions import HalfOutputs
from bear_classifier.stats.linear_probe import fit_linear, logits_of
from bear_classifier.stats.ood import make_reference, reference_rows

N, TRAIN = 240, 180
STRENGTH, SEED = 0.1, 3


def photos(sites=("one", "two", "three", "four")):
    """240 photos of three classes, the first 180 to learn from; those of a source are next to each
    other in features, and the first photo has a near-copy in another source."""
    site = np.arange(N) // 3 % len(sites)
    shift = np.abs(np.random.default_rng(2).normal(size=(len(sites), 64)))
    pooled = (crowd(N, 1) + shift[site]).astype(np.float32)
    groups = np.arange(N)
    groups[4] = groups[0]
    pooled[4] = pooled[0] + 1e-3
    return KnownPhotos(
        [f"photo {row}" for row in range(N)],
        np.zeros((N, 3), dtype=np.float32),
        pooled,
        np.arange(N) % 3,
        groups,
        np.arange(N) < TRAIN,
        [sites[number] for number in site],
    )


def reference_of(known):
    return make_reference(known.pooled[:TRAIN], known.groups[:TRAIN], None, SEED)


def judged(known, probabilities=None):
    p = np.full((N, 3), 1 / 3) if probabilities is None else probabilities
    return of_probe(known, reference_of(known), reference_rows(TRAIN, SEED), p, STRENGTH)


def test_neither_head_nor_reference_holds_the_source_or_a_near_copy():
    known = photos()
    found = judged(known)
    assert found.basis == "sources"
    assert found.photos() == {"sources": N, "folds": N}
    site = np.array(known.sites)
    for name in ("one", "two"):
        mine = site == name
        others = ~mine & ~np.isin(known.groups, known.groups[mine])
        assert (~mine & ~others).sum() == 1  # the near-copy
        fitted = fit_linear(STRENGTH, known.pooled[others], known.targets[others])
        assert found.sources.logits[mine] == pytest.approx(
            logits_of(fitted, known.pooled[mine]), abs=1e-4
        )
        learned = np.flatnonzero(others & known.train)
        apart = make_reference(known.pooled[learned], known.groups[learned], None, SEED)
        assert found.sources.scores[mine] == pytest.approx(
            apart.score(known.pooled[mine]), abs=1e-3
        )
        without = found.near_without[name]
        assert without[learned] == pytest.approx(apart.own(), abs=1e-3)
        checked = others & ~known.train
        assert without[checked] == pytest.approx(apart.score(known.pooled[checked]), abs=1e-3)
    reference = reference_of(known)
    assert found.near.scores[:TRAIN] == pytest.approx(reference.own())
    assert (found.near.scores[:TRAIN] < reference.score(known.pooled[:TRAIN])).all()
    assert found.sources.scores.mean() < found.near.scores.mean() - 1


def test_out_of_fold_probabilities_are_logits():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], size=N)
    p[7] = [1.0, 0.0, 0.0]  # of a fold without a photo of the other classes
    near = judged(photos(), p).near
    assert len(near.targets) == N - 1
    assert np.exp(near.logits) == pytest.approx(np.delete(p, 7, axis=0))


def test_a_class_of_one_source_is_not_judged_without_it():
    known = photos()
    site = np.array(known.sites)
    targets = np.where((site != "one") & (known.targets == 2), 0, known.targets)
    found = judged(dataclasses.replace(known, targets=targets))
    assert set(found.sources.parts.tolist()) == {"two", "three", "four"}


@pytest.mark.parametrize("sites", [("one",), ("",), ("one", "", "", "")])
def test_too_few_sources_are_none(sites):
    found = judged(photos(sites))
    assert (found.sources, found.basis) == (None, "folds")
    assert found.harder is found.near


def tuned(known, halves=None, by_source=False):
    rows = reference_rows(TRAIN, SEED)
    return of_tuned(known, reference_of(known), rows, halves, by_source, SEED)


def halves_of(known):
    """Two networks, of sources one and two and of the others, whose features tell them apart."""
    first = np.isin(known.sites, ["one", "two"])
    rows, network, learned = [], [], []
    for number, mine in enumerate((first, ~first)):
        for some, is_learned in ((mine & known.train, True), (~mine, False)):
            rows += np.flatnonzero(some).tolist()
            network += [number] * int(some.sum())
            learned += [is_learned] * int(some.sum())
    factor = np.array(network)[:, None] + 1.0
    return np.array(rows), HalfOutputs(
        [known.sha256[row] for row in rows],
        np.array(network),
        np.array(learned),
        (factor * known.pooled[rows][:, :3]).astype(np.float32),
        (known.pooled[rows] ** factor).astype(np.float16),
    )


def test_a_tuned_network_is_judged_by_halves_that_lack_the_source():
    known = photos()
    _, halves = halves_of(known)
    gone = "photo 5"  # dropped since
    named = [("gone" if name == gone else name) for name in halves.sha256]
    halves = dataclasses.replace(halves, sha256=named)
    found = tuned(known, halves)
    assert found.photos() == {"sources": N - 1, "valid": N - TRAIN}
    second = np.isin(found.sources.parts, ["three", "four"])  # by the first network
    mine = np.isin(known.sites, ["one", "two"])
    learned, asked = np.flatnonzero(mine & known.train), np.flatnonzero(~mine)
    learned = learned[learned != 5]
    apart = make_reference(known.pooled[learned], known.groups[learned], None, SEED)
    assert second.sum() == len(asked)
    asked_scores = apart.score(known.pooled[asked].astype(np.float16))
    assert found.sources.scores[second] == pytest.approx(asked_scores, abs=0.05)
    assert found.sources.logits[second] == pytest.approx(known.pooled[asked][:, :3], rel=1e-3)
    assert found.near.scores == pytest.approx(reference_of(known).score(known.pooled[TRAIN:]))
    two = np.array(known.sites) == "two"
    left = ~np.isin(known.groups, known.groups[two]) & known.train
    apart = make_reference(known.pooled[left], known.groups[left], None, SEED)
    assert found.near_without["two"] == pytest.approx(apart.score(known.pooled[TRAIN:]), abs=1e-3)
    assert found.own_without["two"] == pytest.approx(apart.own(), abs=1e-3)
    assert len(found.own) == TRAIN - 1  # one of two near-copies


def test_without_halves_validation_stands_in():
    found = tuned(photos())
    assert (found.sources, found.basis) == (None, "valid")
    assert found.photos() == {"valid": N - TRAIN}


def test_where_the_splits_are_by_source_validation_is_of_other_sources(monkeypatch):
    known = photos()
    assert tuned(known, by_source=True).basis == "valid"  # 60 photos
    monkeypatch.setattr(out_of_sample, "LEAST_GROUPS", 50)
    found = tuned(known, by_source=True)
    assert (found.basis, found.near) == ("sources", None)
    assert found.photos() == {"sources": N - TRAIN}
