"""The worker process of the service: decodes and classifies one photo after the other.

`python -m bear_classifier.serve.inference_worker MODELS MEMORY`, where MODELS is JSON, name to
path and checksum, and MEMORY how many bytes of addresses the process may have.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from bear_classifier.errors import ModelError
from bear_classifier.images import decoder
from bear_classifier.runtime.process_worker import needed, serve_requests
from bear_classifier.serve.messages import answer_sentence
from bear_classifier.ship.bundle import load
from bear_classifier.ship.class_activation_map import CamHead, cam_head, explain
from bear_classifier.ship.nearest_photos import SimilarPhotos, of
from bear_classifier.ship.predict import Model

_HELD = 3  # models at once in one process, whose memory is limited
_SIMILAR = 4
_NICE = 5  # refusals and health checks go before predictions
_MAPS = 3  # of the likeliest classes
_COPY = 1024  # pixels, longer side of a photo that is kept


class Held:
    """A model, and what of its bundle is read only when somebody asks why."""

    def __init__(self, model: Model) -> None:
        self.model = model

    @cached_property
    def head(self) -> CamHead:
        return cam_head(self.model.bundle)

    @cached_property
    def pictures(self) -> SimilarPhotos | None:
        return of(self.model.bundle)


class Models:
    """bundles: name to (path, checksum) of each bundle that is served."""

    def __init__(self, bundles: Mapping[str, tuple[str, str]]) -> None:
        self.bundles = bundles
        self._held: OrderedDict[str, Held] = OrderedDict()

    def get(self, name: str) -> Held:
        """Raises ModelError, also (MODEL_REPLACED) for a bundle that was published meanwhile."""
        if name not in self._held:
            try:
                self._held[name] = self._read(name)
            except MemoryError:  # with less beside it, it may fit
                self._held.clear()
                self._held[name] = self._read(name)
        self._held.move_to_end(name)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return self._held[name]

    def _read(self, name: str) -> Held:
        path, checksum = self.bundles[name]
        bundle = load(Path(path))
        if bundle.about["checksum"] != checksum:
            raise ModelError("MODEL_REPLACED", f"{name} was published anew; start again")
        return Held(Model(bundle, threads=1))


def work(models: Models, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """As `answered`, or as `measure_model` for do: "measure".

    Memory that is lacking beside a photo that was decoded is no photo's fault."""
    try:
        if header["do"] == "measure":
            return measure_model(models, header["model"])
        return answered(models, header, body)
    except MemoryError as exc:
        words = f"there is not enough memory to answer with {header['model']}; see serve.memory"
        raise ModelError("MODEL_TOO_LARGE", words) from exc


def measure_model(models: Models, name: str) -> dict[str, Any]:
    """What this process needs for a model that passes its self-test and answers to a picture as
    large as any may be, with maps: bytes as in `worker.needed`, and seconds of the processor to
    load it and for that answer."""
    picture = decoder.largest()
    seconds = {}
    for word, body in (("load", b""), ("check", b""), ("explain", picture)):
        began = time.process_time()
        work(models, {"model": name, "do": word}, body)
        seconds[word] = time.process_time() - began
    return {"load": seconds["load"], "answer": seconds["explain"], **needed()}


def answered(models: Models, header: Mapping[str, Any], body: bytes) -> dict[str, Any]:
    """header: model, its name, and do: "load", "check", or as in `Service.answer`. body: of the
    photo."""
    held = models.get(header["model"])
    model = held.model
    if header["do"] == "check":
        model.self_test()
    if header["do"] in ("load", "check"):
        return {}
    decoder.check_bytes(len(body))
    decoder.format_of_stranger(body)
    prediction = model.predict(body)
    answer = dataclasses.asdict(prediction)
    answer["sentence"] = answer_sentence(prediction)
    if header["do"] == "explain":
        ranked = sorted(prediction.probabilities, key=lambda name: -prediction.probabilities[name])
        shown = ranked[:_MAPS]
        numbers = [model.bundle.labels.index(label) for label in shown]
        explanation = explain(model, held.head, body, numbers)
        answer["photo"] = data_url(decoder.encode(explanation.photo, quality=85))
        answer["maps"] = [
            {"label": label, "image": data_url(decoder.encode(image, quality=85))}
            for label, image in zip(shown, explanation.maps, strict=True)
        ]
        if held.pictures:
            answer["similar"] = [
                {
                    "label": one.label,
                    "image": data_url(one.jpeg),
                    "about": one.about,
                    "source": one.page if one.page.startswith(("http://", "https://")) else "",
                }
                for one in held.pictures.nearest(explanation.pooled, _SIMILAR)
            ]
    if header["do"] == "copy":
        image = decoder.decode(body)
        image.thumbnail((_COPY, _COPY))
        answer["copy"] = base64.b64encode(decoder.encode(image, quality=90)).decode()
    return answer


def data_url(jpeg: bytes) -> str:
    """The picture as a data: address, for a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(_NICE)
    models = Models(json.loads(sys.argv[1]))
    serve_requests(lambda header, body: work(models, header, body), int(sys.argv[2]))
