"""``python -m custodes`` is the command ``custodes``."""

import sys

from custodes.cli import main

sys.exit(main())
