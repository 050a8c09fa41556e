"""``python -m rgbx``."""

from rgbx.cli import main

if __name__ == "__main__":
    main()
