"""Pages and services. FastAPI and gradio live here."""
