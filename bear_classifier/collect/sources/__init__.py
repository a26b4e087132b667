"""Where candidates come from: search engines, folders and lists."""
