"""`python -m sesame …` and `torchrun … -m sesame …` are the command `sesame`."""

import sys

from sesame.cli.main import main

sys.exit(main())
