/* Allocations that fail: the entries for malloc and its like in the plugin's own relocation tables
 * are pointed at functions here (ELF gABI, System V; LSB "Dynamic Linking"), so that nobody else in
 * the process notices. The state is static because those functions have no argument for it. */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

static struct {
    atomic_ulong count, fail_at;
} state;

static bool fails(void)
{
    unsigned long n = atomic_fetch_add(&state.count, 1) + 1;
    if (n == atomic_load(&state.fail_at)) {
        errno = ENOMEM;
        return true;
    }
    return false;
}

static void *short_malloc(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *short_calloc(size_t count, size_t size)
{
    return fails() ? NULL : calloc(count, size);
}

static void *short_realloc(void *p, size_t size)
{
    return fails() ? NULL : realloc(p, size);
}

static void *short_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : aligned_alloc(alignment, size);
}

static int short_posix_memalign(void **p, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : posix_memalign(p, alignment, size);
}

static char *short_strdup(const char *text)
{
    return fails() ? NULL : strdup(text);
}

static char *short_strndup(const char *text, size_t len)
{
    return fails() ? NULL : strndup(text, len);
}

static uintptr_t replacement(const char *name)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } table[] = {
        {"malloc", (void (*)(void))short_malloc},
        {"calloc", (void (*)(void))short_calloc},
        {"realloc", (void (*)(void))short_realloc},
        {"aligned_alloc", (void (*)(void))short_aligned_alloc},
        {"posix_memalign", (void (*)(void))short_posix_memalign},
        {"strdup", (void (*)(void))short_strdup},
        {"strndup", (void (*)(void))short_strndup},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return (uintptr_t)table[i].function;
        }
    }
    return 0;
}

/* The tables of one loaded object. */
struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * rela[2];
    size_t rela_size[2];
};

static uintptr_t absolute(uintptr_t base, uintptr_t address)
{
    return address < base ? base + address : address; /* glibc relocates most of them, others not */
}

static void read_tables(const ElfW(Dyn) * dyn, uintptr_t base, struct tables *tables)
{
    for (; dyn->d_tag != DT_NULL; dyn++) {
        uintptr_t address = absolute(base, dyn->d_un.d_ptr);
        switch (dyn->d_tag) {
        case DT_SYMTAB:
            tables->symbols = (const void *)address;
            break;
        case DT_STRTAB:
            tables->names = (const void *)address;
            break;
        case DT_JMPREL:
            tables->rela[0] = (const void *)address;
            break;
        case DT_PLTRELSZ:
            tables->rela_size[0] = dyn->d_un.d_val;
            break;
        case DT_RELA:
            tables->rela[1] = (const void *)address;
            break;
        case DT_RELASZ:
            tables->rela_size[1] = dyn->d_un.d_val;
            break;
        default:
            break;
        }
    }
}

static void redirect(uintptr_t base, const ElfW(Rela) * entry, const struct tables *tables)
{
    const ElfW(Sym) *symbol = &tables->symbols[ELF64_R_SYM(entry->r_info)];
    uintptr_t function = replacement(tables->names + symbol->st_name);
    if (function == 0) {
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t *slot = (uintptr_t *)(base + entry->r_offset);
    void *start = (void *)((uintptr_t)slot & ~(page - 1));
    /* RELRO has made the table read-only. It stays writable: without RELRO the page may hold the
     * plugin's variables as well. */
    if (mprotect(start, page, PROT_READ | PROT_WRITE) == 0) {
        *slot = function;
    }
}

struct search {
    const void *inside; /* an address of the plugin */
    bool done;
};

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    struct search *search = arg;
    const ElfW(Dyn) *dynamic = NULL;
    bool ours = false;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        uintptr_t address = (uintptr_t)search->inside;
        ours = ours ||
               (part->p_type == PT_LOAD && address >= start && address < start + part->p_memsz);
        if (part->p_type == PT_DYNAMIC) {
            dynamic = (const void *)start;
        }
    }
    if (!ours || !dynamic) {
        return 0;
    }
    struct tables tables = {0};
    read_tables(dynamic, info->dlpi_addr, &tables);
    for (size_t t = 0; t < 2 && tables.symbols && tables.names; t++) {
        for (size_t i = 0; i < tables.rela_size[t] / sizeof(ElfW(Rela)); i++) {
            if (ELF64_R_SYM(tables.rela[t][i].r_info) != 0) {
                redirect(info->dlpi_addr, &tables.rela[t][i], &tables);
            }
        }
    }
    search->done = true;
    return 1;
}

bool kit_shortage_install(const struct kit_subject *subject)
{
    struct search search = {.inside = subject->plugin};
    (void)dl_iterate_phdr(visit, &search);
    return search.done;
}

void kit_shortage_at(unsigned long n)
{
    atomic_store(&state.fail_at, 0);
    atomic_store(&state.count, 0);
    atomic_store(&state.fail_at, n);
}

bool kit_shortage_struck(void)
{
    unsigned long at = atomic_load(&state.fail_at);
    return at != 0 && atomic_load(&state.count) >= at;
}
