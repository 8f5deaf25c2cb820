package org.elasticsearch.plugins;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.Build;
import org.elasticsearch.action.admin.cluster.node.info.PluginsAndModules;
import org.elasticsearch.env.Environment;
import org.elasticsearch.plugins.spi.SPIClassIterator;

/** Plugins that are loaded by class, instead of from folders with a descriptor each. */
public final class ClasspathPlugins extends PluginsService {
    private final List<LoadedPlugin> loaded;

    public ClasspathPlugins(Environment environment, List<Class<? extends Plugin>> classes) {
        super(environment.settings(), environment.configDir(), new PluginsLoader(Set.of(), Set.of(), Map.of()));
        List<LoadedPlugin> plugins = new ArrayList<>();
        for (Class<? extends Plugin> type : classes) {
            Plugin plugin = loadPlugin(type, environment.settings(), environment.configDir());
            plugins.add(new LoadedPlugin(describe(type), plugin, type.getClassLoader()));
        }
        loadExtensions(plugins);
        loaded = List.copyOf(plugins);
    }

    private static PluginDescriptor describe(Class<?> type) {
        String java = Integer.toString(Runtime.version().feature());
        return new PluginDescriptor(
            type.getSimpleName(), "from the class path", Build.current().version(), Build.current().version(),
            java, type.getName(), null, List.of(), false, false, false, false);
    }

    @Override
    protected List<LoadedPlugin> plugins() {
        return loaded == null ? List.of() : loaded; // the base constructor asks before we are ready
    }

    @Override
    public PluginsAndModules info() {
        return new PluginsAndModules(
            loaded.stream().map(plugin -> new PluginRuntimeInfo(plugin.descriptor())).toList(), List.of());
    }

    /** All plugins share one class loader, so each provider is made once, for the first that fits. */
    @Override
    public <T> List<? extends T> loadServiceProviders(Class<T> service) {
        List<T> providers = new ArrayList<>();
        Iterator<Class<? extends T>> types = SPIClassIterator.get(service, getClass().getClassLoader());
        while (types.hasNext()) {
            providers.add(make(types.next(), service));
        }
        return List.copyOf(providers);
    }

    private <T> T make(Class<? extends T> type, Class<T> service) {
        IllegalStateException refused = new IllegalStateException("no plugin can make " + type);
        for (LoadedPlugin plugin : loaded) {
            try {
                return createExtension(type, service, plugin.instance());
            } catch (IllegalStateException otherPlugin) {
                refused.addSuppressed(otherPlugin);
            }
        }
        throw refused;
    }
}
