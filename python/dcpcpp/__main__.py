"""`python -m dcpcpp`: the command line."""

from dcpcpp.cli import main

if __name__ == "__main__":
    main()
