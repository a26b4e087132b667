"""From sources to a screened, split catalog of photos. No torch, no gradio."""
