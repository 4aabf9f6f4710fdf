"""``python -m bitdose`` is the command line."""

import contextlib
import sys

if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C while the command line is still being imported
        from bitdose.cli import main

        main()
    sys.exit(1)  # main ends by itself
