"""``python -m bitdose`` is the command line."""

from bitdose.cli import main

if __name__ == "__main__":
    main()
