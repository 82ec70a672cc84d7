"""`python -m pipelines COMMAND`: what `wd COMMAND` does, without installation."""

from pipelines.commands.cli import main

if __name__ == "__main__":
    main()
