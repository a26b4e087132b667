"""The gradio app: the same predictions for its client and for embedding pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "500"  # of 10,000 kept, requests become twice as slow

import gradio as gr
from fastapi import FastAPI

from bear_classifier.errors import BearsError
from bear_classifier.serve import limits
from bear_classifier.serve.queue import Service

_CSS = ".gradio-container {max-width: 60rem !important; margin: 0 auto !important}"


def uploaded(payload: Any) -> str | None:
    """The file as it came: only our decoder opens it, not gradio's."""
    return payload.path if payload else None


def gradio_blocks(service: Service) -> gr.Blocks:
    """A form around the first model; `predict` for gradio_client."""
    served = service.model("")

    async def predict(path: str | None) -> tuple[str, dict[str, float] | None]:
        if path is None:
            return "", None
        try:
            answer = await service.answer(served.name, Path(path).read_bytes())
        except OSError as exc:
            raise gr.Error("Send the picture again.", print_exception=False) from exc
        except BearsError as exc:
            raise gr.Error(f"{exc.sentence}.", title=exc.code, print_exception=False) from exc
        return answer["sentence"], answer["probabilities"] if answer["accepted"] else None

    about = served.description()
    with gr.Blocks(title=about["title"], analytics_enabled=False) as blocks:
        gr.Markdown(f"# {about['title']}")
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
                sentence = gr.Textbox(label="Answer", show_label=False, interactive=False)
                bars = gr.Label(
                    label="How likely each class is",
                    num_top_classes=len(about["labels"]),
                    show_heading=False,
                )
        gr.Markdown(f"{about['figures']} {about['limits']}")
        photo.change(predict, photo, [sentence, bars], api_name="predict", show_progress="hidden")
    room = service.at_once + service.most_waiting  # so that nobody waits twice
    blocks.queue(max_size=room, default_concurrency_limit=room)
    blocks.state_session_capacity = 100
    return blocks


def mount(app: FastAPI, service: Service, path: str, uploads: Path) -> None:
    """Put it under a path. uploads: a folder of ours for what is sent."""
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    gr.mount_gradio_app(
        app,
        gradio_blocks(service),
        path=path,
        css=_CSS,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        max_file_size=limits.MAX_PHOTO_BYTES,
        show_error=True,
        enable_monitoring=False,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
    )
