"""Run a measurement: `python -m bench NAME`. Without a name, list them."""

import argparse
import importlib

MEASUREMENTS = ("traffic", "growth", "writes", "imports", "start", "memory", "scale", "panel", "least", "php")


def main():
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure mailapi.")
    names = parser.add_subparsers(metavar="NAME")
    for name in MEASUREMENTS:
        measurement = importlib.import_module(f"bench.{name}")
        sentence = measurement.__doc__.split("\n")[0]
        command = names.add_parser(
            name,
            help=sentence.rstrip("."),
            description=measurement.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        measurement.options(command)
        command.set_defaults(run=measurement.run)
    args = parser.parse_args()
    if "run" in args:
        args.run(args)
    else:
        parser.print_help()


if __name__ == "__main__":
    main()
