"""Fill in what is missing, in rows and in images."""
