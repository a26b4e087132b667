"""Settings with their ranges, and the project file that holds them."""
