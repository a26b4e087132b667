"""The gradio app: the same answers in the same words, for its client and for embedding pages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "500"  # of 10,000 kept, requests become twice as slow

import gradio as gr
from fastapi import FastAPI
from markupsafe import Markup

from bear_classifier.errors import BearsError
from bear_classifier.runtime.templates import template
from bear_classifier.serve import limits, messages
from bear_classifier.serve.queue import Service

_CSS = """
.gradio-container {max-width: 60rem !important; margin: 0 auto !important}
.bears-answer > * + *, .bears-answer details > * + * {margin-top: .75rem}
.bears-answer .said {font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere}
.bears-answer .small {font-size: .875rem; opacity: .8}
.bears-answer summary {cursor: pointer}
.bears-bar {display: grid; grid-template-columns: minmax(4rem, 28%) 1fr 5rem; gap: 1rem; align-items: center}
.bears-bar > span {overflow: hidden; text-overflow: ellipsis; white-space: nowrap}
.bears-bar .value {text-align: right; font-variant-numeric: tabular-nums}
.bears-bar.best > span {font-weight: 650}
.bears-rail {height: .7rem; border-radius: 1rem; overflow: hidden; background: var(--border-color-primary)}
.bears-rail div {height: 100%; min-width: 3px; border-radius: 1rem; background: var(--body-text-color-subdued)}
.bears-answer:not(.unsure) .best .bears-rail div {background: var(--color-accent)}
.bears-about p + p {margin-top: .4rem}
"""  # noqa: E501
# Give the page a picture to try as if it had been chosen: through gradio's own upload.
_TRY = """async () => {{
  const root = new URL("./", location.href), form = new FormData();
  const picture = await (await fetch(new URL("../{image}", root))).blob();
  form.append("files", new File([picture], "drawn.jpg", {{ type: "image/jpeg" }}));
  const answer = await fetch(new URL("gradio_api/upload", root), {{ method: "POST", body: form }});
  const [path] = await answer.json();
  return {{ path, url: new URL(`gradio_api/file=${{path}}`, root).href, orig_name: "drawn.jpg",
    meta: {{ _type: "gradio.FileData" }} }};
}}"""


def uploaded(payload: Any) -> str | None:
    """The file as it came: only our decoder opens it, not gradio's."""
    return payload.path if payload else None


def answer_html(answer: Mapping[str, Any]) -> str:
    """What the page shows of an answer, in the words of our own page (static/page_answer.js)."""
    ranked = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])
    return template(__file__, "gradio_answer.html").render(
        sentence=answer["sentence"],
        accepted=answer["accepted"],
        refused=answer["reason"] == "unlike_training",
        ranked=ranked,
        percent=messages.whole_percent,
    )


def about_html(about: Mapping[str, Any]) -> str:
    """Figures, limits, and the way to the card, as at the foot of our page."""
    line = Markup('<p>{} <a href="../{}" target="_blank" rel="noopener">Model card</a></p>')
    kept = "Photos are deleted within two minutes."
    lines = [
        line.format(about["figures"], about["card"]),
        *map(Markup("<p>{}</p>").format, [about["limits"], kept]),
    ]
    return str(Markup('<div class="bears-about">{}</div>').format(Markup("").join(lines)))


def gradio_blocks(service: Service) -> gr.Blocks:
    """A form around the first model; `predict` for gradio_client."""
    served = service.model("")

    async def asked(path: str | None) -> Mapping[str, Any] | None:
        if path is None:
            return None
        try:
            return await service.answer(served.name, Path(path).read_bytes())
        except OSError as exc:
            raise gr.Error("Send the picture again.", print_exception=False) from exc
        except BearsError as exc:
            raise gr.Error(f"{exc.sentence}.", title=exc.code, print_exception=False) from exc

    async def predict(path: str | None) -> tuple[str, dict[str, float] | None]:
        if (answer := await asked(path)) is None:
            return "", None
        return answer["sentence"], answer["probabilities"] if answer["accepted"] else None

    async def show(path: str | None) -> str:
        answer = await asked(path)
        return answer_html(answer) if answer else ""

    about = served.description() | {"card": f"api/v1/models/{served.name}/card"}
    examples = served.to_try(f"api/v1/models/{served.name}/examples/")
    with gr.Blocks(title=about["title"], analytics_enabled=False) as blocks:
        gr.Markdown(f"# {about['title']}")
        with gr.Row():
            with gr.Column():
                photo = _photo()
                with gr.Row(visible=bool(examples)):
                    words = [f"Try a drawn picture: {one['label']}" for one in examples]
                    buttons = [gr.Button(text, size="sm") for text in words]
            with gr.Column():
                shown = gr.HTML(label="Answer")
        gr.HTML(about_html(about))
        with gr.Row(visible=False):  # for programs
            sent, sentence = _photo(), gr.Textbox(label="Answer")
            bars = gr.Label(label="How likely each class is", num_top_classes=len(about["labels"]))
        # in this order: gradio_guard.py knows the first two by their numbers
        sent.change(predict, sent, [sentence, bars], api_name="predict")
        photo.change(show, photo, shown, api_visibility="private", show_progress="hidden")
        for button, one in zip(buttons, examples, strict=True):
            script = _TRY.format(image=one["image"])
            button.click(None, None, photo, js=script, api_visibility="private")
    room = service.at_once + service.most_waiting  # so that nobody waits twice
    blocks.queue(max_size=room, default_concurrency_limit=room)
    blocks.state_session_capacity = 100
    return blocks


def _photo() -> gr.Image:
    photo = gr.Image(
        type="filepath",
        sources=["upload", "webcam", "clipboard"],
        label="Photo: drop, choose, take or paste one",
        image_mode=None,
        height=420,
    )
    photo.preprocess = uploaded
    return photo


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
