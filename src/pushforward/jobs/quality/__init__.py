"""How good synthetic rows are."""
