/* Division of products with packed weights among the threads: a piece is some panels of one product. */
#ifndef MERT_PIECES_H
#define MERT_PIECES_H

#include <stdint.h>

typedef struct mert_pieces {
    int64_t panels; /* in a piece; an even number */
    int64_t count;  /* pieces of a product */
} mert_pieces;

/* panels: of one product; work: multiplications of a panel; products: how many are computed at once. */
static inline mert_pieces mert_pieces_of(int64_t panels, int64_t work, int64_t products)
{
    enum { MOST_WORK = 1 << 23, ENOUGH = 16 };
    mert_pieces p = {.panels = (panels + 1) / 2 * 2};
    while (p.panels > 2 && p.panels * work > MOST_WORK && products * panels / p.panels < ENOUGH)
        p.panels = (p.panels / 2 + 1) / 2 * 2;
    p.count = (panels + p.panels - 1) / p.panels;
    return p;
}

#endif
