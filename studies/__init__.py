"""Questions, runs, results and records: the evidence for what the recipes claim."""
