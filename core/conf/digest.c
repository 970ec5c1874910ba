#include "core/conf/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

static bool digest_text(const char *text, size_t len, uint8_t digest[32])
{
    return EVP_Digest(text, len, digest, NULL, EVP_sha256(), NULL) == 1;
}

/* What an instance is started with: when this is the same, it need not be replaced. */
static void print_instance(const struct conf *conf, const struct conf_plugin *plugin, FILE *out)
{
    fprintf(out, "# data in %s\n# content ", conf->core.data_dir);
    for (size_t i = 0; i < sizeof plugin->content; i++) {
        fprintf(out, "%02x", plugin->content[i]);
    }
    fputc('\n', out);
    print_plugin(plugin, out);
}

/* Digests what print_effective (plugin NULL) or print_instance writes. */
static bool digest_print(const struct conf *conf, const struct conf_plugin *plugin,
                         uint8_t digest[32])
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) {
        return false;
    }
    if (plugin) {
        print_instance(conf, plugin, out);
    } else {
        print_effective(conf, out);
    }
    bool whole = ferror(out) == 0;
    whole = fclose(out) == 0 && whole;
    whole = whole && digest_text(text, len, digest);
    free(text);
    return whole;
}

bool digest_all(struct conf *conf)
{
    for (size_t i = 0; i < conf->plugin_count; i++) {
        struct conf_plugin *plugin = (struct conf_plugin *)&conf->plugins[i];
        if (!digest_print(conf, plugin, plugin->digest)) {
            return false;
        }
    }
    return digest_print(conf, NULL, conf->digest);
}
