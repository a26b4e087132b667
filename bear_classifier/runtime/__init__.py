"""Files, processes, threads, memory and the terminal."""
