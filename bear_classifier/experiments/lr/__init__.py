"""The learning-rate finder over several seeds."""
