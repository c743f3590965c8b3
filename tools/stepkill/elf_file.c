/* elf_file.c - owns the layout of ELF files.
 *
 * SPDX-License-Identifier: MIT
 *
 * Files come from anywhere: every offset is held against the size. */
#include "elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "step_arch.h"

void elf_open(struct elf_file *file, const char *path)
{
    struct stat stat;
    *file = (struct elf_file){.path = strdup(path)};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size > (off_t)sizeof(Elf64_Ehdr)) {
        void *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            file->bytes = bytes;
            file->size = (size_t)stat.st_size;
        }
    }
    close(fd);
    const Elf64_Ehdr *header = (const void *)file->bytes;
    if (header && (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
                   header->e_machine != ARCH_ELF)) {
        munmap((void *)(uintptr_t)file->bytes, file->size);
        file->bytes = NULL;
    }
}

void elf_close(struct elf_file *file)
{
    if (file->bytes)
        munmap((void *)(uintptr_t)file->bytes, file->size);
    free(file->path);
}

/* A table of the file, when it lies within. */
static const void *part(const struct elf_file *file, uint64_t offset, uint64_t size)
{
    return offset <= file->size && size <= file->size - offset && offset % 8 == 0 ? file->bytes + offset : NULL;
}

static const Elf64_Shdr *sections(const struct elf_file *file, size_t *ret_count)
{
    const Elf64_Ehdr *header = (const void *)file->bytes;
    *ret_count = header && header->e_shentsize == sizeof(Elf64_Shdr) ? header->e_shnum : 0;
    const Elf64_Shdr *table = *ret_count ? part(file, header->e_shoff, *ret_count * sizeof *table) : NULL;
    if (!table)
        *ret_count = 0;
    return table;
}

static bool visit_table(const struct elf_file *file, const Elf64_Shdr *table, const Elf64_Shdr *strings,
                        bool (*visit)(void *, const struct elf_function *), void *context)
{
    const Elf64_Sym *symbols = part(file, table->sh_offset, table->sh_size);
    if (!symbols || strings->sh_offset > file->size || strings->sh_size > file->size - strings->sh_offset ||
        strings->sh_size == 0)
        return true;
    const char *names = (const char *)file->bytes + strings->sh_offset;
    if (names[strings->sh_size - 1] != '\0')
        return true;
    for (size_t i = 0; i < table->sh_size / sizeof *symbols; i++) {
        const Elf64_Sym *symbol = &symbols[i];
        unsigned type = ELF64_ST_TYPE(symbol->st_info);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF ||
            symbol->st_name >= strings->sh_size || symbol->st_value == 0)
            continue;
        struct elf_function function = {
            .name = names + symbol->st_name,
            .address = symbol->st_value,
            .size = symbol->st_size,
            .local = ELF64_ST_BIND(symbol->st_info) == STB_LOCAL,
            .chosen_late = type == STT_GNU_IFUNC,
        };
        if (!visit(context, &function))
            return false;
    }
    return true;
}

void elf_each(const struct elf_file *file, bool (*visit)(void *context, const struct elf_function *function),
              void *context)
{
    size_t count;
    const Elf64_Shdr *table = sections(file, &count);
    for (size_t i = 0; i < count; i++)
        if ((table[i].sh_type == SHT_SYMTAB || table[i].sh_type == SHT_DYNSYM) && table[i].sh_link < count &&
            !visit_table(file, &table[i], &table[table[i].sh_link], visit, context))
            return;
}

struct search {
    const char *name;
    uint64_t address;
    struct elf_function found;
    size_t count;
};

static bool by_name(void *context, const struct elf_function *function)
{
    struct search *search = context;
    if (strcmp(function->name, search->name) != 0)
        return true;
    if (search->count == 0 || (search->found.local && !function->local)) {
        search->found = *function;
        search->count = 1;
    } else if (search->found.address != function->address && function->local == search->found.local) {
        search->count++;
    }
    return true;
}

size_t elf_find(const struct elf_file *file, const char *name, struct elf_function *ret_function)
{
    struct search search = {.name = name};
    elf_each(file, by_name, &search);
    *ret_function = search.found;
    return search.count;
}

static bool by_address(void *context, const struct elf_function *function)
{
    struct search *search = context;
    bool within = search->address >= function->address &&
                  (function->size == 0 || search->address - function->address < function->size);
    if (within && (search->count == 0 || function->address > search->found.address ||
                   (function->address == search->found.address && search->found.local))) {
        search->found = *function;
        search->count = 1;
    }
    return true;
}

bool elf_at(const struct elf_file *file, uint64_t address, struct elf_function *ret_function)
{
    struct search search = {.address = address};
    elf_each(file, by_address, &search);
    *ret_function = search.found;
    return search.count > 0;
}

bool elf_bias(const struct elf_file *file, uint64_t offset, uintptr_t mapped, uintptr_t *ret_bias)
{
    const Elf64_Ehdr *header = (const void *)file->bytes;
    if (!header || header->e_phentsize != sizeof(Elf64_Phdr))
        return false;
    const Elf64_Phdr *table = part(file, header->e_phoff, header->e_phnum * sizeof *table);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; table && i < header->e_phnum; i++)
        if (table[i].p_type == PT_LOAD && table[i].p_flags & PF_X && table[i].p_offset / page * page == offset) {
            *ret_bias = mapped - table[i].p_vaddr / page * page;
            return true;
        }
    return false;
}
