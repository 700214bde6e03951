"""Two tables side by side: their columns, and how far they are apart."""
