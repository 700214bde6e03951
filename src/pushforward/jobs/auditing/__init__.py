"""What a model finds likely in the data, and what not: groups, regions, drift."""
