"""The command line: `whichgen`. Modules here import torch only when a command runs."""
