"""`python -m pipelines.run RECIPE`: the same as `python -m pipelines run RECIPE`."""

from pipelines.commands.cli import main

if __name__ == "__main__":
    main("run")
