"""Write docs/configuration.md, docs/command-line.md and es-rerank.example.toml from the code.

python docs/generate.py            writes them
python docs/generate.py --check    writes nothing; exits with 1 when one of them is out of date
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import annotated_types as bounds
import click
from pydantic import SecretStr

from es_rerank import errors
from es_rerank.cli.main import INTERRUPTED, cli
from es_rerank.config import (
    API_KEY_FALLBACKS,
    ENV_DELIMITER,
    ENV_PREFIX,
    SECRETS,
    URL_FALLBACKS,
    list_settings,
)


def spell_variable(key: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + key.replace(".", ENV_DELIMITER).upper()


ROOT = Path(__file__).parent.parent
INDEX_SECTION = "indices.NAME"
PATTERN = "products-*"
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "file"}
SYMBOLS = {bounds.Ge: "≥", bounds.Gt: ">", bounds.Le: "≤", bounds.Lt: "<"}
SAMPLES = {"text": '"..."', "integer": "4", "number": "0.3", "true or false": "true"}
SAMPLES |= {"file": '"/path/to/file"', "list of texts": "[]", "table": "{}"}
SAMPLE_SIZES = {"rank_window_size": "50", "max_tokens": "256"}

CONFIGURATION = f"""\
# Configuration

<!-- Written by docs/generate.py from es_rerank/config/. -->

Every setting has a default; `es-rerank serve` runs without any file. A setting is taken from, in
this order:

1. the command's flag ([command line](command-line.md)),
2. the environment: `{ENV_PREFIX}` and the setting's key with `{ENV_DELIMITER}` for each dot, such
   as `{spell_variable("rerank.diversify.diversity")}=0.3`. Lists are written as JSON, such as
   `{spell_variable("rerank.text_fields")}='["title", "body"]'`. An empty variable counts as
   not set,
3. the TOML file: the one that `--config` names, else `es-rerank.toml` in the working directory
   ([an example](../es-rerank.example.toml)),
4. the variables that other tools know: {{urls}} for
   `upstream.url`, {{keys}} for `upstream.api_key`,
5. the default.

`es-rerank config show --origin` prints every setting as it holds, and where it comes from. A key
that does not exist is an error, which names the nearest that does.

Secrets never stand in the TOML file: {{secrets}}
come by the environment, or from the file that the setting with `_file` at its end names.
Credentials in an address (`https://user:password@host`) are taken from the environment and from
flags, and used for es-rerank's own calls alone: what clients send is passed on as they send it.

Where the local engines lie and which Java they run on is set by `ES_RERANK_CACHE` and
`ES_RERANK_JAVA` ([local engines](engines.md)). `NO_COLOR`, `HF_HOME` and `HF_HUB_OFFLINE` mean what
they mean elsewhere.
"""

INDEX_NOTE = f"""\
`NAME` is an index name or a pattern, quoted in TOML: `[indices."{PATTERN}"]`. What is not given
there follows `[rerank]`.
"""

COMMAND_LINE = """\
# Command line

<!-- Written by docs/generate.py from es_rerank/cli. -->

Data go to stdout; messages, questions and progress to stderr. `-h` and `--help` explain every
command. Settings that no flag names: [configuration](configuration.md). Codes that scripts can
rely on: [exit codes](#exit-codes).

`--json` prints one object whose keys are kept: `try` gives `query`, `index`, `fields`, and `before`
and `after`, each with the engine-shaped `hits`, their `total` and the header's `mark`; `demo`
gives `queries`, each with `query`, `before`, `after` (`hits` of `id`, `title`, `brand`, `price`;
`ndcg10`, `ild10`, `brands10`) and `added_ms`, and `means` of the same measures; `eval` is
explained [on its own page](evaluation.md#in-a-pipeline).

To complete words with the Tab key, put `eval "$(es-rerank completion bash)"` into `~/.bashrc`; zsh
and fish likewise.
"""

EXAMPLE = """\
# Every setting with its default; where there is none, a sample. Copy this file to es-rerank.toml
# and take away the # of what you want to change. docs/configuration.md explains it all.
# Secrets do not belong here: name a file that holds the secret, or set
# {secrets}.
"""


def main() -> None:
    """Write the files, or check them."""
    texts = generate()
    stale = [path for path, text in texts.items() if read(path) != text]
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"out of date: {', '.join(map(str, stale))}; run python docs/generate.py")
        return
    for path, text in texts.items():
        (ROOT / path).write_text(text, encoding="utf-8")


def read(path: Path) -> str | None:
    """The file as it is; None where there is none."""
    return (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else None


def generate() -> dict[Path, str]:
    """Each generated file's text by its path from the repository's root."""
    return {
        Path("docs/configuration.md"): write_configuration(),
        Path("docs/command-line.md"): write_command_line(),
        Path("es-rerank.example.toml"): write_example(),
    }


def list_sections() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Each table of the TOML file with its (key, field) pairs."""
    for section, settings in groupby(
        list_settings(), lambda setting: setting[0].rpartition(".")[0]
    ):
        yield section, [(key.rpartition(".")[2], field) for key, field in settings]


def write_configuration() -> str:
    """docs/configuration.md: a table of each section's settings."""
    parts = [
        CONFIGURATION.format(
            urls=spell(URL_FALLBACKS),
            keys=spell(API_KEY_FALLBACKS),
            secrets=spell([".".join(secret) for secret in SECRETS]),
        )
    ]
    for section, settings in list_sections():
        rows = [
            f"| `{key}` | {describe_type(field)} | {describe_default(field)} | "
            f"{cell(field.description)} |"
            for key, field in settings
        ]
        note = f"{INDEX_NOTE}\n" if section == INDEX_SECTION else ""
        table = "\n".join(["| Key | Value | Default | Meaning |", "|---|---|---|---|", *rows])
        parts.append(f"## [{section}]\n\n{note}{table}\n")
    return "\n".join(parts)


def write_example() -> str:
    """es-rerank.example.toml: every setting that may stand in the file, commented out."""
    parts = [
        EXAMPLE.format(secrets=", ".join(spell_variable(".".join(secret)) for secret in SECRETS))
    ]
    for section, settings in list_sections():
        name = section.replace(INDEX_SECTION, f'indices."{PATTERN}"')
        lines = [f"[{name}]"]
        for key, field in settings:
            if field.annotation in {SecretStr, SecretStr | None}:
                continue
            sample = SAMPLE_SIZES.get(key) or SAMPLES.get(value_name(field), '"..."')
            default = read_default(field)
            value = sample if default is None else json.dumps(default)
            lines += [f"# {field.description}", f"# {key} = {value}"]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def write_command_line() -> str:
    """docs/command-line.md: each command's help, and the exit codes."""
    parts = [COMMAND_LINE]
    for path, command in list_commands(cli, ("es-rerank",)):
        name = " ".join(path)
        parts.append(f"{'#' * max(len(path), 2)} {name}\n\n{format_command(name, command)}")
    rows = [f"| {code} | {cell(meaning)} |" for code, meaning in sorted(exit_codes().items())]
    parts.append("## Exit codes\n\n" + "\n".join(["| Code | Meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def list_commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield a command and those below it, each with its words."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from list_commands(below, (*path, name))


def format_command(name: str, command: click.Command) -> str:
    """A command's usage, explanation and options."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"```\n{usage}\n```\n"]
    for paragraph in inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n"):
        if paragraph.startswith("Example: "):
            parts.append(f"```\n{paragraph.removeprefix('Example: ')}\n```\n")
        else:
            parts.append(" ".join(paragraph.split()) + "\n")
    records = (
        parameter.get_help_record(context)
        for parameter in command.params
        if isinstance(parameter, click.Option)
    )
    rows = [
        f"| `{cell(record[0])}` | {cell(record[1])} |" for record in records if record is not None
    ]
    if rows:
        parts.append("\n".join(["| Option | |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def exit_codes() -> dict[int, str]:
    """Each exit code's meaning: the first line of the error class that brings it in."""
    codes = {0: "Done.", INTERRUPTED: "Interrupted by Ctrl-C."}
    for error in vars(errors).values():
        if isinstance(error, type) and "exit_code" in vars(error):
            own: Any = error
            codes[own.exit_code] = str(inspect.getdoc(error)).splitlines()[0]
    return codes


def value_name(field: Any) -> str:
    """What a setting's value is, in a word."""
    kind = field.annotation
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "list of texts"
    if typing.get_origin(kind) is dict:
        return "table"
    return "secret" if kind is SecretStr else NAMES[kind]


def describe_type(field: Any) -> str:
    """What a setting's value may be, with its bounds."""
    limits = [
        f"{SYMBOLS[type(bound)]} {getattr(bound, type(bound).__name__.lower()):,}"
        for bound in field.metadata
        if type(bound) in SYMBOLS
    ]
    return ", ".join([value_name(field), *limits])


def describe_default(field: Any) -> str:
    """A setting's default as TOML writes it; a dash where there is none."""
    default = read_default(field)
    return "–" if default is None else f"`{json.dumps(default)}`"


def read_default(field: Any) -> Any:
    """A setting's default; None where there is none."""
    return field.get_default(call_default_factory=True)


def spell(names: typing.Sequence[str]) -> str:
    """Names as `a`, `b` and `c`."""
    quoted = [f"`{name}`" for name in names]
    return ", ".join(quoted[:-1]) + f" and {quoted[-1]}"


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
