"""What the card and the report say of refusals."""

from bear_classifier.judge import refusals_in_words as words

TEST = {"refused_share": 0.005, "refused_interval": (0.001, 0.03)}
ROW = {"right": 278, "refused_share": 0.08}
FAR = {
    "right": 978,
    "refused_share": 0.026,
    "refused_interval": (0.017, 0.038),
    "by_source": {"one.org": ROW, "two.org": {"right": 300, "refused_share": 0.0}},
    "ece": 0.01,
    "chance_gap": 0.015,
}


def test_the_rate_of_other_sources_stands_beside_that_of_the_test_side():
    said = words.refused({"test": TEST, "elsewhere": FAR})
    assert said == (
        "Of the test photos that it would answer rightly it refuses 0.5% (0.1% to 3.0%), and of 978"
        " photos of sources that had no part in setting its limits 2.6% (1.7% to 3.8%) (most of"
        " one: 8.0% of one.org). On these stated probabilities are off by 1.0% on average, as it"
        " may be by chance."
    )
    worse = words.refused({"test": TEST, "elsewhere": {**FAR, "ece": 0.02}})
    assert worse.endswith("off by 2.0% on average, more than chance explains.")


def test_a_source_of_few_photos_is_not_named():
    few = {**FAR, "by_source": {**FAR["by_source"], "one.org": {**ROW, "right": 19}}}
    assert "one.org" not in words.refused({"test": TEST, "elsewhere": few})


def test_what_was_not_measured_is_said():
    said = words.refused({"test": TEST, "elsewhere": None})
    assert said.endswith("of other sources was not measured, since too few sources are known.")
    nothing = {"refused_share": None, "refused_interval": None}
    assert words.refused({"test": nothing, "elsewhere": None}) == ""
    assert words.refused({"test": nothing, "elsewhere": FAR}).startswith("Of 978 photos of sources")


def test_a_rule_of_an_earlier_version_says_nothing():
    earlier = {"test": {"n": 3, "wrongly_refused": 1}}
    assert (words.refused(earlier), words.set_on(earlier)) == ("", "")


def test_it_says_by_which_photos_limits_were_set():
    rule = {"basis": "sources", "set_on": {"sources": 1010, "folds": 1068}}
    assert words.set_on(rule) == (
        "Its limits and its temperature were set on 1,010 photos, each answered by a model and a"
        " reference that lack all photos of its source."
    )
    assert "lack it and its near-copies" in words.set_on({"basis": "folds", "set_on": {"folds": 9}})
    assert "validation split" in words.set_on({"basis": "valid", "set_on": {"valid": 1}})


def test_a_tuned_network_s_own_photos_set_its_limit():
    rule = {"basis": "sources", "set_on": {"sources": 1010, "valid": 213}}
    assert words.set_on(rule) == (
        "Its temperature was set, and what it refuses of other sources was measured, on 1,010"
        " photos, each answered by a network that was trained without its source. Its limit for"
        " pictures unlike the training photos was set on 213 photos of the validation split and on"
        " the training photos among themselves."
    )
