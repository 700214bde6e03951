"""Find what does not belong, and say why."""
