"""The engines that can be booted: their versions, what Java they need, what they are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

KindName = Literal["opensearch", "elasticsearch"]


@dataclass(frozen=True)
class Kind:
    """One engine: `plugins` are class names, `settings` go into its YAML file."""

    name: KindName
    title: str
    version: str
    java_minimum: int
    launcher: str
    plugins: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


KINDS: dict[KindName, Kind] = {
    "opensearch": Kind(
        name="opensearch",
        title="OpenSearch",
        version="2.19.1",
        java_minimum=17,
        launcher="io.esrerank.OpenSearchLauncher",
        plugins=(
            "org.opensearch.search.aggregations.matrix.MatrixAggregationPlugin",
            "org.opensearch.analysis.common.CommonAnalysisPlugin",
            "org.opensearch.geo.GeoModulePlugin",
            "org.opensearch.ingest.common.IngestCommonPlugin",
            "org.opensearch.script.expression.ExpressionPlugin",
            "org.opensearch.script.mustache.MustachePlugin",
            "org.opensearch.painless.PainlessPlugin",
            "org.opensearch.index.mapper.MapperExtrasPlugin",
            "org.opensearch.join.ParentJoinPlugin",
            "org.opensearch.percolator.PercolatorPlugin",
            "org.opensearch.index.rankeval.RankEvalPlugin",
            "org.opensearch.index.reindex.ReindexPlugin",
            "org.opensearch.transport.Netty4Plugin",
            "org.opensearch.knn.plugin.KNNPlugin",
            "org.opensearch.neuralsearch.plugin.NeuralSearch",
        ),
    ),
    "elasticsearch": Kind(
        name="elasticsearch",
        title="Elasticsearch",
        version="9.0.0",
        java_minimum=21,
        launcher="io.esrerank.ElasticsearchLauncher",
        plugins=(
            "org.elasticsearch.transport.netty4.Netty4Plugin",
            "io.esrerank.LanguagePlugin",
            "io.esrerank.RootPlugin",
        ),
        settings={"transport.type": "netty4", "http.type": "netty4"},
        # Vector arithmetic in SIMD; the engine is correct, only slower, on a runtime without it.
        modules=("jdk.incubator.vector",),
    ),
}
