"""Studies: many short trainings, their analysis, and a plot."""
