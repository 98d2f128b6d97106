"""Entry point of the command-line interface for ``python -m whichgen``."""

from whichgen.cli.app import main

if __name__ == "__main__":
    main()
