"""The page on which people review suspect labels."""
