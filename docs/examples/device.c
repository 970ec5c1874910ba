/* A device in C: identifies somebody by one scan, over TLS. Build it with the installed SDK alone:
 *
 *     cc device.c -o device $(pkg-config --cflags --libs whorl-client)
 *     ./device localhost:7443 phone-1.pem phone-1.key ca.pem WMP1234 right-index.png
 *
 * A lost connection is no matter: the library sends the same request id again, and the server
 * searches nothing twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <whorl/client.h>

enum { IMAGE_MAX = 4 << 20, DEADLINE_MS = 60000 };

static void show_progress(void *ctx, const char *method, const msgpack_object *argument)
{
    (void)ctx;
    if (strcmp(method, "progress") == 0) {
        msgpack_object_print(stderr, *argument);
        fputc('\n', stderr);
    }
}

static void show_retrying(void *ctx, const struct whorl_fault *why, uint64_t wait_ms)
{
    (void)ctx;
    fprintf(stderr, "%s; again in %llu ms\n", why->text, (unsigned long long)wait_ms);
}

/* A probe belongs in memory that is locked and wiped, from its first byte on. */
static int read_image(const char *path, struct whorl_secret *image)
{
    FILE *file = fopen(path, "rb");
    if (!file || setvbuf(file, NULL, _IONBF, 0) != 0 || !whorl_secret_reserve(image, IMAGE_MAX)) {
        return -1;
    }
    image->len = fread(image->bytes, 1, IMAGE_MAX, file);
    int whole = feof(file) || fgetc(file) == EOF;
    fclose(file);
    return whole && image->len > 0 ? 0 : -1;
}

static void pack_request(msgpack_packer *pk, const char *officer, const struct whorl_secret *image)
{
    unsigned char random[16];
    char id[33] = "";
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort();
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    }
    msgpack_pack_map(pk, 7);
    whorl_put_str(pk, "request_id", id);
    whorl_put_str(pk, "officer", officer);
    whorl_put_str(pk, "basis", "consent");
    whorl_put_str(pk, "consent", "given");
    whorl_put_str(pk, "stop_power", "rta-163");
    whorl_put_str(pk, "reason", "Name doubted at a road check");
    whorl_put_key(pk, "samples");
    msgpack_pack_array(pk, 1);
    msgpack_pack_map(pk, 5);
    whorl_put_str(pk, "modality", "finger");
    whorl_put_str(pk, "format", "png");
    whorl_put_int(pk, "position", 2); /* right index */
    whorl_put_int(pk, "dpi", 500);
    whorl_put_bin(pk, "data", image->bytes, image->len);
}

static int identify(struct whorl_client *client, const struct whorl_secret *argument)
{
    struct whorl_fault fault = {"", ""};
    struct whorl_client_reply reply = {0};
    const struct whorl_client_listener listener = {NULL, show_progress, show_retrying};
    const struct whorl_client_request request = {
        .size = sizeof request,
        .repeatable = true, /* by its request_id */
        .method = "identify",
        .argument = argument->bytes,
        .argument_len = argument->len,
        .deadline_ms = DEADLINE_MS,
        .listener = &listener,
    };
    int answered = whorl_client_call(client, &request, &reply, &fault);
    if (answered) {
        msgpack_object_print(stdout, reply.error ? *reply.error : *reply.result);
        putchar('\n');
    } else {
        fprintf(stderr, "%s: %s\n", fault.where, fault.text);
    }
    int code = answered && !reply.error ? EXIT_SUCCESS : EXIT_FAILURE;
    whorl_client_reply_release(&reply);
    return code;
}

int main(int argc, char **argv)
{
    struct whorl_fault fault = {"", ""};
    struct whorl_secret image = {0}, argument = {0};
    msgpack_packer pk;
    if (argc != 7) {
        fprintf(stderr, "usage: device HOST:PORT CERT KEY CA OFFICER IMAGE.png\n");
        return EXIT_FAILURE;
    }
    const struct whorl_client_options options = {.size = sizeof options,
                                                 .server = argv[1],
                                                 .certificate = argv[2],
                                                 .key = argv[3],
                                                 .ca = argv[4]};
    struct whorl_client *client = whorl_client_new(&options, &fault);
    int code = EXIT_FAILURE;
    if (!client) {
        fprintf(stderr, "%s: %s\n", fault.where, fault.text);
    } else if (read_image(argv[6], &image) != 0) {
        fprintf(stderr, "%s: cannot be read, or is over 4 MiB\n", argv[6]);
    } else {
        msgpack_packer_init(&pk, &argument, whorl_secret_write);
        pack_request(&pk, argv[5], &image);
        code = identify(client, &argument);
    }
    whorl_secret_release(&image);
    whorl_secret_release(&argument);
    whorl_client_free(client);
    return code;
}
