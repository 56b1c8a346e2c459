"""Formats the help of a command: headings are bold on a terminal, examples keep their lines."""

from __future__ import annotations

import inspect
import os

import click


class _Formatter(click.HelpFormatter):
    def write_heading(self, heading: str) -> None:
        """Print a bold heading; ``click.echo`` removes the style without a terminal, dumb ones get none."""
        told = f"{heading}:"
        if os.environ.get("TERM") != "dumb":
            told = click.style(told, bold=True)
        self.write(f"{'':>{self.current_indent}}{told}\n")


class _Context(click.Context):
    formatter_class = _Formatter


class Command(click.Command):
    """A command whose epilog is a list of examples, one per line."""

    context_class = _Context

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples as they are written."""
        write_examples(self, formatter)


class Group(click.Group):
    """The commands, in the order in which a new user needs them."""

    context_class = _Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names in the order in which they were given."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples as they are written."""
        write_examples(self, formatter)


def write_examples(command: click.Command, formatter: click.HelpFormatter) -> None:
    """Print the examples of a command, each with its explanation beside or below it.

    In the epilog, at least two spaces separate an example and its explanation.
    """
    lines = inspect.cleandoc(command.epilog or "").splitlines()
    pairs = [line.partition("  ")[::2] for line in lines]
    column = max((len(typed) for typed, _ in pairs), default=0) + 2
    longest = max((len(why.strip()) for _, why in pairs), default=0)
    beside = formatter.current_indent + 2 + column + longest <= formatter.width
    with formatter.section("Examples"):
        margin = " " * formatter.current_indent
        for typed, why in pairs:
            gap = " " * (column - len(typed)) if beside else f"\n{margin}    "
            formatter.write(f"{margin}{typed}{gap}{why.strip()}\n")
