"""``transfer-cli`` for tests; unlike the installed command, Python then also imports files of the current folder."""

from transfer_cli.cli.main import main

if __name__ == "__main__":
    main()
