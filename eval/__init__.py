"""How good and how fast: datasets, runs, measures, significance, baselines and reports."""
