"""`python -m drkit` is the `drkit` command."""

from drkit.cli.main import main

if __name__ == "__main__":
    main()
