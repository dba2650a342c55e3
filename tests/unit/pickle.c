#include "tests/unit/model_file.h"

#include "formats/checkpoint/pickle.h"

static mert_pickle *read_bytes(bytes *b, mert_error *e)
{
    size_t used = 0;
    mert_pickle *p = mert_pickle_read(b->p, b->n, &used, e);
    if (p && used != b->n) {
        mert_pickle_free(p);
        mert_fail(e, "used %zu of %zu", used, b->n);
        return NULL;
    }
    return p;
}

TEST(plain_values)
{
    bytes b = {0};
    mert_error e;
    mert_pickle *p;
    mert_pickle_value *v, *list;
    pickle(&b, "}( %s %i %s %f %s N %s \x88 %s K%b %s \x8a%b%b%b %s ]( %i %i e u.", "i", -5, "f", -0.25, "n", "t",
           "small", 200, "long", 2, 0, 0xff, "l", 1, 2);
    p = read_bytes(&b, &e);
    CHECK(p);
    v = mert_pickle_root(p);
    CHECK(v->type == MERT_P_DICT && v->size == 14);
    CHECK(mert_pickle_get(v, "i")->number == -5 && mert_pickle_get(v, "f")->real == -0.25);
    CHECK(mert_pickle_get(v, "n")->type == MERT_P_NONE && mert_pickle_get(v, "t")->number == 1);
    CHECK(mert_pickle_get(v, "small")->number == 200 && mert_pickle_get(v, "long")->number == -256);
    list = mert_pickle_get(v, "l");
    CHECK(list->type == MERT_P_LIST && list->size == 2 && list->items[1]->number == 2);
    CHECK(mert_pickle_get(v, "none") == NULL);
    mert_pickle_free(p);
    free(b.p);
}

TEST(protocol_4_of_frames_and_memoize)
{
    /* pickletools.dis: {'a': (1, 'a'), 'b': frozenset({2}), 'c': b'xy'} with the frame of its true length */
    static const unsigned char body[] = "}\x94(\x8c\1a\x94K\1h\1\x86\x94\x8c\1b\x94(K\2\x91\x94\x8c\1c\x94"
                                        "C\2xy\x94u.";
    bytes b = {0};
    mert_error e;
    mert_pickle *p;
    mert_pickle_value *v;
    put(&b, "\x80\4\x95", 3);
    put_le(&b, sizeof body - 1, 8);
    put(&b, body, sizeof body - 1);
    p = read_bytes(&b, &e);
    CHECK(p);
    v = mert_pickle_root(p);
    CHECK(mert_pickle_is_text(mert_pickle_get(v, "a")->items[1], "a"));
    CHECK(mert_pickle_get(v, "b")->type == MERT_P_SET && mert_pickle_get(v, "b")->items[0]->number == 2);
    CHECK(mert_pickle_get(v, "c")->type == MERT_P_BYTES && !memcmp(mert_pickle_get(v, "c")->text, "xy", 2));
    mert_pickle_free(p);
    free(b.p);
}

TEST(classes_stay_names)
{
    bytes b = {0};
    mert_error e;
    mert_pickle *p;
    mert_pickle_value *v;
    pickle(&b, "%c ) \x81 } %s %i s b.", "argparse Namespace", "lr", 7);
    p = read_bytes(&b, &e);
    CHECK(p);
    v = mert_pickle_root(p);
    CHECK(v->type == MERT_P_OBJECT && mert_pickle_is_of(v, "argparse.Namespace") &&
          mert_pickle_get(v->state, "lr")->number == 7);
    mert_pickle_free(p);
    b.n = 0;
    pickle(&b, "%c ( %s tR.", "some.package make_it", "x");
    p = read_bytes(&b, &e);
    CHECK(p && mert_pickle_is_of(mert_pickle_root(p), "some.package.make_it") && mert_pickle_root(p)->args->size == 1);
    mert_pickle_free(p);
    free(b.p);
}

/* Each as GLOBAL (protocol 2), as STACK_GLOBAL (protocol 4) and as INST (protocol 0), followed by REDUCE. */
TEST(refuses_what_asks_to_run_something)
{
    static const char *const names[] = {
        "os system", "posix system", "nt system", "subprocess Popen", "subprocess check_output", "builtins eval",
        "__builtin__ eval", "builtins exec", "builtins getattr", "builtins __import__", "__builtin__ apply",
        "builtins open", "builtins print", "sys exit", "importlib import_module", "importlib.util module_from_spec",
        "runpy run_path", "pty spawn", "socket socket", "shutil rmtree", "ctypes CDLL", "ctypes.util find_library",
        "code interact", "webbrowser open", "pickle loads", "_pickle loads", "marshal loads", "types FunctionType",
        "types CodeType", "operator attrgetter", "functools reduce", "codecs open", "timeit timeit",
        "multiprocessing.util spawnv_passfds", "numpy.testing._private.utils runstring", "pip main", "torch.hub load",
        "torch.serialization load", "logging.config listen", "torch os.system", "some.module f.__globals__",
        "some.module eval", "cProfile run", "pydoc pipepager", "_io open", "io open_code"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *blank = strchr(names[i], ' ');
        char module[64], dotted[128];
        mert_error e;
        snprintf(module, sizeof module, "%.*s", (int)(blank - names[i]), names[i]);
        snprintf(dotted, sizeof dotted, "asks to run %s.%s", module, blank + 1);
        for (int form = 0; form < 3; form++) {
            bytes b = {0};
            mert_pickle *p;
            size_t at = form == 1 ? 2 + 5 + strlen(module) + 5 + strlen(blank + 1) : 2;
            char offset[32];
            if (form == 0)
                pickle(&b, "%c ( %s tR.", names[i], "touch x");
            else if (form == 1)
                pickle(&b, "%s %s \x93 ( %s tR.", module, blank + 1, "touch x");
            else {
                pickle(&b, "(%s", "touch x");
                at = b.n;
                put_text(&b, "i");
                put_text(&b, module);
                put_text(&b, "\n");
                put_text(&b, blank + 1);
                put_text(&b, "\n.");
            }
            p = read_bytes(&b, &e);
            free(b.p);
            snprintf(offset, sizeof offset, "offset %zu: ", at);
            if (p || !strstr(e.text, dotted) || strncmp(e.text, offset, strlen(offset)))
                printf("# %s, form %d: %s\n", names[i], form, p ? "accepted" : e.text);
            CHECK(!p && strstr(e.text, dotted) && !strncmp(e.text, offset, strlen(offset)));
        }
    }
}

TEST(lets_pass_what_is_harmless)
{
    static const char *const names[] = {
        "collections OrderedDict", "collections defaultdict", "__builtin__ set", "builtins dict", "torch Size",
        "torch float32", "torch device", "numpy dtype", "numpy.core.multiarray scalar",
        "numpy.core.multiarray _reconstruct", "omegaconf.dictconfig DictConfig", "omegaconf.nodes AnyNode",
        "typing Any", "pathlib PosixPath", "enum Enum", "fairseq.dataclass.configs FairseqConfig",
        "functools partial", "_codecs encode", "copy_reg _reconstructor", "datetime datetime",
        "types SimpleNamespace", "torch.serialization _get_layout", "torch.nn.modules.linear Linear",
        "posixlike system_a", "osmium Reader"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bytes b = {0};
        mert_error e;
        mert_pickle *p;
        pickle(&b, "%c ) R.", names[i]);
        p = read_bytes(&b, &e);
        if (!p)
            printf("# %s: %s\n", names[i], e.text);
        free(b.p);
        CHECK(p);
        mert_pickle_free(p);
    }
}

TEST(refuses_broken_machines)
{
    static const struct { const char *code; size_t n; const char *says; } bad[] = {
        {"\x80\2", 2, "truncated"}, {"\x80\1N.", 4, "protocol"}, {"\x80\6N.", 4, "protocol"}, {"N.", 2, "protocol"},
        {"\x80\2.", 3, "0 values"}, {"\x80\2(1.", 5, "0 values"}, {"\x80\2(0.", 5, "0 values"}, {"\x80\2NN.", 5, "2 values"}, {"\x80\2(N.", 5, "values"},
        {"\x80\2t.", 4, "no mark"}, {"\x80\2(a.", 5, "stack"}, {"\x80\2]Na]", 6, "truncated"},
        {"\x80\2](N0a.", 8, "stack"}, {"\x80\2h\5.", 5, "memo 5 was never set"},
        {"\x80\2Nr\xff\xff\xff\x7f.", 9, "memo 2147483647 in a pickle"},
        {"\x80\2X\xff\xff\xff\xffx.", 9, "truncated"},
        {"\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", 13, "truncated"},
        {"\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", 13, "frame"}, {"\x80\2}(Nu.", 7, "key without"},
        {"\x80\2(Nd.", 6, "odd number"}, {"\x80\2Na.", 5, "stack"}, {"\x80\2NNa.", 6, "no list"},
        {"\x80\2N)R.", 6, "no class"}, {"\x80\2N}b.", 6, "no object"}, {"\x80\2" "cabc", 6, "line without an end"},
        {"\x80\2" "c\n\n.", 6, "without a name"}, {"\x80\2NK\1\x93.", 7, "no text"},
        {"\x80\2I1\n.", 6, "opcode 0x49"}, {"\x80\2\x82\1.", 5, "opcode 0x82"}, {"\x80\5\x97.", 4, "opcode 0x97"},
        {"\x80\2J\1\2.", 6, "truncated"}, {"\x80\2\x8a\5\1.", 6, "truncated"},
        {"\x80\2\x8b\xff\xff\xff\x7f\1.", 8, "truncated"}, {"\x80\2Q.", 4, "stack"},
        {"\x80\2" "cm\nn\nNR.", 10, "no tuple"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mert_error e;
        size_t used;
        mert_pickle *p = mert_pickle_read((const unsigned char *)bad[i].code, bad[i].n, &used, &e);
        if (p || !strstr(e.text, bad[i].says))
            printf("# case %zu: %s\n", i, p ? "accepted" : e.text);
        CHECK(!p && strstr(e.text, bad[i].says) && strstr(e.text, "offset "));
    }
}

TEST(damage_never_does_harm)
{
    bytes b = {0};
    size_t used;
    mert_error e;
    mert_pickle *p;
    pickle(&b, "}( %s %c )R q%b ( %s ]( %i %f %i e %s h%b u %s %c ) \x81 } ( %s \x88 %s %s u b %s ( %i %i t u .",
           "state", "collections OrderedDict", 1, "list", 1, 2.5, 3, "again", 1, "ns", "argparse Namespace", "a", "b",
           "c", "t", 1, 2);
    CHECK((p = read_bytes(&b, &e)));
    mert_pickle_free(p);
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *cut = malloc(n ? n : 1); /* a separate allocation, so that a sanitizer detects reads after the
                                                   end */
        CHECK(cut);
        memcpy(cut, b.p, n);
        mert_pickle_free(mert_pickle_read(cut, n, &used, &e));
        free(cut);
    }
    for (size_t i = 0; i < b.n; i++)
        for (int x = 1; x < 256; x++) {
            b.p[i] ^= (unsigned char)x;
            mert_pickle_free(mert_pickle_read(b.p, b.n, &used, &e));
            b.p[i] ^= (unsigned char)x;
        }
    free(b.p);
}

int main(void)
{
    RUN(plain_values);
    RUN(protocol_4_of_frames_and_memoize);
    RUN(classes_stay_names);
    RUN(refuses_what_asks_to_run_something);
    RUN(lets_pass_what_is_harmless);
    RUN(refuses_broken_machines);
    RUN(damage_never_does_harm);
    return test_done();
}
