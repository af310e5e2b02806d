"""``python -m transfer_cli`` is ``transfer-cli``."""

from transfer_cli.cli.main import main

if __name__ == "__main__":
    main()
