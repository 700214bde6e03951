"""Normals and mixtures of them: as a base, fitted by EM, with missing numbers, conditioned."""
