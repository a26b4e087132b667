"""Compare training recipes at equal budget."""
