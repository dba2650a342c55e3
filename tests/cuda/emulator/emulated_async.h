/* What libcommon/plugins/cuda/async.h has, on the CPU: a thread's copies run as late as they may, in its wait. */
#ifndef EMU_ASYNC_H
#define EMU_ASYNC_H

#include <cstdlib>

struct async_copies {
    enum { MOST = 64 };
    struct one {
        uint4 *to;
        const uint4 *from; /* NULL: zeros */
        int group;
    } waiting[MOST];
    int n = 0, group = 0; /* the group that the next copy belongs to */

    void copy(void *to, const void *from, int there)
    {
        if (n == MOST)
            abort();
        emu::check_aligned(to, sizeof(uint4));
        waiting[n++] = {(uint4 *)to, there ? (const uint4 *)from : nullptr, group};
    }
    void commit() { group++; }
    template <int N> void wait()
    {
        int left = 0;
        for (int i = 0; i < n; i++)
            if (waiting[i].group >= group - N)
                waiting[left++] = waiting[i];
            else
                *waiting[i].to = waiting[i].from ? *waiting[i].from : make_uint4(0, 0, 0, 0);
        n = left;
    }
};

#endif
