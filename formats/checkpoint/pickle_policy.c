/* Which names a pickle may contain. Nothing is executed in any case; this decides whether the file can be trusted at
 * all. Unknown classes of third-party packages are kept as opaque values, because checkpoints have many of them
 * (fairseq's enums, omegaconf's nodes, an argparse.Namespace). Names that start processes, open files or sockets,
 * evaluate code, import, or access attributes of other objects are refused. */
#include "formats/checkpoint/pickle.h"

#include <string.h>

/* Allowed names of builtins (Python 2: __builtin__): the types of plain values. */
static const char *const plain_builtins[] = {"set", "frozenset", "list", "dict", "tuple", "slice", "complex",
                                             "bytearray", "bytes", "object", "int", "float", "str", "bool", "long",
                                             "unicode", "range", "xrange", "Ellipsis", "NotImplemented", "type",
                                             "Exception", NULL};

/* Modules of which only these names are allowed. */
static const struct { const char *module; const char *names[8]; } parts[] = {
    {"types", {"SimpleNamespace", "NoneType", "GenericAlias", "MappingProxyType"}},
    {"functools", {"partial"}},
    {"codecs", {"encode"}},
    {"_codecs", {"encode"}},
    {"copy_reg", {"_reconstructor", "__newobj__"}},
    {"copyreg", {"_reconstructor", "__newobj__"}},
    {"io", {"BytesIO", "StringIO"}},
    {"_io", {"BytesIO", "StringIO"}},
    {"logging", {"Logger", "getLogger"}},
    {"torch.serialization", {"_get_layout"}},
};

/* Modules that are refused whole, with their submodules. */
static const char *const refused_modules[] = {"os", "posix", "nt", "posixpath", "ntpath", "genericpath", "subprocess",
                                              "_posixsubprocess", "commands", "popen2", "sys", "importlib",
                                              "_frozen_importlib", "_frozen_importlib_external", "imp", "_imp",
                                              "zipimport", "pkgutil", "runpy", "pty", "tty", "socket", "_socket",
                                              "socketserver", "shutil", "ctypes", "_ctypes", "cffi", "code", "codeop",
                                              "webbrowser", "antigravity", "pickle", "_pickle", "cPickle", "marshal",
                                              "shelve", "dbm", "sqlite3", "operator", "_operator", "inspect", "gc",
                                              "atexit", "sched", "signal", "_signal", "resource", "mmap", "fcntl",
                                              "tempfile", "fileinput", "linecache", "glob", "pdb", "bdb", "timeit",
                                              "profile", "cProfile", "_lsprof", "doctest", "unittest",
                                              "multiprocessing", "_multiprocessing", "concurrent", "threading",
                                              "_thread", "thread", "asyncio", "_asyncio", "select", "selectors",
                                              "platform", "site", "venv", "ensurepip", "pip", "distutils",
                                              "setuptools", "pkg_resources", "pydoc", "idlelib", "lib2to3", "tkinter",
                                              "turtle", "urllib", "urllib2", "http", "httplib", "ftplib", "smtplib",
                                              "poplib", "imaplib", "telnetlib", "nntplib", "xmlrpc", "xmlrpclib",
                                              "requests", "cgi", "wsgiref", "dis", "symtable", "compileall",
                                              "py_compile", "ast", "curses", "readline", "rlcompleter", "winreg",
                                              "_winapi", "msvcrt", "IPython", "dill", "cloudpickle", "joblib",
                                              "numpy.testing", "numpy.distutils", "numpy.f2py", "torch.hub",
                                              "torch.utils.cpp_extension", "torch._inductor", NULL};

/* Names that are refused in every module, also as a part of a dotted name. */
static const char *const refused_names[] = {"eval", "exec", "execfile", "compile", "open", "system", "popen",
                                            "getattr", "setattr", "delattr", "globals", "locals", "vars", "breakpoint",
                                            "input", "raw_input", "os", "sys", "subprocess", "builtins", "importlib",
                                            "load_library", "LoadLibrary", NULL};

static int listed(const char *const *list, const char *s)
{
    for (; *list; list++)
        if (!strcmp(*list, s))
            return 1;
    return 0;
}

static int below(const char *module, const char *top)
{
    size_t n = strlen(top);
    return !strncmp(module, top, n) && (module[n] == 0 || module[n] == '.');
}

/* "Outer.Inner" is a path through attributes (protocol 4): no part of it may be special or refused. */
static int refuses_path(const char *name)
{
    char part[64];
    while (*name) {
        size_t n = strcspn(name, ".");
        if (n < sizeof part) {
            memcpy(part, name, n);
            part[n] = 0;
            if (listed(refused_names, part) || (n > 4 && !strncmp(part, "__", 2)))
                return 1;
        }
        name += n + (name[n] == '.');
    }
    return 0;
}

int mert_pickle_refuses(const char *module, const char *name)
{
    if (below(module, "builtins") || below(module, "__builtin__"))
        return !listed(plain_builtins, name);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (below(module, parts[i].module)) {
            for (size_t k = 0; k < 8 && parts[i].names[k]; k++)
                if (!strcmp(module, parts[i].module) && !strcmp(parts[i].names[k], name))
                    return 0;
            return 1;
        }
    for (size_t i = 0; refused_modules[i]; i++)
        if (below(module, refused_modules[i]))
            return 1;
    return refuses_path(name);
}
