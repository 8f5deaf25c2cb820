"""`es-rerank eval`: does reranking help on your own index and queries?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from es_rerank.cli.output import FILE, FOLDER, json_option, sayer
from es_rerank.config import Settings, load_settings
from es_rerank.datasets.judgments import Format
from es_rerank.errors import ConfigError, QualityError

if TYPE_CHECKING:
    from es_rerank.cluster.client import SearchClient
    from es_rerank.evaluation.report import Report
    from es_rerank.evaluation.runs import Endpoint
    from es_rerank.evaluation.subject import Subject


@click.command()
@click.argument("index")
@click.option("--url", help="Address of the cluster. Default: upstream.url.")
@click.option(
    "--proxy", "proxy_url", help="A proxy that runs already. Default: one is started for this."
)
@click.option("--judgments", type=FILE, help="Ratings: TREC qrels, CSV, LTR or a Quepid export.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(get_args(Format)),
    default="auto",
    show_default=True,
    help="What form the judgments have.",
)
@click.option("--queries", type=FILE, help="Words to search for: a line each, or with ids.")
@click.option("--clicks", help="UBI events to judge by: a file, or an index of the cluster.")
@click.option("--searches", help="UBI queries that belong to --clicks: a file, or an index.")
@click.option(
    "--least-views",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Times a document must have been shown for its clicks to count.",
)
@click.option("--limit", type=click.IntRange(1), help="Ask so many queries at most, by lot.")
@click.option(
    "--body", "body_file", type=FILE, help="Search body with {{query}} where the words belong."
)
@click.option(
    "--field", "text_fields", multiple=True, help="A text field to search in; repeatable."
)
@click.option("--id-field", help="Field that judgments know documents by. Default: _id.")
@click.option(
    "--run", "ways", multiple=True, metavar="NAME=JSON", help="Also with this ext.es_rerank."
)
@click.option(
    "--read-run", "run_files", multiple=True, metavar="NAME=FILE", help="Also this TREC run."
)
@click.option("--rival", default="engine", show_default=True, help="Run to compare with.")
@click.option("--measure", "measures", multiple=True, help="Such as nDCG@10; repeatable.")
@click.option("--by", multiple=True, help="Field whose variety counts. Default: brand, seller.")
@click.option(
    "--depth", type=click.IntRange(1, 1000), default=100, show_default=True, help="Hits asked for."
)
@click.option(
    "--unrated",
    type=click.Choice(["zero", "leave-out"]),
    help="Unrated documents count as 0 (default), or are left out (default with --clicks).",
)
@click.option(
    "--gain",
    type=click.Choice(["exponential", "linear"]),
    default="exponential",
    show_default=True,
    help="Of nDCG: 2^rating - 1, or the rating.",
)
@click.option("--relevant-from", type=float, default=1.0, show_default=True, help="Least rating.")
@click.option("--no-times", is_flag=True, help="Leave latency out.")
@click.option("--fail-under", "gates", multiple=True, metavar="[RUN:]MEASURE=VALUE", help="Else 5.")
@click.option("--write-verdict", is_flag=True, help="Tell the proxy, in the index's mapping.")
@click.option("--html", "html_file", type=FILE, help="Write the report as a page.")
@click.option("--out", "out_file", type=FILE, help="Write the report as JSON.")
@click.option("--save-runs", type=FOLDER, help="TREC runs.")
@json_option
@click.pass_obj
def command(obj: dict[str, Any], /, index: str, **options: Any) -> None:
    """Measure INDEX straight and reranked: relevance, variety, latency, and whether it helps.

    Example: es-rerank eval products --judgments ratings.csv --html report.html

    With queries alone (--queries) the lists are compared without judging them. Nothing is written
    to the cluster but with --write-verdict.

    Exit codes: 0 done; 2 usage; 4 the cluster cannot be reached or refuses; 5 a --fail-under was
    not met.
    """
    from es_rerank.evaluation.gate import check_gates, read_gate
    from es_rerank.evaluation.naming import read_measure
    from es_rerank.evaluation.report import as_json
    from es_rerank.evaluation.table import print_report
    from es_rerank.telemetry import configure_logging

    configure_logging("info" if obj["verbose"] else "error")
    given = {"upstream": {"url": options["url"]}, "proxy": {"host": "127.0.0.1", "port": 0}}
    settings = load_settings(obj["config_file"], given)
    gates = [read_gate(text) for text in options["gates"]]
    measures = [read_measure(text) for text in options["measures"]]
    if measures:
        measures += [gate.measure for gate in gates if gate.measure not in measures]
    if options["write_verdict"] and not options["judgments"]:
        raise ConfigError("--write-verdict needs people's judgments: name a file with --judgments")

    say = sayer(obj)
    with connected(settings) as client:
        subject = read_subject(client, options)
        report = evaluate(settings, client, index, subject, measures, options, say)
        write_files(report, options)
        if options["write_verdict"]:
            tell_proxy(client, index, report, say)
    if obj["json"]:
        click.echo(json.dumps(as_json(report), ensure_ascii=False))
    else:
        print_report(report)
    if missed := check_gates(gates, report):
        raise QualityError("; ".join(missed))


def read_subject(client: SearchClient, options: dict[str, Any]) -> Subject:
    """Queries and judgments from wherever the options say. Raises DataError or ConfigError."""
    from es_rerank.datasets.judgments import read_judgments
    from es_rerank.datasets.queries import read_queries
    from es_rerank.datasets.ubi import judge_clicks
    from es_rerank.evaluation.subject import join_subject

    queries = read_queries(options["queries"]) if options["queries"] else {}
    if options["judgments"] and options["clicks"]:
        raise ConfigError("--judgments and --clicks exclude each other: judge by one of them")
    if options["clicks"]:
        events = read_log(client, options["clicks"])
        searches = read_log(client, options["searches"]) if options["searches"] else ()
        judgments = judge_clicks(events, searches, options["least_views"])
        return join_subject(judgments, {}, options["limit"])
    if options["judgments"]:
        judgments = read_judgments(options["judgments"], options["kind"])
        return join_subject(judgments, queries, options["limit"])
    if not queries:
        raise ConfigError(
            "nothing to ask: name a file of judgments with --judgments, of queries with --queries, "
            "or UBI events with --clicks"
        )
    return join_subject(None, queries, options["limit"])


def read_log(client: SearchClient, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file, else of an index of the cluster."""
    from es_rerank.cluster.source import open_source, read_documents
    from es_rerank.datasets.ubi import read_rows

    if Path(name).is_file():
        yield from read_rows(Path(name))
        return
    if Path(name).suffix:
        raise ConfigError(f"there is no file {name}")
    for document in read_documents(client, open_source(client, name), page_size=1000):
        yield dict(document.source)


def evaluate(
    settings: Settings,
    client: SearchClient,
    index: str,
    subject: Subject,
    measures: list[Any],
    options: dict[str, Any],
    say: Any,
) -> Report:
    """Set the searches up and run the experiment."""
    from es_rerank.cli.try_ import find_text_fields
    from es_rerank.cluster.client import quote
    from es_rerank.cluster.fields import find_fields, merge_fields
    from es_rerank.evaluation.collection import ENGINE, Stand, read_template
    from es_rerank.evaluation.experiment import RERANKED, Experiment, run_experiment
    from es_rerank.evaluation.runs import read_run
    from es_rerank.models.embedder import load_embedder

    names = find_text_fields(settings, index, options["text_fields"])
    template: dict[str, Any] = {
        "query": {"multi_match": {"query": "{{query}}", "type": "most_fields", "fields": names}}
    }
    if path := options["body_file"]:
        template = read_template(path.read_text(encoding="utf-8"), str(path))
    mappings = client.request("GET", f"/{quote(index)}/_mapping")
    fields = merge_fields([find_fields(entry["mappings"]) for entry in mappings.values()])
    read = {
        name: {query: list(dict.fromkeys(ids)) for query, ids in read_run(Path(file)).items()}
        for name, file in split_pairs("--read-run", options["run_files"])
    }
    experiment = Experiment(
        subject,
        fields,
        {ENGINE: None, RERANKED: {}, **read_ways(options["ways"])},
        read,
        options["rival"],
        tuple(measures),
        options["by"],
        options["depth"],
        options["unrated"] or ("leave-out" if options["clicks"] else "zero"),
        options["gain"],
        options["relevant_from"],
        not options["no_times"],
    )

    def embed(texts: Any) -> Any:
        return load_embedder(settings.model.embedder, settings.model.device).encode(texts)

    with running_proxy(settings, options["proxy_url"], say) as proxy:
        endpoint = make_endpoint(client.url, settings)
        stand = Stand(
            endpoint, make_endpoint(proxy, settings), index, template, options["id_field"]
        )
        return run_experiment(stand, experiment, embed, find_model(proxy, settings), say)


def read_ways(ways: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The runs that --run asks for. Raises ConfigError."""
    blocks = {}
    for name, text in split_pairs("--run", ways):
        try:
            block = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--run {name}: {text!r} is no JSON ({error})") from None
        if not isinstance(block, dict):
            raise ConfigError(f"--run {name} needs an object, such as '{{\"diversity\": 0.2}}'")
        blocks[name] = block
    return blocks


def split_pairs(flag: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    """NAME=VALUE pairs. Raises ConfigError."""
    pairs = [text.partition("=") for text in given]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise ConfigError(f"{flag} takes NAME=…, not {name + sign + value!r}")
    return [(name, value) for name, _, value in pairs]


@contextmanager
def connected(settings: Settings) -> Iterator[SearchClient]:
    """A client of the cluster, closed at the end."""
    from es_rerank.cluster.client import connect_upstream

    client = connect_upstream(settings.upstream)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def running_proxy(settings: Settings, url: str | None, say: Any) -> Iterator[str]:
    """The proxy that is named, or one of our own for as long as this takes."""
    from es_rerank.proxy.server import serve_in_thread

    if url is not None:
        yield url.rstrip("/")
        return
    say("Starting a proxy; loading the model ...")
    with serve_in_thread(settings) as own:
        yield own


def make_endpoint(url: str, settings: Settings) -> Endpoint:
    """Where to search, with the cluster's credentials and certificates."""
    from es_rerank.evaluation.runs import Endpoint
    from es_rerank.proxy.upstream import Upstream

    upstream = settings.upstream
    credentials = Upstream(upstream).own_credentials()
    tls = {
        "ca_certs": str(upstream.ca_certs) if upstream.ca_certs else None,
        "cert_reqs": "CERT_REQUIRED" if upstream.verify else "CERT_NONE",
        "cert_file": str(upstream.client_cert) if upstream.client_cert else None,
        "key_file": str(upstream.client_key) if upstream.client_key else None,
    }
    headers = {name.decode(): value.decode() for name, value in credentials}
    given: dict[str, Any] = {key: value for key, value in tls.items() if value is not None}
    return Endpoint(url, headers, **given if url.startswith("https:") else {})


def find_model(proxy: str, settings: Settings) -> str:
    """The scorer's name, as the proxy says it; empty where it does not."""
    import urllib3

    token = settings.admin.token
    headers = {"x-es-rerank-token": token.get_secret_value()} if token else {}
    try:
        answer = urllib3.request(
            "GET", f"{proxy}/_es_rerank/info", headers=headers, timeout=10, retries=False
        )
        return str(answer.json()["model"]["name"]) if answer.status == 200 else ""
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError):
        return ""


def write_files(report: Report, options: dict[str, Any]) -> None:
    """The page, the JSON and the runs that were asked for."""
    from es_rerank.evaluation.page import write_page
    from es_rerank.evaluation.report import as_json
    from es_rerank.evaluation.runs import write_run

    if path := options["html_file"]:
        path.write_text(write_page(report), encoding="utf-8")
    if path := options["out_file"]:
        text = json.dumps(as_json(report), ensure_ascii=False, indent=2)
        path.write_text(text + "\n", encoding="utf-8")
    if folder := options["save_runs"]:
        folder.mkdir(parents=True, exist_ok=True)
        for name, run in report.runs.items():
            write_run(folder / f"{name}.run", run.rankings, tag=name)


def tell_proxy(client: SearchClient, index: str, report: Report, say: Any) -> None:
    """Write the verdict where the proxy reads it. Raises ConfigError where there is none."""
    from es_rerank.evaluation.verdict import write_verdict

    verdict = report.verdict
    if verdict is None:
        raise ConfigError(
            "there is no verdict to write: it needs judgments, the rival `engine`, and a proxy that"
            " reranked most searches; the notes say what became of them"
        )
    if not verdict.model:
        raise ConfigError(
            "the verdict is not written: the proxy does not say which model it has. Set [admin] "
            "token to the proxy's, or leave --proxy out"
        )
    written = write_verdict(client, index, verdict)
    acts = verdict.finding == "does-not-help"
    follows = "the proxy leaves it alone from now on" if acts else "the proxy goes on reranking it"
    say(f"Wrote the verdict {verdict.finding} into {', '.join(written)}: {follows}.")
