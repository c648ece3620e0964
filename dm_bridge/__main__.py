"""``python -m dm_bridge`` is ``dm-bridge``."""

from dm_bridge.cli.main import main

if __name__ == "__main__":
    main()
