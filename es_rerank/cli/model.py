"""`es-rerank model`: rerankers made smaller, or for another runtime, and what that cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from es_rerank.cli.output import json_option

if TYPE_CHECKING:
    from es_rerank.models.compact.labels import LabelledList
    from es_rerank.models.compact.quality import Comparison, PairModel

Function = TypeVar("Function", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Make a cross-encoder smaller or move it to another runtime, and measure what that cost.

    Example: es-rerank model quantize /models/reranker /models/reranker-int8

    MODEL is a folder or a hub id; `default` is the package's own reranker.

    Each ends in a table of size, speed and quality beside the original, and refuses (exit code 5)
    what loses more than 0.005 nDCG@10 on held-out weak labels.
    """


def made_options(function: Function) -> Function:
    """What all of them take."""
    for decorate in (
        json_option,
        click.option("--force", is_flag=True, help="Keep the model whatever it loses."),
        click.option(
            "--labels",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help='Weak labels to judge by, lines of {"query", "texts", "gains"}; by default of the '
            "sample catalogue.",
        ),
        click.argument("out", type=click.Path(path_type=Path)),
        click.argument("model"),
    ):
        function = decorate(function)
    return function


@command.command()
@made_options
@click.pass_context
def quantize(ctx: click.Context, model: str, out: Path, labels: Path | None, force: bool) -> None:
    """Write MODEL to the folder OUT with its matrices in int8: a quarter of the size.

    Example: es-rerank model quantize /models/reranker /models/reranker-int8

    One of our own rerankers has no matrices in its folder but an adapter's: it is read in int8.
    """
    from es_rerank.models.compact.quantize import quantize as write
    from es_rerank.models.compact.reranker import quantize_reranker
    from es_rerank.models.manifest import find_folder

    ours = find_folder(model)

    def work(folder: Path, _: list[LabelledList]) -> None:
        if ours is not None:
            quantize_reranker(ours, folder)
        else:
            write(model, folder)

    make(ctx, model, out, labels, force, work)


@command.command()
@click.option("--layers", type=click.IntRange(min=1), help="How many layers to keep.")
@click.option(
    "--vocabulary",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Texts, one a line, whose words are kept: the catalogue's, and its searches'.",
)
@made_options
@click.pass_context
def prune(
    ctx: click.Context,
    model: str,
    out: Path,
    labels: Path | None,
    force: bool,
    layers: int | None,
    vocabulary: Path | None,
) -> None:
    """Write MODEL to the folder OUT with fewer layers, or with the words of a catalogue alone.

    Example: es-rerank model prune /models/reranker /models/reranker-4 --layers 4
    """
    from es_rerank.models.compact.prune import prune as write
    from es_rerank.models.compact.reranker import prune_reranker
    from es_rerank.models.manifest import find_folder

    ours = find_folder(model)
    if layers is None and vocabulary is None:
        raise click.UsageError("say what to prune: --layers, --vocabulary, or both")

    def work(folder: Path, lists: list[LabelledList]) -> None:
        if ours is not None:
            prune_reranker(ours, folder, lists, layers, vocabulary is not None)
            return
        texts: Iterable[str] | None = None
        if vocabulary is not None:
            texts = vocabulary.read_text(encoding="utf-8").splitlines()
        write(model, folder, lists, layers, texts)

    make(ctx, model, out, labels, force, work)


@command.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "openvino"]),
    required=True,
    help="The runtime: onnxruntime or OpenVINO, by the extras of those names.",
)
@made_options
@click.pass_context
def export(
    ctx: click.Context, model: str, out: Path, labels: Path | None, force: bool, form: Any
) -> None:
    """Write MODEL to the folder OUT for another runtime.

    Example: es-rerank model export /models/reranker /models/reranker-onnx --format onnx
    """
    from es_rerank.models.compact.export import export as write
    from es_rerank.models.compact.reranker import refuse_export
    from es_rerank.models.manifest import find_folder

    if (ours := find_folder(model)) is not None:
        refuse_export(ours)
    make(ctx, model, out, labels, force, lambda folder, _: write(model, folder, form))


def make(
    ctx: click.Context,
    model: str,
    out: Path,
    labels: Path | None,
    force: bool,
    write: Callable[[Path, list[LabelledList]], None],
) -> None:
    """Make a model's folder, measure it, and keep it where it is good enough.

    Raises QualityError where it is not.
    """
    from es_rerank.demo.labels import make_labels
    from es_rerank.models.compact.folder import making
    from es_rerank.models.compact.labels import read_labels, split
    from es_rerank.models.compact.quality import check, compare

    lists = make_labels() if labels is None else read_labels(labels)
    chosen_by, held_out = split(lists)
    with making(out) as folder:
        write(folder, chosen_by)
        (original, source), (made, _) = load_pairs(model), load_pairs(str(folder))
        comparison = compare(original, made, held_out, (source, folder))
        show(comparison, ctx.obj["json"])
        if not force:
            check(comparison)


def load_pairs(model: str) -> tuple[PairModel, Path]:
    """One of our rerankers, or any cross-encoder, on the CPU, and its folder."""
    from es_rerank.models import manifest
    from es_rerank.models.compact import folder
    from es_rerank.models.cross_encoder import load_cross_encoder
    from es_rerank.models.reranker import load_reranker

    ours = manifest.find_folder(model)
    if ours is not None:
        return load_reranker(ours, "cpu"), ours
    return load_cross_encoder(model, "cpu"), folder.find_folder(model)


def show(comparison: Comparison, as_json: bool) -> None:
    """The table, or its values as one JSON object."""
    if as_json:
        click.echo(json.dumps(asdict(comparison) | {"loss": comparison.loss}))
        return
    before, after = comparison.original, comparison.made
    rows = (
        ("", "original", "made", ""),
        ("size, MB", f"{before.megabytes:.1f}", f"{after.megabytes:.1f}",
         f"x {after.megabytes / before.megabytes:.2f}"),
        ("pairs/s", f"{before.pairs_per_s:.1f}", f"{after.pairs_per_s:.1f}",
         f"x {after.pairs_per_s / before.pairs_per_s:.2f}"),
        ("nDCG@10", f"{before.ndcg:.4f}", f"{after.ndcg:.4f}", f"{-comparison.loss:+.4f}"),
        ("order, tau", "", f"{comparison.tau:.4f}", ""),
    )  # fmt: skip
    for name, *cells in rows:
        click.echo(f"{name:<12}" + "".join(f"{cell:>12}" for cell in cells).rstrip())
    click.echo(f"{comparison.lists} held-out lists of weak labels; the original in fp32")
