"""A recipe becomes objects here: its sections, YAML, models and trainers, measuring, and the folder of a run."""
