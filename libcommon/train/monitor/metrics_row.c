#include "libcommon/train/monitor/metrics_row.h"

#include <math.h>

void mert_row_names(FILE *f, const mert_row *r)
{
    for (int i = 0; i < r->n; i++) {
        fprintf(f, "%s%s", i ? "\t" : "", r->column[i].name);
        if (r->column[i].k >= 0)
            fprintf(f, "_%d", r->column[i].k);
    }
    fputc('\n', f);
}

static void write_value(FILE *f, const mert_column *c)
{
    if (c->text)
        fputs(c->text, f);
    else if (c->digits)
        fprintf(f, "%.*g", c->digits, c->value);
    else
        fprintf(f, "%.0f", c->value);
}

void mert_row_tsv(FILE *f, const mert_row *r)
{
    for (int i = 0; i < r->n; i++) {
        fputs(i ? "\t" : "", f);
        write_value(f, &r->column[i]);
    }
    fputc('\n', f);
}

static void write_json_value(FILE *f, const mert_column *c)
{
    if (c->text)
        fprintf(f, "\"%s\"", c->text);
    else if (isfinite(c->value))
        write_value(f, c);
    else
        fputs("null", f);
}

static void write_json_clock(FILE *f, const mert_row *r)
{
    for (int clock = MERT_SPEED; clock <= MERT_SHARE; clock++)
        for (int i = 0; i < r->n; i++)
            if (r->column[i].clock == clock) {
                fprintf(f, ",\"%s\":", r->column[i].name);
                write_json_value(f, &r->column[i]);
            }
}

void mert_row_json(FILE *f, const mert_row *r, const char *kind)
{
    int clock = 0;
    for (int i = 0; i < r->n; i++) {
        const mert_column *c = &r->column[i];
        if (c->clock) {
            if (!clock++)
                write_json_clock(f, r);
            continue;
        }
        if (c->k > 0)
            fputc(',', f);
        else
            fprintf(f, "%s\"%s%s\":%s", i ? "," : "{", c->name, c->k == 0 ? "_k" : "", c->k == 0 ? "[" : "");
        write_json_value(f, c);
        if (c->k >= 0 && (i + 1 == r->n || r->column[i + 1].k != c->k + 1))
            fputc(']', f);
        if (!i)
            fprintf(f, ",\"kind\":\"%s\"", kind);
    }
    fputs("}\n", f);
}
