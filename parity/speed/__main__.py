"""`python -m parity.speed [NAME ...]`."""

import argparse
import sys

from parity.speed.command import add_arguments, main

parser = argparse.ArgumentParser(prog="python -m parity.speed", description=main.__doc__)
add_arguments(parser)
sys.exit(main(parser.parse_args()))
