package io.esrerank;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.opensearch.cluster.service.ClusterService;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/** Boots one OpenSearch node from the class path: OpenSearchLauncher FOLDER PLUGIN_CLASS... */
public final class OpenSearchLauncher {
    private OpenSearchLauncher() {}

    private static final class LocalNode extends Node {
        LocalNode(Environment environment, List<Class<? extends Plugin>> plugins) {
            super(environment, plugins, true);
        }

        @Override
        protected void configureNodeAndClusterIdStateListener(ClusterService clusterService) {
            // it feeds a log pattern that a local node does not use
        }
    }

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]).toAbsolutePath();
        Lifeline.holdOnToParent(Boolean.getBoolean("es_rerank.temporary") ? folder : null);
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        for (int i = 1; i < args.length; i++) {
            plugins.add(Class.forName(args[i]).asSubclass(Plugin.class));
        }
        LogConfigurator.registerErrorListener();
        Settings home = Settings.builder().put("path.home", folder.toString()).build();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            home, Map.of(), folder.resolve("config"), () -> "local");
        Node node = new LocalNode(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        node.start();
        HttpServerTransport http = node.injector().getInstance(HttpServerTransport.class);
        Lifeline.tellPort(folder, http.boundAddress().publishAddress().getPort());
        Thread.currentThread().join();
    }
}
