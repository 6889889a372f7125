"""`python -m drkit` is the `drkit` command."""

from drkit.cli.start import main

if __name__ == "__main__":
    main()
