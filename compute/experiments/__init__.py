"""Measurements: one file each, which offers what `compute.experiment.Experiment` says."""
