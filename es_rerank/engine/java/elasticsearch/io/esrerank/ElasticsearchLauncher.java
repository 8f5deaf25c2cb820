package io.esrerank;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.http.HttpServerTransport;
import org.elasticsearch.node.ClasspathNode;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.Plugin;

/** Boots one Elasticsearch node from the class path: ElasticsearchLauncher FOLDER PLUGIN_CLASS... */
public final class ElasticsearchLauncher {
    private ElasticsearchLauncher() {}

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]).toAbsolutePath();
        Lifeline.holdOnToParent(Boolean.getBoolean("es_rerank.temporary") ? folder : null);
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        for (int i = 1; i < args.length; i++) {
            plugins.add(Class.forName(args[i]).asSubclass(Plugin.class));
        }
        LogConfigurator.configureESLogging();
        Settings home = Settings.builder().put("path.home", folder.toString()).build();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            home, Map.of(), folder.resolve("config"), () -> "local");
        Node node = new ClasspathNode(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.prepareForClose();
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
