"""Flows inside programs of other libraries, which are imported only when asked for by name."""
