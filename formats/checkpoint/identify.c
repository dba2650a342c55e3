/* Recognises files that are not model files by their first bytes, so that the error says what to do. */
#include "formats/checkpoint/container.h"

#include "formats/bytes.h"
#include "formats/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    char words[MERT_TEXT_WORDS];
    size_t at = 0;
    if (mert_text_stands_in((const char *)m->data, m->size, words))
        return mert_fail(e, "%s: this is %s", path, words);
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (m->size >= magics[i].at + magics[i].n && !memcmp(m->data + magics[i].at, magics[i].bytes, magics[i].n))
            return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): this is %s", path,
                             magics[i].what);
    while (at < m->size && at < 1 << 10 && m->data[at] && strchr(" \t\r\n\xef\xbb\xbf", m->data[at]))
        at++;
    if (all_zero(m))
        return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): it contains zeros, as after an "
                            "interrupted transfer; fetch the file again", path);
    if (at < m->size && (m->data[at] == '{' || m->data[at] == '['))
        return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle): this looks like JSON text", path);
    return mert_fail(e, "%s: neither safetensors nor a torch file (zip or pickle)", path);
}
