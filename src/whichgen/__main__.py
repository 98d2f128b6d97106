"""``python -m whichgen``: the command line."""

from whichgen.cli.app import main

if __name__ == "__main__":
    main()
