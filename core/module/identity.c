#include "core/module/identity.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "whorl/msg.h"

enum { MARK_BITS = 64, MARK_MAX = 2 * MARK_BITS + 1 };

static bool digest_stream(FILE *in, uint8_t digest[32])
{
    uint8_t piece[4096];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;
    for (size_t n; good && (n = fread(piece, 1, sizeof piece, in)) > 0;) {
        good = EVP_DigestUpdate(ctx, piece, n) == 1;
    }
    good = good && ferror(in) == 0 && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

bool module_digest(const char *path, uint8_t digest[32], struct whorl_fault *fault)
{
    FILE *in = fopen(path, "re");
    if (in == NULL) {
        return whorl_fail(fault, "module", "%s: can't be opened: %s", path, strerror(errno));
    }
    bool good = digest_stream(in, digest);
    (void)fclose(in);
    return good || whorl_fail(fault, "module", "%s: can't be read", path);
}

static void make_mark(const uint8_t digest[32], char mark[MARK_MAX])
{
    size_t len = 0;
    for (unsigned bit = 0; bit < MARK_BITS; bit++) {
        mark[len++] = '/';
        if ((digest[bit / 8] >> bit % 8 & 1) != 0) {
            mark[len++] = '.';
        }
    }
    mark[len] = '\0';
}

bool module_name_of(const char *path, const uint8_t digest[32], char name[PATH_MAX])
{
    char mark[MARK_MAX];
    const char *slash = strrchr(path, '/');
    make_mark(digest, mark);
    int len = slash != NULL
                  ? snprintf(name, PATH_MAX, "%.*s%s%s", (int)(slash - path), path, mark, slash)
                  : snprintf(name, PATH_MAX, ".%s/%s", mark, path);
    return len > 0 && len < PATH_MAX;
}

bool module_is_of(const char *name, const uint8_t digest[32])
{
    char mark[MARK_MAX];
    make_mark(digest, mark);
    return strstr(name, mark) != NULL;
}
