"""Plant known faults one at a time in a copy of the tree: each must turn its named test red.

Run by `make mutants`; takes some minutes. A fault whose text is no longer in the file is an error,
so the list cannot go stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """file: below bear_classifier; old, new: its text before and after; test: pytest's name."""

    name: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = [
    Mutant("a group is not dealt as one", "collect/blocks.py", 'f"{seed}:{group}"', 'f"{seed}"',
           "test_split.py"),
    Mutant("near-copies in a mirror are missed", "collect/screen.py",
           "_distances(flipped[block]", "_distances(words[block]",
           "test_screen.py::test_pairs_in_a_mirror"),
    Mutant("a nearly flat picture is near to everything", "collect/screen.py",
           "told = 2 *", "told = 0 *",
           "test_screen.py::test_a_nearly_flat_picture_is_near_to_nothing"),
    Mutant("hidden folders become photos", "collect/listing.py", 'startswith(".")',
           'startswith("\\0")', "test_listing.py"),
    Mutant("an embedded IPv4 address is not looked at", "collect/address.py",
           "if address in _MAPPED or address in _NAT64:", "if False:", "test_address.py"),
    Mutant("one public answer of a name is enough", "collect/guard.py",
           "            check(address, host, self._world.allowed)\n            results",
           "            results", "test_guard.py"),
    Mutant("redirects are followed unseen", "collect/fetch.py", "allow_redirects=False",
           "allow_redirects=True", "test_visit.py"),
    Mutant("sizes are believed", "collect/fetch.py",
           "if self.received > self._limits.bytes:", "if False:", "test_visit.py"),
    Mutant("no total time", "collect/visit.py", "in_time(self._one(target, trail), total, left)",
           "in_time(self._one(target, trail), 60)", "test_visit.py"),
    Mutant("Retry-After is ignored", "collect/visit.py", 'wait = getattr(exc, "wait", None)',
           "wait = None", "test_visit.py"),
    Mutant("no pause between requests", "collect/turns.py",
           "site.due = self.clock.now() + self.manners.apart", "pass", "test_turns.py"),
    Mutant("X-Robots-Tag is not read", "collect/visit.py",
           "if self.robots and (directive", "if False and (directive", "test_visit.py"),
    Mutant("robots.txt is not read", "collect/robots.py",
           "return \"\" if allowed else", "return \"\" if True else", "test_visit.py"),
    Mutant("a thumbnail in spite of a refusal", "collect/visit.py",
           "not MISSING.fullmatch(row.code)", "False", "test_visit.py"),
    Mutant("offline, every address is given up", "collect/crowd.py",
           "if len(held) >= _SURE:\n        raise", "if False:\n        raise", "test_crowd.py"),
    Mutant("an empty page is remembered at once", "collect/paging.py",
           "(trail.page > 1 or service.engine.sure or void)", "True", "test_paging.py"),
    Mutant("a page found for two classes is given to one", "collect/paging.py",
           "disputed = known.code", "disputed = False and known.code", "test_paging.py"),
    Mutant("half-written files stay", "collect/download.py", "clear_partial(catalog.root)",
           "pass", "test_download.py"),
    Mutant("a take-down is forgotten", "collect/take_down.py", "catalog.put_take_down(request)",
           "pass", "test_take_down.py"),
    Mutant("an author of another source", "collect/attribution.py",
           "author=best.author.strip() or UNKNOWN",
           "author=next((s.author for s in sources if s.author), UNKNOWN)", "test_attribution.py"),
    Mutant("formulas in tables", "files.py", 'if _FORMULA.match(whole) else whole',
           'if False else whole', "test_attribution.py"),
    Mutant("a file is written in place", "files.py", "partial.replace(path)",
           "path.write_bytes(data)", "test_files.py"),
    Mutant("folds ignore groups", "linear.py", ".split(features, labels, groups)",
           ".split(features, labels, np.arange(len(labels)))", "test_linear.py"),
    Mutant("doubtful labels are learned from", "linear.py", "learning[usable[learning]]",
           "learning", "test_linear.py"),
    Mutant("a photo makes itself typical", "judge/clean.py", "mine.sum(0) - of_group[place]",
           "mine.sum(0) - 0 * of_group[place]", "test_clean.py"),
    Mutant("the test side is cleaned by itself", "judge/verdicts.py", ' and s.split != "test"',
           "", "test_verdicts.py"),
    Mutant("a doubtful label alone is dropped", "judge/verdicts.py", 'if kind != "label"',
           "if True", "test_verdicts.py"),
    Mutant("the effect on photos that were decided on", "judge/effect.py",
           " and p.sha256 not in first]", "]", "test_effect.py"),
    Mutant("a later decision is not noticed", "decisions.py",
           "others[-1].id > decision.based", "False", "test_decisions.py"),
    Mutant("a double click counts twice", "decisions.py",
           "if done := _of_request(catalog, request):\n            return done\n        hashes",
           "hashes", "test_decisions.py"),
    Mutant("any name of a host will do", "apps/review_guard.py", "if not self._known(host)",
           "if False", "test_review.py"),
    Mutant("other websites may post", "apps/review_guard.py",
           'if headers.get("x-bears") != "1"', "if False", "test_review.py"),
    Mutant("a window overwrites the other", "apps/review.py",
           'based = None if overwrite else _number(item, "based")', "based = None",
           "test_review.py"),
    Mutant("a worker's answer is the next one's", "workers.py",
           "except BaseException:  # cancelled: its answer would be taken for the next one's\n"
           "                    await _end(child)\n                    raise",
           "except BaseException:\n                    self._idle.append(child)\n"
           "                    raise", "test_workers.py"),
    Mutant("copies make strangers familiar", "familiar.py",
           "likeness[groups[rows, None] == groups[None, :]] = -1.0", "pass", "test_familiar.py"),
    Mutant("strangers are not refused", "familiar.py", "np.where(scores < least",
           "np.where(scores < -np.inf", "test_familiar.py"),
    Mutant("what is too close is not counted in", "judge/reject.py",
           "max(0.0, refused - lost)", "refused", "test_reject.py"),
    Mutant("a weak model gives no answers", "judge/reject.py",
           "min(close, float(margins[allowed]))", "close", "test_reject.py"),
    Mutant("copies stand on both sides of a source", "judge/elsewhere.py",
           "~asked & ~np.isin(groups, groups[asked])", "~asked", "test_elsewhere.py"),
    Mutant("a photo changes while a model is made", "pipeline.py", "catalog.freeze()", "pass",
           "test_cleaning.py::test_a_stage_works_on_the_photos_of_one_moment"),
    Mutant("a folder overrules a person", "collect/download.py",
           "if verdict.label == followed.get(photo.sha256):", "if False:", "test_download.py"),
    Mutant("the test side changes without a word", "apps/review.py",
           '_confirmed(asked, today, _number(body, "test_side"))', "pass", "test_review.py"),
    Mutant("a flipped checkpoint is believed", "learn/checkpoints.py",
           'if hashlib.sha256(data).hexdigest() != path.name.split(".")[1]:', "if False:",
           "test_checkpoints.py"),
    Mutant("variance and deviation mixed up", "learn/probe.py", "scaler.var_", "scaler.scale_",
           "test_probe.py::test_the_numbers_of_the_head_are_the_model"),
    Mutant("the cache is never used", "learn/probe.py", "if photo.sha256 not in cache]",
           "if photo.sha256]", "test_probe.py::test_features_are_computed_once"),
    Mutant("NaN is not noticed", "learn/callbacks.py", "if self.training and not",
           "if False and not", "test_train.py::test_a_loss_that_is_not_a_number"),
    Mutant("the worse model is kept", "learn/blend.py", "axis=0).argmin())", "axis=0).argmax())",
           "test_train.py::test_the_model_with_less_validation"),
    Mutant("all layers at one rate", "learn/cycle.py", "slice(lr / plan.spread, lr)",
           "slice(lr, lr)",
           "test_train.py::test_every_layer_learns_and_the_early_ones_slowly"),
    Mutant("frozen layers learn", "learn/cycle.py", "freeze_to(-1 if frozen else 0)",
           "freeze_to(0)", "test_recipe.py::test_a_frozen_epoch_moves_the_head_only"),
    Mutant("the rate stays after the frozen phase", "learn/cycle.py", "        lr /= 2\n",
           "        pass\n", "test_recipe.py::test_the_frozen_epochs_come_first"),
    Mutant("a resumed phase begins anew", "learn/cycle.py", "start_epoch=max(done, 0)",
           "start_epoch=0", "test_checkpoints.py::test_every_recipe_goes_on_bit_for_bit"),
    Mutant("class weights count on validation", "learn/callbacks.py",
           "def after_train(self) -> None:\n        self.learn.loss_func = self.plain",
           "def after_train(self) -> None:\n        pass",
           "test_recipe.py::test_weights_count_in_training_and_never"),
    Mutant("parts forget the class weights", "learn/memory.py", "float(weight[y].sum())",
           "len(y)", "test_memory.py::test_parts_of_a_weighted_loss_too"),
    Mutant("oversampling draws all photos alike", "learn/loaders.py", "1 / many[label]", "1.0",
           "test_recipe.py::test_oversampling_draws_all_classes_alike"),
    Mutant("one lucky batch ends the finder", "learn/finder.py", "LAST, steps, False,",
           "LAST, steps, True,", "test_train.py::test_one_lucky_batch"),
    Mutant("better inside the noise", "judge/compare.py",
           "told = half is not None and half < abs(found.mean)", "told = half is not None",
           "test_compare.py::test_nothing_is_better_inside_the_noise"),
    Mutant("seeds are certain", "judge/compare.py", "* self.of_seeds *", "* 0 *",
           "test_compare.py::test_nothing_is_better_inside_the_noise"),
    Mutant("many alternatives are asked as one", "judge/compare.py",
           "sure = SURE / max(len(names) - 1, 1)", "sure = SURE",
           "test_compare.py::test_more_alternatives_widen"),
    Mutant("three photos are a proof", "judge/compare.py", 'if measure == "error":', "if False:",
           "test_compare.py::test_a_few_photos_are_no_proof"),
    Mutant("copies are asked as photos", "judge/compare.py",
           "_, number = np.unique(groups, return_inverse=True)",
           "number = np.arange(len(groups))", "test_compare.py::test_near_copies_count_as_one"),
    Mutant("a finished training is done again", "learn/compare.py", "if kept := _read(place):",
           "if (kept := _read(place)) and False:",
           "test_compare.py::test_a_comparison_from_the_command_line"),
    Mutant("the order is another for each alternative", "learn/compare.py",
           "        set_seed(seed, reproducible=True)\n", "",
           "test_compare.py::test_all_alternatives_see_the_same"),
    Mutant("silent non-training passes", "learn/cycle.py",
           "elif plan.epochs and _nothing_moved(start, end, model)",
           "elif False", "test_train.py::test_a_rate_of_zero_trains_nothing"),
    Mutant("the seed is not set", "learn/tune.py", "set_seed(settings.seed, reproducible=True)",
           "pass", "test_train.py::test_training_is_repeatable"),
    Mutant("validation is resized otherwise", "learn/loaders.py",
           "DecodedImage(photos.fit(image, self.size))",
           "DecodedImage(image.resize((self.size, self.size)))",
           "test_train.py::test_validation_sees_the_pixels_of_serving"),
    Mutant("weights are unpickled", "learn/backbone.py", "weights_only=True", "weights_only=False",
           "test_backbone.py::test_files_that_are_no_weights_run_nothing"),
    Mutant("other weights are taken for ours", "learn/backbone.py",
           "if missing or misfit or strange:", "if False:",
           "test_backbone.py::test_weights_of_another_architecture"),
    Mutant("temperature multiplies", "calibrate.py", "/ temperature", "* temperature",
           "test_evaluate.py::test_temperature_undoes_overconfidence"),
    Mutant("confusion is transposed", "judge/evaluate.py", "(targets, said), 1)",
           "(said, targets), 1)", "test_evaluate.py::test_confusion_has_the_truth_in_rows"),
    Mutant("intervals of 90 %", "judge/intervals.py", "1.959963984540054", "1.6448536269514722",
           "test_evaluate.py::test_wilson"),
    Mutant("gaps of calibration cancel", "judge/evaluate.py", "np.abs(sums).sum()",
           "abs(sums.sum())", "test_evaluate.py::test_calibration_error_of_known_gaps"),
    Mutant("a changed file is not noticed", "ship/bundle.py", 'digest != entry["sha256"] or',
           "", "test_bundle.py::test_every_file_of_the_bundle_refuses_a_changed_byte"),
    Mutant("bundle.json is not checked", "ship/bundle.py",
           "hashlib.sha256(blank).hexdigest().encode() != found[0]", "False",
           "test_bundle.py::test_every_file_of_the_bundle_refuses_a_changed_byte"),
    Mutant("hard links are followed", "ship/bundle.py", "or info.st_nlink > 1", "",
           "test_bundle.py::test_links_are_refused"),
    Mutant("extra files are ignored", "ship/bundle.py", 'set(listed) - {"bundle.json"}',
           "present", "test_bundle.py::test_a_file_too_many"),
    Mutant("pickles are just corrupt", "ship/bundle.py", "if data.startswith(", "if b'' > (",
           "test_bundle.py::test_pickles_are_called_what_they_are"),
    Mutant("data outside an ONNX file, in a constant", "ship/onnx_file.py", "5: \"tensor\", 6",
           "6", "test_bundle.py::test_data_outside_the_file_is_refused_wherever_it_hides"),
    Mutant("the self-test looks away", "ship/predict.py", "_TOLERANCE = 1e-3", "_TOLERANCE = 1.0",
           "test_bundle.py::test_a_weight_changed_with_its_checksum_fails_the_self_test"),
    Mutant("softmax twice", "ship/predict.py",
           "exp = np.exp(scaled - scaled.max(axis=-1, keepdims=True))",
           "scaled = np.exp(scaled - scaled.max(-1, keepdims=True)); "
           "exp = np.exp(scaled / scaled.sum(-1, keepdims=True))",
           "test_export.py::test_the_bundle_holds_what_it_says"),
    Mutant("parity is not asked for", "ship/export.py", "if not gap <= _CLOSE or wrong:",
           "if False:", "test_export.py::test_compare_refuses_a_difference"),
    Mutant("the old bundle goes before the new one stands", "ship/bundle.py",
           "place.replace(previous)", "shutil.rmtree(place)",
           "test_export.py::test_kill_9_at_any_moment"),
    Mutant("settings do not make a stage outdated", "pipeline.py",
           "settings = _settings(project.config, tables)", "settings: dict[str, Any] = {}",
           "test_pipeline.py::test_a_changed_setting_redoes_what_depends_on_it"),
    Mutant("nothing is ever up to date", "pipeline.py", "bool(stage.leaves)\n", "False\n",
           "test_pipeline.py::test_a_second_run_does_nothing_new"),
    Mutant("the easier question decides", "learn/blend.py", "-min(found", "min(found",
           "test_blend.py::test_the_harder_question"),
    Mutant("what cannot be told apart is told", "learn/blend.py",
           '<= np.array(harder["apart"])', "<= 0.0",
           "test_blend.py::test_what_the_harder_question_cannot"),
    Mutant("a mixture of counters only", "learn/blend.py",
           "torch.lerp(start[name], tensor, share)", "tensor",
           "test_blend.py::test_a_mixture_lies"),
    Mutant("a source stands in both halves", "learn/rehearse.py",
           "split(labels, labels, units)", "split(labels, labels, range(len(labels)))",
           "test_rehearse.py::test_no_source_and_no_copy"),
    Mutant("a rehearsal asks for what was learned", "learn/rehearse.py",
           "(mine & train, mine & ~train, ~mine)", "(mine & train, mine & ~train, mine)",
           "test_rehearse.py::test_nothing_of_the_asked"),
    Mutant("checkpoints of rehearsals are left", "learn/train.py",
           "for done in (folder, *folders(catalog)):", "for done in (folder,):",
           "test_rehearse.py::test_the_kept_weights"),
    Mutant("sources are dealt as photos", "collect/split.py",
           'if config.split.by == "source":', "if False:",
           "test_blocks.py::test_the_stage_deals"),
    Mutant("a side may stay empty", "collect/blocks.py",
           "empty if len(free) - rank <= len(empty) else number", "number",
           "test_blocks.py::test_three_sources"),
    Mutant("near-copies are parted by source", "sites.py",
           "return [home[group] for group in groups]", "return list(sources)",
           "test_blocks.py::test_near_copies_stay_together"),
    Mutant("a finder of noise is believed", "learn/cycle.py", "if not curve.falls():",
           "if False:", "test_lr.py::test_training_believes"),
    Mutant("the strength is for known sources", "learn/probe.py",
           "units if fewest > 1 else groups", "groups",
           "test_probe.py::test_the_strength_is_for_unseen_sources"),
    Mutant("a failed photo is no failure", "cli.py", "return int(failed > 0)", "return 0",
           "test_predict.py::test_one_line_per_file_in_order"),
]  # fmt: skip


def main() -> int:
    survivors = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "tree"
        leave = shutil.ignore_patterns(".venv", ".git", "data", "models", ".*_cache", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=leave)
        environment = os.environ | {"PYTHONPATH": str(copy)}
        chosen = [m for m in MUTANTS if not sys.argv[1:] or any(a in m.name for a in sys.argv[1:])]
        for mutant in chosen:
            path = copy / "bear_classifier" / mutant.file
            before = path.read_text(encoding="utf-8")
            if before.count(mutant.old) < 1:
                sys.exit(f"{mutant.file} no longer holds {mutant.old!r}")
            path.write_text(before.replace(mutant.old, mutant.new), encoding="utf-8")
            name, _, test = mutant.test.partition("::")
            words = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{name}"]
            done = subprocess.run(
                [sys.executable, *words, *(["-k", test] if test else [])],
                cwd=copy, env=environment, capture_output=True, text=True,
            )  # fmt: skip
            path.write_text(before, encoding="utf-8")
            caught = done.returncode == 1
            print(f"{'caught  ' if caught else 'SURVIVED'} {mutant.name}", flush=True)
            survivors += [] if caught else [mutant.name]
    print(f"{len(chosen) - len(survivors)} caught, {len(survivors)} survived")
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
