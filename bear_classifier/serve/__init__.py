"""The service: an HTTP API, the page for visitors, gradio."""
