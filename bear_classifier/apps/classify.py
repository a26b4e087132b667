"""The page for people: show a photo, see what it is, or a sentence on why it cannot be read."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr

from bear_classifier.errors import ConfigError, PhotoError
from bear_classifier.photos import MAX_BYTES
from bear_classifier.ship.bundle import load
from bear_classifier.ship.predict import Model, Prediction

_KEEP = 600  # seconds that an upload may lie on the disk
_AT_ONCE = 2
_CSS = """
.gradio-container {max-width: 960px !important; width: 100% !important; margin: 0 auto !important}
#said {min-height: 3.5rem}
#said p {font-size: 1.25rem}
"""


def uploaded(payload: Any) -> str | None:
    """The file as it came: only our decoder opens it, not gradio's."""
    return payload.path if payload else None


def sentence(prediction: Prediction) -> str:
    """The answer in words that claim no more than the probability does."""
    if prediction.reason == "unlike_training":
        known = list(prediction.probabilities)
        return f"This does not look like {', '.join(known[:-1])} or {known[-1]}: no answer."
    p = prediction.confidence
    sure = "Almost certainly" if p >= 0.99 else "Very likely" if p >= 0.9 else "Probably"
    if not prediction.accepted or p < 0.6:
        ranked = sorted(prediction.probabilities, key=lambda c: -prediction.probabilities[c])
        return f"Hard to tell: **{ranked[0]}** or **{ranked[1]}**."
    return f"{sure} **{prediction.label}**."


def page(model: Model) -> gr.Blocks:
    """The page around one model."""
    about = model.bundle.about
    test = about["metrics"]["test"]

    def classify(path: str | None) -> tuple[str, dict[str, float] | None]:
        if path is None:
            return "", None
        try:
            prediction = model.predict(Path(path))
        except PhotoError as exc:
            return f"**This picture cannot be used.** {exc.sentence}.", None
        if prediction.reason == "unlike_training":
            return sentence(prediction), None
        return sentence(prediction), prediction.probabilities

    labels = model.bundle.labels
    with gr.Blocks(
        title=f"{about['name']} classifier", delete_cache=(_KEEP, _KEEP), analytics_enabled=False
    ) as blocks:
        question = f"{', '.join(labels[:-1])} or {labels[-1]}?"
        gr.Markdown(f"# {question[0].upper()}{question[1:]}")
        with gr.Row():
            photo = gr.Image(
                type="filepath",
                sources=["upload", "webcam", "clipboard"],
                label="Photo: drop, choose, take or paste one",
                image_mode=None,
                height=420,
            )
            photo.preprocess = uploaded
            with gr.Column():
                said = gr.Markdown(elem_id="said")
                bars = gr.Label(
                    label="How likely each class is",
                    num_top_classes=len(labels),
                    show_heading=False,
                )
        gr.Markdown(f"{_figures(test)} {_limits(about['rejection'])}")
        photo.change(
            classify,
            photo,
            [said, bars],
            api_name="predict",
            concurrency_limit=_AT_ONCE,
            show_progress="hidden",
        )
    return blocks


def _limits(rule: dict[str, Any]) -> str:
    if rule["least"] is None:
        return "It always names one of its classes, whatever the picture shows."
    return "It gives no answer to pictures that are unlike the photos it learned from."


def _figures(test: dict[str, Any]) -> str:
    if not test["n"]:
        return "This model was not tested."
    low, high = test["error_interval"]
    return (
        f"Wrong on {test['error']:.1%} of {test['n']} test photos "
        f"(95 % interval {low:.1%} to {high:.1%})."
    )


def ready(path: Path) -> Model:
    """A verified model that still answers as it did when it was published."""
    model = Model(load(path))
    model.self_test()
    return model


def serve(path: Path, host: str, port: int, max_waiting: int) -> None:
    """Open the page and wait. Raises ModelError, SelfTestError and ConfigError (PORT_TAKEN)."""
    model = ready(path)
    _check_port(host, port)
    blocks = page(model).queue(max_size=max_waiting, default_concurrency_limit=_AT_ONCE)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    print(f"Serving {path} on http://{shown}:{port} (Ctrl-C stops)", flush=True)
    launch(blocks, server_name=host, server_port=port, quiet=True)


def launch(blocks: gr.Blocks, **where: Any) -> None:
    blocks.launch(
        **where,
        css=_CSS,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        max_file_size=MAX_BYTES,
        share=False,
        enable_monitoring=False,
        strict_cors=True,
        ssr_mode=False,
        state_session_capacity=200,
        run_history=False,
        footer_links=[],
    )


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as exc:
            raise ConfigError(
                "PORT_TAKEN", f"cannot listen on {host}:{port} ({exc}); choose another with --port"
            ) from exc
