"""`python -m es_rerank.demo.catalogue`: write the sample catalogue, or check the shipped one."""

from __future__ import annotations

from pathlib import Path

import click

from es_rerank.demo.catalogue.files import DATA, SEED, differing, make_files, write_files
from es_rerank.errors import DataError


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=DATA)
@click.option("--seed", type=int, default=SEED, show_default=True)
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if the files differ.")
def main(out: Path, seed: int, check: bool) -> None:
    """Write the sample catalogue's files into a folder."""
    files = make_files(seed)
    if not check:
        write_files(files, out)
        click.echo(f"wrote {len(files)} files to {out}", err=True)
        return
    if names := differing(files, out):
        text = f"{', '.join(names)} in {out}: not what seed {seed} gives; run without --check"
        raise click.ClickException(str(DataError(text)))
    click.echo("the shipped files are what the generator makes", err=True)


if __name__ == "__main__":
    main()
