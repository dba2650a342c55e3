/* What stands where a model file should: told by its first bytes, so that the refusal says what to do. */
#include "formats/checkpoint/container.h"

#include "formats/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct { const char *bytes; size_t n, at; const char *what; } magics[] = {
    {"\x1f\x8b", 2, 0, "a gzip file: unpack it first"},
    {"\x28\xb5\x2f\xfd", 4, 0, "zstd frames: unpack them first"},
    {"\xfd" "7zXZ", 5, 0, "an xz file: unpack it first"},
    {"7z\xbc\xaf", 4, 0, "a 7z file: unpack it first"},
    {"PK\5\6", 4, 0, "an empty zip file"},
    {"ustar", 5, 257, "a tar archive: unpack it first"},
    {"\x93NUMPY", 6, 0, "a NumPy array"},
    {"\x89HDF", 4, 0, "an HDF5 file (weights of TensorFlow or Keras), which is not read here"},
    {"GGUF", 4, 0, "a GGUF file, which is not read here"},
    {"RIFF", 4, 0, "audio"}, {"fLaC", 4, 0, "audio"}, {"ID3", 3, 0, "audio"}, {"OggS", 4, 0, "audio"}};

/* A text's first bytes, whatever case it is written in. */
static int begins(const mert_mapping *m, size_t at, const char *with)
{
    size_t n = strlen(with);
    return m->size - at >= n && !strncasecmp((const char *)m->data + at, with, n);
}

/* https://git-lfs.github.com/spec/v1: lines of "key value", among them "size N". 0: it is none. */
static int is_pointer(const mert_mapping *m, char *size, size_t room)
{
    static const char first[] = "version https://git-lfs.github.com/spec/";
    char text[1025], *at;
    size_t n = m->size < sizeof text ? m->size : sizeof text - 1;
    if (m->size >= sizeof text || !begins(m, 0, first))
        return 0;
    memcpy(text, m->data, n);
    text[n] = 0;
    at = strstr(text, "\nsize ");
    snprintf(size, room, "%.*s", at ? (int)strspn(at + 6, "0123456789") : 0, at ? at + 6 : "");
    return 1;
}

static int all_zero(const mert_mapping *m)
{
    size_t n = m->size < 1 << 16 ? m->size : 1 << 16;
    for (size_t i = 0; i < n; i++)
        if (m->data[i])
            return 0;
    return 1;
}

int mert_checkpoint_identify(const char *path, const mert_mapping *m, mert_error *e)
{
    char size[24];
    size_t at = 0;
    if (is_pointer(m, size, sizeof size))
        return mert_fail(e, "%s: this is a git-lfs pointer%s%s%s; fetch the file with git lfs pull", path,
                         *size ? " of " : "", size, *size ? " bytes" : "");
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (m->size >= magics[i].at + magics[i].n && !memcmp(m->data + magics[i].at, magics[i].bytes, magics[i].n))
            return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): this is %s", path,
                             magics[i].what);
    while (at < m->size && at < 1 << 10 && m->data[at] && strchr(" \t\r\n\xef\xbb\xbf", m->data[at]))
        at++;
    if (begins(m, at, "<!doctype") || begins(m, at, "<html") || begins(m, at, "<head") || begins(m, at, "<?xml") ||
        begins(m, at, "<error"))
        return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): this is a web page, perhaps of "
                            "an error, saved under this name; fetch the file anew", path);
    if (all_zero(m))
        return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): it holds zeros, as what is left "
                            "of a transfer that was broken off; fetch the file anew", path);
    if (at < m->size && (m->data[at] == '{' || m->data[at] == '['))
        return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): this looks like JSON text", path);
    return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle)", path);
}
