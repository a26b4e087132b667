"""The model bundle: written from torch once, read with onnxruntime ever after."""
