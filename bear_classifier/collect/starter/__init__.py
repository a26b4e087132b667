"""The starter set: drawn bears, for a first run without photos or a network."""
