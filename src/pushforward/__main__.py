"""``python -m pushforward`` is the command ``pushforward``."""

from .cli import main

if __name__ == "__main__":
    main()
