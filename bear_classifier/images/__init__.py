"""Picture files: their formats, the one decoder, and perceptual hashes."""
