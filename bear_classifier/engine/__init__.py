"""Engines that do the tasks of a stage: this process, or the processes of a Ray cluster."""
