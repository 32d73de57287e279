"""``python -m attwin``."""

from attwin.cli.main import main

if __name__ == "__main__":
    main()
