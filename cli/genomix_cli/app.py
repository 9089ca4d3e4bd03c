"""The command ``genomix``: find the commands, parse, call one, and turn whatever happens into an exit code.

Each module of ``genomix_cli.commands`` adds itself with ``register(app)`` and imports nothing heavy at its top, so that
``genomix --help`` stays quick.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import genomix
from genomix.errors import EXIT_CODES, GenomixError, OutputError
from genomix_cli import commands
from genomix_cli.console import Settings, describe_crash, describe_error, format_traceback, say
from genomix_pipelines.termination import exit_on_sigterm

_FIRST = ("demo", "run", "init", "check", "doctor")
_GLOBAL_FLAGS = ("--debug", "--show-identifiers")
_INTERRUPTED, _READER_LEFT = 130, 141
assert {_INTERRUPTED, _READER_LEFT} <= set(EXIT_CODES)

# typer carries its own click from one version on; this is the base of its usage errors in either.
_UsageProblem = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="genomix",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Example:\n\n\b\n  genomix demo\n  genomix check study.toml && genomix run study.toml",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"genomix {genomix.__version__}")
        raise typer.Exit


@app.callback()
def genomix_(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Print a traceback (never any variable) on an error.")] = False,
    show_identifiers: Annotated[
        bool, typer.Option("--show-identifiers", help="Name samples and subjects in errors also outside a terminal.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Genetic variants and health records of the same people: features, models, explained reports."""
    settings = context.ensure_object(Settings)
    settings.debug = settings.debug or debug
    settings.show_identifiers = settings.show_identifiers or show_identifiers


def _register() -> None:
    names = sorted(info.name for info in pkgutil.iter_modules(commands.__path__))
    for name in sorted(names, key=lambda n: (_FIRST.index(n) if n in _FIRST else len(_FIRST), n)):
        register = getattr(importlib.import_module(f"{commands.__name__}.{name}"), "register", None)
        if register is not None:
            register(app)


_register()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; ``genomix.errors.EXIT_CODES`` lists them."""
    # Read when OpenMP and OpenBLAS are loaded, so set before anything heavy is imported: their idle threads spin.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    gc.set_threshold(100_000, 50, 50)  # importing the numerical packages makes a million objects that stay
    settings = Settings()
    try:
        with exit_on_sigterm():
            code = _invoke(_flags_first(sys.argv[1:] if argv is None else list(argv)), settings)
            sys.stdout.flush()
    except BaseException as error:
        return _exit_code(error, settings)
    return code


def _invoke(arguments: list[str], settings: Settings) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("genomix", arguments, obj=settings) as context:
            command.invoke(context)
    except typer.Exit as error:
        return int(error.exit_code)
    return 0


def _flags_first(arguments: list[str]) -> list[str]:
    """Let the global flags stand anywhere before ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [a for a in arguments[:end] if a in _GLOBAL_FLAGS]
    return [*flags, *(a for a in arguments[:end] if a not in _GLOBAL_FLAGS), *arguments[end:]]


def _exit_code(error: BaseException, settings: Settings) -> int:
    with contextlib.suppress(OSError):  # stderr itself may be full or gone
        code = _tell(error, settings)
        sys.stderr.flush()
        return code
    return OutputError.exit_code


def _tell(error: BaseException, settings: Settings) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1 if error.code else 0
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        say("interrupted")
        return _INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return _READER_LEFT
    if isinstance(error, _UsageProblem):
        error.show()  # type: ignore[attr-defined]  # found by name above
        return int(error.exit_code)  # type: ignore[attr-defined]  # found by name above
    if settings.debug:
        say(format_traceback(error, settings))
    known = _as_user_error(error)
    if known is None:
        say(describe_crash(error))
        return 1
    say(describe_error(known, settings))
    return known.exit_code


def _as_user_error(error: BaseException) -> GenomixError | None:
    """Return what a user can mend: our own errors, and a full disk wherever it showed."""
    from genomix.provenance import no_room

    if isinstance(error, GenomixError):
        return error
    number = no_room(error)
    if number is None:
        return None
    _silence_stdout()
    return OutputError(f"cannot write: {os.strerror(number)}", hint="free space or choose another place to write to")


def _silence_stdout() -> None:
    """Keep the interpreter from trying once more, at its end, to write what could not be written."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
