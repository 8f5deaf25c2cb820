"""Speaking to Elasticsearch and OpenSearch: client, source, sink, templates."""
