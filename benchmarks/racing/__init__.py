"""Speed and memory beside other libraries: what runs, in which turns, and the page it makes."""
