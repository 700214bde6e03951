"""The detectors of ``anomaly.py``."""
